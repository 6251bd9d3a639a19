"""Edits of text: each one knows how to act on a plain string, fast, and on an aligned one, keeping
track of origins.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Protocol

from tokenization.text.aligned import AlignedText, Span


class Edit(Protocol):
    """A change of text with two exact forms; `apply_aligned(AlignedText(text)).text == apply(text)` for
    every text.
    """

    def apply(self, text: str) -> str: ...

    def apply_aligned(self, text: AlignedText) -> AlignedText: ...


def apply_edits(edits: Sequence[Edit], text: str) -> str:
    """Run edits in order over a plain string."""
    for edit in edits:
        text = edit.apply(text)
    return text


def apply_edits_aligned(edits: Sequence[Edit], text: AlignedText) -> AlignedText:
    """Run edits in order over an aligned text."""
    for edit in edits:
        text = edit.apply_aligned(text)
    return text


@dataclass(frozen=True)
class Substitute:
    r"""Replace every match of a regular expression by a template of text, `\1` and `\g<1>`.

    In the aligned form a group keeps its origins and the template's own text stands for the whole
    match.
    """

    pattern: str | re.Pattern[str]
    template: str

    @cached_property
    def _compiled(self) -> re.Pattern[str]:
        return re.compile(self.pattern)

    @cached_property
    def _needed(self) -> str:
        source = self._compiled.pattern
        if source == f"{self.template}+":
            # Making one of several changes nothing where there are no two.
            return self.template * 2
        return needed_character(source)

    @cached_property
    def _parts(self) -> list[str | int]:
        pieces = re.split(r"\\(\d)|\\g<(\d+)>", self.template)
        parts: list[str | int] = []
        for index in range(0, len(pieces), 3):
            parts.append(pieces[index])
            parts.extend(int(group) for group in pieces[index + 1 : index + 3] if group is not None)
        return [part for part in parts if part != ""]

    def apply(self, text: str) -> str:
        # Most patterns cannot match most texts; looking for one character costs a tenth of asking
        # the pattern.
        if self._needed not in text:
            return text
        return self._compiled.sub(self.template, text)

    def apply_aligned(self, text: AlignedText) -> AlignedText:
        if self._needed not in text.text:
            return text
        matches = self._compiled.finditer(text.text)
        first = next(matches, None)
        if first is None:
            return text
        characters: list[tuple[str, Span]] = []
        place = 0
        for match in chain([first], matches):
            characters.extend(
                zip(text.text[place : match.start()], text.spans[place : match.start()])
            )
            for part in self._parts:
                if isinstance(part, int):
                    start, end = match.span(part)
                    characters.extend(zip(text.text[start:end], text.spans[start:end]))
                else:
                    characters.append((part, text.span(match.start(), match.end())))
            place = match.end()
        characters.extend(zip(text.text[place:], text.spans[place:]))
        return AlignedText.from_characters(characters)


def needed_character(pattern: str) -> str:
    """A character without which a regular expression cannot match, or "" where none is sure (always
    in a text).
    """
    if "|" in pattern or "(?" in pattern:
        return ""
    index, depth, needed = 0, 0, ""
    while index < len(pattern):
        char, width = pattern[index], 1
        literal = char not in ".^$*+?{}[]()\\"
        if char == "\\":
            width, char = 2, pattern[index + 1 : index + 2]
            literal = bool(char) and not char.isalnum()
        elif char == "[":
            width = pattern.index("]", index + 2) + 1 - index
            char, literal = pattern[index + 1], width == 3
        elif char == "(":
            depth += 1
        elif char == ")":
            depth -= 1
        optional = pattern[index + width : index + width + 1] in ("*", "?", "{")
        if literal and depth == 0 and not optional and (not needed or needed == " "):
            needed = char
        index += width
    return needed


@dataclass(frozen=True)
class LowerCase:
    """Lower-case, outside the matches of `protected`; `simple` ignores that a final sigma has a
    form of its own.
    """

    simple: bool = False
    protected: re.Pattern[str] | None = None

    def _lower(self, text: str) -> str:
        if self.simple:
            text = text.replace("Σ", "σ")
        return text.lower()

    def apply(self, text: str) -> str:
        if self.protected is None:
            return self._lower(text)
        place, parts = 0, []
        for match in self._kept(text):
            parts += [self._lower(text[place : match.start()]), match.group()]
            place = match.end()
        return "".join(parts) + self._lower(text[place:])

    def apply_aligned(self, text: AlignedText) -> AlignedText:
        lowered = self.apply(text.text)
        # Only one capital letter, the dotted I, has a lower form of two characters.
        if len(lowered) == len(text):
            return text.with_text(lowered)
        kept = {place for match in self._kept(text.text) for place in range(*match.span())}
        spans = []
        for place, (char, span) in enumerate(zip(text.text, text.spans)):
            length = len(char.lower())
            if place in kept:
                length = 1
            spans += [span] * length
        return AlignedText(lowered, spans)

    def _kept(self, text: str) -> Iterable[re.Match[str]]:
        if self.protected is None:
            return ()
        return self.protected.finditer(text)


def lowered_as_read(texts: Iterable[str], lower_case: bool) -> Iterable[str]:
    """Texts of a corpus, lower-cased where the reader of texts does so before it looks for added
    tokens.
    """
    if not lower_case:
        return texts
    return map(LowerCase(simple=True).apply, texts)


@dataclass(frozen=True)
class CollapseSpace:
    """Strip, and make one space of each run of white space (as `str.split` sees it)."""

    def apply(self, text: str) -> str:
        return " ".join(text.split())

    def apply_aligned(self, text: AlignedText) -> AlignedText:
        if self.apply(text.text) == text.text:
            return text
        characters: list[tuple[str, Span]] = []
        gap: Span | None = None
        for char, span in zip(text.text, text.spans):
            if char.isspace():
                gap = span if gap is None else (min(gap[0], span[0]), max(gap[1], span[1]))
                continue
            if gap is not None and characters:
                characters.append((" ", gap))
            gap = None
            characters.append((char, span))
        return AlignedText.from_characters(characters)


@dataclass(frozen=True)
class Strip:
    """Strip white space on both sides."""

    def apply(self, text: str) -> str:
        return text.strip()

    def apply_aligned(self, text: AlignedText) -> AlignedText:
        return text.strip()

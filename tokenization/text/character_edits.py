"""Edits that take a text character by character: decomposing, leaving out, replacing."""

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from tokenization.text.aligned import AlignedText, Span


class _Dropped(dict[int, int | None]):
    """A table for `str.translate` that leaves characters out, filled as characters are met."""

    def __init__(self, drop: Callable[[str], bool]) -> None:
        self._drop = drop

    def __missing__(self, code: int) -> int | None:
        self[code] = None if self._drop(chr(code)) else code
        return self[code]


@dataclass(frozen=True)
class Decompose:
    """Unicode normalization to a decomposed form (NFD or NFKD), without the characters that `drop`
    names.
    """

    form: Literal["NFD", "NFKD"]
    drop: Callable[[str], bool]

    @cached_property
    def _dropped(self) -> _Dropped:
        return _Dropped(self.drop)

    @cached_property
    def _parts(self) -> "_Parts":
        return _Parts(self)

    def apply(self, text: str) -> str:
        if text.isascii():
            return text
        return unicodedata.normalize(self.form, text).translate(self._dropped)

    def apply_aligned(self, text: AlignedText) -> AlignedText:
        if text.text.isascii():
            return text
        parts = [self._parts[char] for char in text.text]
        joined = "".join(parts)
        if joined == self.apply(text.text):
            if len(joined) == len(parts) and all(parts):
                return text.with_text(joined)
            return AlignedText.from_characters(zip(parts, text.spans))
        return self._order_marks(text)

    def _order_marks(self, text: AlignedText) -> AlignedText:
        """Where combining characters change places, they are followed one by one."""
        characters: list[tuple[str, Span]] = []
        marks: list[tuple[int, str, Span]] = []
        for source, span in zip(text.text, text.spans):
            for char in source if source < "\x80" else unicodedata.normalize(self.form, source):
                order = unicodedata.combining(char)
                if order:
                    marks.append((order, char, span))
                    continue
                if marks:
                    characters += self._in_order(marks)
                    marks.clear()
                if not self.drop(char):
                    characters.append((char, span))
        return AlignedText.from_characters([*characters, *self._in_order(marks)])

    def _in_order(self, marks: list[tuple[int, str, Span]]) -> list[tuple[str, Span]]:
        """Canonical ordering sorts each run of combining characters by their class."""
        ordered = sorted(marks, key=lambda mark: mark[0])
        return [(char, span) for _, char, span in ordered if not self.drop(char)]


class _Parts(dict[str, str]):
    """What a single character becomes, filled as characters are met."""

    def __init__(self, edit: Decompose) -> None:
        self._edit = edit

    def __missing__(self, char: str) -> str:
        self[char] = self._edit.apply(char)
        return self[char]


@dataclass(frozen=True)
class Drop:
    """Leave out the characters that `drop` names; `clean` is a quick test that there are none."""

    drop: Callable[[str], bool]
    clean: Callable[[str], bool]

    @cached_property
    def _dropped(self) -> _Dropped:
        return _Dropped(self.drop)

    def apply(self, text: str) -> str:
        if self.clean(text):
            return text
        return text.translate(self._dropped)

    def apply_aligned(self, text: AlignedText) -> AlignedText:
        if self.clean(text.text):
            return text
        return text.map(lambda char: "" if self.drop(char) else char)


@dataclass(frozen=True)
class Translate:
    """Replace single characters by a table."""

    table: dict[int, str]

    def apply(self, text: str) -> str:
        if text.isascii():
            return text
        return text.translate(self.table)

    def apply_aligned(self, text: AlignedText) -> AlignedText:
        if text.text.isascii():
            return text
        return text.map(lambda char: self.table.get(ord(char), char))

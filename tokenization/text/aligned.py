"""Text that remembers where each of its characters came from."""

from collections.abc import Callable, Iterable
from typing import TypeAlias

Span: TypeAlias = tuple[int, int]


class AlignedText:
    """A string and, for each character, the span `(start, end)` of the original text that it stands
    for.

    As long as nothing is changed, the spans are only a place in the original and take no work. It
    answers to the few methods of `str` that the splitting of added tokens needs, so that one piece
    of code serves plain strings (fast) and aligned ones (when offsets are wanted).
    """

    __slots__ = ("_spans", "start", "text")

    def __init__(self, text: str, spans: list[Span] | None = None, start: int = 0) -> None:
        self.text = text
        self.start = start
        self._spans = spans

    @classmethod
    def from_characters(cls, characters: Iterable[tuple[str, Span]]) -> "AlignedText":
        """Build one from pieces of text, each character of a piece standing for the piece's span."""
        text: list[str] = []
        spans: list[Span] = []
        for piece, span in characters:
            text.append(piece)
            spans.extend([span] * len(piece))
        return cls("".join(text), spans)

    @property
    def offset(self) -> int | None:
        """How far characters stand from their origins where that is the same for all of them, else
        None.
        """
        if self._spans is not None:
            return None
        return self.start

    @property
    def spans(self) -> list[Span]:
        """The span of each character."""
        if self._spans is None:
            self._spans = [
                (place, place + 1) for place in range(self.start, self.start + len(self.text))
            ]
        return self._spans

    def __len__(self) -> int:
        return len(self.text)

    def __str__(self) -> str:
        return self.text

    def __getitem__(self, index: slice) -> "AlignedText":
        start, stop, _ = index.indices(len(self.text))
        spans = self._spans
        if spans is not None:
            spans = spans[start:stop]
        return AlignedText(self.text[start:stop], spans, self.start + start)

    def __add__(self, other: "AlignedText") -> "AlignedText":
        return AlignedText(self.text + other.text, self.spans + other.spans)

    def with_text(self, text: str) -> "AlignedText":
        """Another text of the same length, character for character."""
        return AlignedText(text, self._spans, self.start)

    def lstrip(self) -> "AlignedText":
        return self[len(self.text) - len(self.text.lstrip()) :]

    def rstrip(self) -> "AlignedText":
        return self[: len(self.text.rstrip())]

    def strip(self) -> "AlignedText":
        return self.lstrip().rstrip()

    def span(self, start: int, end: int) -> Span:
        """The original span that the characters from start to end stand for; an empty one where
        they are none.
        """
        if self._spans is None:
            return self.start + start, self.start + min(end, len(self.text))
        covered = self._spans[start:end]
        if not covered:
            place = self.start
            if 0 < start <= len(self._spans):
                place = self._spans[start - 1][1]
            return place, place
        return min(first for first, _ in covered), max(last for _, last in covered)

    def map(self, change: Callable[[str], str]) -> "AlignedText":
        """Replace each character by what `change` makes of it (nothing, one or several characters)."""
        return AlignedText.from_characters(
            (change(char), span) for char, span in zip(self.text, self.spans)
        )


def concatenate(parts: list[AlignedText]) -> AlignedText:
    """Join aligned parts."""
    return AlignedText(
        "".join(part.text for part in parts), [span for part in parts for span in part.spans]
    )


def locate_words(words: list[str], source: AlignedText, inserted: str = "") -> list[AlignedText]:
    """Find words in a source, reading left to right; each comes back with the origins of its
    characters.

    A word tokenizer drops white space and control characters and keeps the rest in order; it also
    writes a character c of `inserted` as the word `@c@`. A character that cannot be found stands
    for an empty span where reading stopped.
    """
    marks = {f"@{char}@": char for char in inserted}
    text, place = source.text, 0
    located = []
    for word in words:
        while place < len(text) and text[place].isspace():
            place += 1
        if text.startswith(word, place):
            located.append(source[place : place + len(word)])
            place += len(word)
            continue
        spans: list[Span] = []
        spelled = marks.get(word, word)
        for char in spelled:
            found = _skip_to(char, text, place)
            if found is None:
                spans.append(source.span(place, place))
            else:
                spans.append(source.span(found, found + 1))
                place = found + 1
        if spelled != word:
            spans = spans * len(word)
        located.append(AlignedText(word, spans))
    return located


def _skip_to(char: str, text: str, place: int) -> int | None:
    while place < len(text):
        if text[place] == char:
            return place
        if not (text[place].isspace() or text[place] < " "):
            return None
        place += 1
    return None

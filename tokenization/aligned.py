"""Text that remembers where each of its characters came from."""

from collections.abc import Callable, Iterable
from typing import TypeAlias, overload

Span: TypeAlias = tuple[int, int]


class AlignedText:
    """A string and, for each character, the span `(start, end)` of the original text that it stands for.

    It answers to the few methods of `str` that the splitting of added tokens needs, so that one piece of code serves
    plain strings (fast) and aligned ones (when offsets are wanted).
    """

    __slots__ = ("spans", "text")

    def __init__(self, text: str, spans: list[Span] | None = None) -> None:
        self.text = text
        self.spans = [(index, index + 1) for index in range(len(text))] if spans is None else spans

    @classmethod
    def from_characters(cls, characters: Iterable[tuple[str, Span]]) -> "AlignedText":
        """Build one from pieces of text, each character of a piece standing for the piece's span."""
        text: list[str] = []
        spans: list[Span] = []
        for piece, span in characters:
            text.append(piece)
            spans.extend([span] * len(piece))
        return cls("".join(text), spans)

    def __len__(self) -> int:
        return len(self.text)

    def __str__(self) -> str:
        return self.text

    def __getitem__(self, index: slice) -> "AlignedText":
        return AlignedText(self.text[index], self.spans[index])

    def __add__(self, other: "AlignedText") -> "AlignedText":
        return AlignedText(self.text + other.text, self.spans + other.spans)

    def lstrip(self) -> "AlignedText":
        return self[len(self.text) - len(self.text.lstrip()) :]

    def rstrip(self) -> "AlignedText":
        return self[: len(self.text.rstrip())]

    def strip(self) -> "AlignedText":
        return self.lstrip().rstrip()

    def span(self, start: int, end: int, fallback: int = 0) -> Span:
        """The original span that the characters from start to end stand for; an empty one where they are none."""
        covered = self.spans[start:end]
        if not covered:
            place = self.spans[start - 1][1] if 0 < start <= len(self.spans) else fallback
            return place, place
        return min(first for first, _ in covered), max(last for _, last in covered)

    def map(self, change: Callable[[str], str]) -> "AlignedText":
        """Replace each character by what `change` makes of it (nothing, one or several characters)."""
        return AlignedText.from_characters((change(char), span) for char, span in zip(self.text, self.spans))


@overload
def concatenate(parts: list[str]) -> str: ...
@overload
def concatenate(parts: list[AlignedText]) -> AlignedText: ...
def concatenate(parts):  # type: ignore[no-untyped-def]
    """Join parts of one kind."""
    if parts and isinstance(parts[0], AlignedText):
        return AlignedText("".join(part.text for part in parts), [span for part in parts for span in part.spans])
    return "".join(parts)


def locate_words(words: list[str], source: AlignedText, inserted: str = "") -> list[list[Span]]:
    """Find, for each character of each word, its span in the original of `source`, reading left to right.

    A word tokenizer drops white space and control characters and keeps the rest in order; it also writes a character
    c of `inserted` as the word `@c@`. A character that cannot be found stands for an empty span where reading stopped.
    """
    marks = {f"@{char}@": char for char in inserted}
    text, place = source.text, 0
    located = []
    for word in words:
        spelled = marks.get(word, word)
        spans: list[Span] = []
        for char in spelled:
            found = _skip_to(char, text, place)
            spans.append(source.span(place, place) if found is None else source.spans[found])
            place = place if found is None else found + 1
        located.append(spans * len(word) if spelled != word else spans)
    return located


def _skip_to(char: str, text: str, place: int) -> int | None:
    while place < len(text):
        if text[place] == char:
            return place
        if not (text[place].isspace() or text[place] < " "):
            return None
        place += 1
    return None

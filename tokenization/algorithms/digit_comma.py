"""XLNet keeps the comma after a digit apart: `▁9,` becomes `▁9` `,` (zihangdai/xlnet,
prepro_utils.py).
"""

from typing import Any

from tokenization.algorithms.algorithm import TokensAndSpans
from tokenization.text.aligned import Span

SPACE = "▁"


def ends_in_number(piece: str) -> bool:
    """Whether a piece ends in a digit and a comma."""
    return piece[-1:] == "," and piece[-2:-1].isdigit()


class DigitCommas:
    """Splits pieces that end in a digit and a comma.

    `remembers` keeps what was found, for models that always cut a text in the same way.
    """

    def __init__(self, processor: Any, remembers: bool) -> None:
        self._processor = processor
        self._remembers = remembers
        self._known: dict[str, list[str]] = {}

    def split(self, piece: str) -> list[str]:
        """The number as the model cuts it, and the comma."""
        known = self._known.get(piece)
        if known is not None:
            return known
        parts: list[str] = self._processor.encode(piece[:-1].replace(SPACE, ""), return_type=str)
        if piece[0] != SPACE and parts[0][0] == SPACE:
            # Without the mark of a space that the piece does not have.
            parts[0] = parts[0][1:]
            if parts[0] == "":
                parts = parts[1:]
        parts.append(",")
        if self._remembers:
            self._known[piece] = parts
        return parts

    def split_all(self, pieces: list[str]) -> list[str]:
        """Pieces, those that end in a number split."""
        split: list[str] = []
        for piece in pieces:
            if ends_in_number(piece):
                split += self.split(piece)
            else:
                split.append(piece)
        return split

    def place(self, pieces: list[str], spans: list[Span]) -> TokensAndSpans:
        """Pieces split likewise, with their spans: the parts of a number share its text from the
        end, as the split leaves every character in place.
        """
        tokens: list[str] = []
        placed: list[Span] = []
        for piece, (start, end) in zip(pieces, spans):
            if not ends_in_number(piece):
                tokens.append(piece)
                placed.append((start, end))
                continue
            parts = self.split(piece)
            place = max(end - sum(len(part.removeprefix(SPACE)) for part in parts), start)
            for part in parts:
                stop = min(place + len(part.removeprefix(SPACE)), end)
                tokens.append(part)
                placed.append((place, stop))
                place = stop
        return tokens, placed

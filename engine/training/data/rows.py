"""A row of tokens, as a layout makes it and an objective asks about it; and all rows together."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]
NOTHING = -100
BY_TOKEN = ("ids", "special", "words", "token_types", "languages")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row before padding and before an objective; all arrays have the row's own length (i)."""

    number: int
    """The row's number in the epoch of its layout: with the seed and step, what its draws depend
    on."""
    ids: Integers
    """Token ids, special tokens of the format included."""
    special: Flags
    """True for tokens of the format (`<sep>`, `</s>` …), which no objective asks."""
    words: Flags
    """True where a word begins."""
    token_types: Integers | None = None
    """Segment numbers as the tokenizer's format gives them."""
    languages: Integers | None = None
    """Language ids, for networks that embed them."""
    texts: Integers | None = None
    """Which text of the row each token belongs to, counted from 0; None where a row is one text."""
    next_ids: Integers | None = None
    """Of a stream: the token that follows each one, also over the end of a segment; -100 where no
    text follows."""
    fresh: bool = False
    """Of a stream: whether nothing before this segment may be remembered."""
    backwards: bool = False
    """Of a stream: whether it is read from its end on, as these tokens are."""
    fields: dict[str, object] = field(default_factory=dict)
    """Columns of the source that a task reads: labels, words, answers."""
    source: str = ""
    """File and line of the row's first token, for messages."""


class Rows(ABC):
    """The rows of an epoch.

    `lengths` (rows) are their lengths in tokens. `ordered` says that batches follow each other, as
    segments of streams do; then rows s·n … s·n+n-1 are step s. `language_numbers` (rows) are the
    places of their languages in `language_names`.
    """

    lengths: Integers
    ordered: bool = False
    language_names: tuple[str | None, ...] = (None,)
    language_numbers: Integers

    def __len__(self) -> int:
        return len(self.lengths)

    @abstractmethod
    def row(self, number: int, epoch: int) -> Row:
        """One row of an epoch."""

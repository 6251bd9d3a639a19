"""Rows of two segments A and B, of which a share of the Bs comes from elsewhere (Yang et al. 2019,
2.5).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Generator

from engine.errors import InputError
from engine.training.data.rows import Integers, Row
from tokenization import Tokenizer


@dataclass(frozen=True)
class SegmentPairs:
    """Makes the tokens behind the reused ones into `A <sep> B <sep> <cls>` of the same length.

    A share `random` of the Bs is of another row, the others go on behind A.
    """

    separator: int
    closing: int
    random: float

    def draw(
        self, row: Row, others: Sequence[Row], reuse: int, backwards: bool, generator: Generator
    ) -> Row:
        """The row as two segments, B of one of the `others` where so drawn.

        A row too short for two segments stays as it is, of one type.
        """
        free = len(row.ids) - reuse - 3
        if free < 2:
            return replace(row, token_types=np.zeros(len(row.ids), dtype=np.int64))
        elsewhere, place, which = torch.rand(3, generator=generator).tolist()
        cuts = _cuts(row, reuse, free, backwards)
        first = int(cuts[int(place * len(cuts))])
        stop = reuse + free
        second, begin = row, first
        if elsewhere < self.random and others:
            other = others[int(which * len(others))]
            # From the place where A ends on, or as far before it as the other row needs.
            second, begin = other, min(first, max(reuse, len(other.ids) - (stop - first)))
        behind = slice(begin, begin + stop - first)
        return self._join(row, second, first, behind)

    def _join(self, row: Row, second: Row, first: int, behind: slice) -> Row:
        separator, closing = np.array([self.separator]), np.array([self.closing])
        mark = np.array([True])
        ids = np.concatenate([row.ids[:first], separator, second.ids[behind], separator, closing])
        types = np.zeros(len(ids), dtype=np.int64)
        types[first + 1 :] = 1
        types[-1] = 2
        return replace(
            row,
            ids=ids,
            special=np.concatenate([row.special[:first], mark, second.special[behind], mark, mark]),
            words=np.concatenate([row.words[:first], mark, second.words[behind], mark, mark]),
            token_types=types,
            languages=None,
            texts=None,
        )


def make_pairs(tokenizer: Tokenizer, random: float) -> SegmentPairs:
    """Pairs with the special tokens of a tokenizer; raises InputError where it has none."""
    separator, closing = tokenizer.sep_id, tokenizer.cls_id
    if separator is None or closing is None:
        raise InputError("segments.pairs needs the special tokens sep and cls")
    return SegmentPairs(int(separator), int(closing), random)


def _cuts(row: Row, reuse: int, free: int, backwards: bool) -> Integers:
    """Where A may end: before a text, where the row says so, else before a word, else anywhere."""
    places = np.arange(reuse + 1, reuse + free)
    if row.texts is not None:
        begun = places[row.texts[places] != row.texts[places - 1]]
        if len(begun):
            return begun
    begun = places[row.words[places]]
    if backwards:
        begun = places[row.words[places - 1]]
    if len(begun):
        return begun
    return places

"""Which rows each step takes: a pure function of the seed and the step."""

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from engine.errors import InputError, nearest
from engine.training.data.draws import shuffler
from engine.training.data.rows import Integers, Rows
from engine.training.recipe.sections import Batch

# Rows are shuffled, sorted by length within so many batches, and their batches shuffled again.
POOL = 64


@dataclass(frozen=True)
class Epoch:
    """The rows of an epoch in order, and where each batch begins (one more at the end)."""

    rows: Integers
    starts: Integers

    def __len__(self) -> int:
        return len(self.starts) - 1

    def batch(self, number: int) -> list[int]:
        """The rows of one batch."""
        return [int(row) for row in self.rows[self.starts[number] : self.starts[number + 1]]]


class Order:
    """The rows of every step.

    Without a `mix` every row comes once an epoch; with one, rows of each language are drawn so
    often as its weight says, again without repeats as long as there are others. Batches hold rows
    of like length. Batches of streams follow each other. `multiple` leaves out the few rows at the
    end of an epoch, others each time, that would make a batch no multiple of it.
    """

    def __init__(
        self,
        rows: Rows,
        batch: Batch,
        seed: int,
        mix: Mapping[str, float] | None = None,
        *,
        multiple: int = 1,
    ) -> None:
        if (batch.rows is None) == (batch.tokens is None):
            raise InputError("batch: give rows or tokens, one of them")
        self._rows, self._batch, self._seed = rows, batch, seed
        self._multiple = multiple
        self._mix = mix
        if mix is not None:
            self._weights = _weights(rows, mix)
        self._ends = [0]
        self._epoch = lru_cache(maxsize=2)(self._plan)
        if rows.ordered and (batch.rows is None or len(rows) % batch.rows):
            raise InputError("batch.rows must be the number of streams that the layout has")
        if multiple > 1 and not len(self._epoch(0)):
            raise InputError(f"{len(rows)} rows are too few for batches of {multiple}")

    def steps_per_epoch(self, epoch: int) -> int:
        """How many batches an epoch has."""
        return len(self._epoch(epoch))

    def at(self, step: int) -> tuple[int, list[int]]:
        """The epoch of a step, and the numbers of its rows."""
        if self._batch.rows is not None:
            # Every epoch has as many batches as the first.
            epoch, number = divmod(step, self.steps_per_epoch(0))
        else:
            while self._ends[-1] <= step:
                self._ends.append(self._ends[-1] + self.steps_per_epoch(len(self._ends) - 1))
            epoch = bisect_right(self._ends, step) - 1
            number = step - self._ends[epoch]
        return epoch, self._epoch(epoch).batch(number)

    def _plan(self, epoch: int) -> Epoch:
        if self._rows.ordered:
            assert self._batch.rows is not None
            count = len(self._rows)
            return Epoch(np.arange(count), np.arange(0, count + 1, self._batch.rows))
        chance = shuffler(self._seed, "epoch", epoch)
        if self._mix is None:
            shuffled = chance.permutation(len(self._rows))
        else:
            shuffled = _drawn(self._rows.language_numbers, self._weights, chance)
        ordered, starts = self._batches(shuffled, chance)
        return _shuffled(ordered, starts, chance)

    def _batches(
        self, shuffled: Integers, chance: np.random.Generator
    ) -> tuple[Integers, Integers]:
        """Rows by length within each pool of batches, and where batches begin."""
        count, lengths = len(shuffled), self._rows.lengths[shuffled]
        if self._batch.rows is not None:
            size = self._batch.rows - self._batch.rows % self._multiple
            count -= count % self._multiple
            shuffled, lengths = shuffled[:count], lengths[:count]
            pool = np.arange(count) // (POOL * max(size, 1))
            ordered = shuffled[np.lexsort((lengths, pool))]
            return ordered, np.append(np.arange(0, count, max(size, 1)), count)
        assert self._batch.tokens is not None
        pool = (np.cumsum(lengths) - 1) // (POOL * self._batch.tokens)
        by_length = np.lexsort((lengths, pool))
        ordered, starts = shuffled[by_length], [0]
        kept: list[Integers] = []
        for size in self._sizes(lengths[by_length], pool[by_length]):
            whole = size - size % self._multiple
            begin = starts[-1]
            starts.append(begin + size)
            kept.append(ordered[begin : begin + whole])
        kept = [rows for rows in kept if len(rows)]
        ends = np.cumsum([0, *map(len, kept)])
        return np.concatenate([ordered[:0], *kept]), ends

    def _sizes(self, lengths: Integers, pool: Integers) -> Iterator[int]:
        """How many rows each batch holds: as many as fit when padded to the longest."""
        limit, start = self._batch.tokens or 0, 0
        edges = np.append(np.flatnonzero(np.diff(pool)) + 1, len(pool))
        for edge in edges:
            while start < edge:
                most = max(1, limit // max(1, int(lengths[start])))
                window = lengths[start : min(start + most, int(edge))]
                padded = window * np.arange(1, len(window) + 1)
                size = max(1, int(np.searchsorted(padded, limit, side="right")))
                yield size
                start += size


def mix_weights(rows: Rows, alpha: float) -> dict[str, float]:
    """How often each language is drawn: p^alpha, where p is its share of rows (Lample and Conneau
    2019, section 3.1). Raises InputError for texts of no language.
    """
    counts = np.bincount(rows.language_numbers, minlength=len(rows.language_names))
    if None in rows.language_names:
        raise InputError(
            "data.mix needs the language of every text: give its source a language, or its records "
            "one by fields: {language: …}"
        )
    raised = (counts / counts.sum()) ** alpha
    weights = raised / raised.sum()
    return {str(name): float(weight) for name, weight in zip(rows.language_names, weights)}


def _weights(rows: Rows, mix: Mapping[str, float]) -> Integers:
    """The weight of each of the rows' languages; raises InputError for one without."""
    for name in rows.language_names:
        if name not in mix:
            raise InputError(f"the mix has no weight for {name!r}{nearest(str(name), mix)}")
    weights = np.array([mix[str(name)] for name in rows.language_names])
    present = np.bincount(rows.language_numbers, minlength=len(weights)) > 0
    weights = np.where(present, weights, 0.0)
    if not weights.sum() > 0:
        raise InputError("the mix draws no language that has rows")
    return weights / weights.sum()


def _drawn(languages: Integers, weights: Integers, chance: np.random.Generator) -> Integers:
    """As many rows as there are, their languages drawn by weight; the rows of a language come in a
    random order, and again in another one when all have come.
    """
    drawn = chance.choice(len(weights), len(languages), p=weights)
    found = np.empty(len(languages), np.int64)
    for language in range(len(weights)):
        places, rows = np.flatnonzero(drawn == language), np.flatnonzero(languages == language)
        if len(places):
            rounds = -(-len(places) // len(rows))
            turns = [chance.permutation(rows) for _ in range(rounds)]
            found[places] = np.concatenate(turns)[: len(places)]
    return found


def _shuffled(ordered: Integers, starts: Integers, chance: np.random.Generator) -> Epoch:
    """The same batches in a random order."""
    sizes = np.diff(starts)
    order = chance.permutation(len(sizes))
    begins = np.concatenate(([0], np.cumsum(sizes[order])))
    shift = np.repeat(starts[:-1][order] - begins[:-1], sizes[order])
    return Epoch(ordered[np.arange(begins[-1]) + shift], begins)

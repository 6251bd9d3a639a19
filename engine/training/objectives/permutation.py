"""Permutation language modelling of rows and of streams with memory (Yang et al. 2019)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from engine.errors import InputError
from engine.training.data.draws import Draws
from engine.training.data.rows import Row
from engine.training.objectives.base import Batch, Frame, make_batch
from engine.training.objectives.factorization import (
    Drawn,
    Factorization,
    Line,
    draw_order,
    permutation_targets,
    reused,
)
from engine.training.objectives.segments import SegmentPairs
from engine.training.objectives.spans import SpanDraw


@dataclass(frozen=True)
class PermutationOptions:
    """How permutation language modelling asks; see `PermutationObjective` of a recipe."""

    spans: SpanDraw
    predict: int | None = None
    at_words: bool = True
    ordered_specials: bool = True
    """Special tokens have a rank in the order, as published; else they are context."""
    both_directions: bool = False
    pairs: SegmentPairs | None = None


class Permutation:
    """Spans of each row in an order drawn at random; the first `memory.reuse` tokens, which enter
    the memory of streams, never see what follows.

    With both directions every second row is read backwards (of streams those that are laid out so),
    and stands in the second half of the call where `position.reversed_half` mirrors that.
    """

    head = "permutation_lm"

    def __init__(self, frame: Frame, options: PermutationOptions) -> None:
        self.frame, self.options = frame, options
        self.whole = options.pairs is not None and options.pairs.random > 0
        if not frame.spec.two_streams:
            raise InputError(
                "the objective permutation predicts through a second stream: attention.mask "
                "needs the rule permutation"
            )

    def batch(self, rows: Sequence[Row], draws: Draws) -> Batch:
        """The rows with an order, a mapping of what is predicted, and labels (b p)."""
        return self._batch(rows, draws, self.options.pairs)

    def evaluation(self, rows: Sequence[Row], draws: Draws) -> Batch:
        """The same without segments from elsewhere; with both directions each row is read in both,
        streams as they are laid out.
        """
        pairs = self.options.pairs
        if pairs is not None:
            pairs = replace(pairs, random=0.0)
        if not self.options.both_directions or rows[0].next_ids is not None:
            return self._batch(rows, draws, pairs)
        batch = self._batch([row for row in rows for _ in range(2)], draws, pairs)
        return replace(batch, places=tuple(place // 2 for place in batch.places))

    def _batch(self, rows: Sequence[Row], draws: Draws, pairs: SegmentPairs | None) -> Batch:
        ways = self._directions(rows)
        read = [
            read_backwards(row) if backwards and not row.backwards else row
            for row, backwards in zip(rows, ways, strict=True)
        ]
        drawn: list[Row] = []
        orders: list[Drawn] = []
        for place, (row, backwards) in enumerate(zip(read, ways, strict=True)):
            generator = draws.row(row.number)
            reuse = reused(self.frame.spec, len(row.ids))
            if pairs is not None:
                others = [other for other in range(len(rows)) if ways[other] == backwards]
                beside = [read[other] for other in others if other != place]
                row = pairs.draw(row, beside, reuse, backwards, generator)
            drawn.append(row)
            orders.append(
                draw_order(
                    self._line(row, backwards),
                    self.options.spans,
                    generator,
                    reuse=reuse,
                    predict=self.options.predict,
                )
            )
        return self._finish(drawn, orders, self._places(ways))

    def _directions(self, rows: Sequence[Row]) -> list[bool]:
        """Which of the rows are read backwards."""
        if not self.options.both_directions:
            return [False] * len(rows)
        if len(rows) % 2:
            raise InputError(
                "both_directions reads every second row backwards: "
                f"{len(rows)} rows are no even number"
            )
        return [bool(place % 2) for place in range(len(rows))]

    def _places(self, ways: Sequence[bool]) -> list[int]:
        """The rows in the order of the call."""
        places = list(range(len(ways)))
        position = self.frame.spec.position
        if position.kind == "relative" and position.reversed_half:
            places.sort(key=ways.__getitem__)
        return places

    def _line(self, row: Row, backwards: bool) -> Line:
        words = row.words
        if not self.options.at_words:
            words = np.ones_like(row.words)
        ordered = None
        if self.options.ordered_specials:
            ordered = row.special
        return Line(~row.special, words, ordered, backwards)

    def _finish(self, rows: Sequence[Row], orders: Sequence[Drawn], places: Sequence[int]) -> Batch:
        side = self.frame.side
        if rows[0].next_ids is not None:
            side = "right"
        inputs = self.frame.inputs([rows[place] for place in places], side)
        order = Factorization(
            self.frame.lay([orders[place].rank for place in places], 0, side),
            self.frame.lay([orders[place].targets for place in places], False, side),
        )
        inputs |= permutation_targets(inputs["input_ids"], order)
        return make_batch(inputs, places)


def read_backwards(row: Row) -> Row:
    """A row with the plain tokens of each of its segments from the last to the first."""
    types = row.token_types
    if types is None:
        types = np.zeros(len(row.ids), dtype=np.int64)
    turned = np.arange(len(row.ids))
    for kind in np.unique(types):
        plain = ((types == kind) & ~row.special).nonzero()[0]
        turned[plain] = plain[::-1]
    texts = row.texts
    if texts is not None:
        texts = texts[turned]
    return replace(row, ids=row.ids[turned], words=row.words[turned], texts=texts)

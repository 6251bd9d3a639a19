"""Which tokens permutation language modelling predicts: spans that begin at words (Yang et al.
2019, A.4).
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Literal

import numpy as np
import torch
from torch import Generator

from engine.errors import InputError
from engine.training.data.rows import Flags


@dataclass(frozen=True)
class SpanDraw:
    """How spans are drawn: 1 … `longest` tokens, of which n has a probability as 1/n ("inverse")
    or the same for all ("uniform"), each among `context` times as many others.

    A span that would reach the last token is left out, as in the authors' code, which predicts the
    last few tokens less often ("published"), or cut off there ("even").
    """

    context: int = 6
    longest: int = 5
    weights: Literal["inverse", "uniform"] = "inverse"
    tail: Literal["published", "even"] = "published"

    def __post_init__(self) -> None:
        if self.context < 1 or self.longest < 1:
            raise InputError(
                f"context and longest_span are at least 1, found {self.context} and {self.longest}"
            )

    @cached_property
    def bounds(self) -> list[float]:
        """The cumulative probability of each length from 1 on."""
        shares = [1.0] * self.longest
        if self.weights == "inverse":
            shares = [1 / length for length in range(1, self.longest + 1)]
        total = sum(shares)
        return [share / total for share in accumulate(shares)]

    def draw(self, starts: Sequence[bool], generator: Generator, goal: int | None = None) -> Flags:
        """True for the predicted ones among tokens (n), of which `starts` may begin a span.

        Exactly `goal` of them, where there are so many (None: as the spans fall): what spans leave
        is drawn anywhere. At least one, where there are any.
        """
        count = len(starts)
        if goal is not None:
            goal = min(goal, count)
        chosen = np.zeros(count, bool)
        for start, stop in self._spans(starts, generator, goal):
            chosen[start:stop] = True
        missing = (goal or 1) - int(chosen.sum())
        if goal == 0 or missing <= 0:
            return chosen
        free = np.flatnonzero(~chosen)
        chosen[free[torch.randperm(len(free), generator=generator)[:missing].numpy()]] = True
        return chosen

    def _spans(
        self, starts: Sequence[bool], generator: Generator, goal: int | None
    ) -> Iterator[tuple[int, int]]:
        """Spans one behind the other, with a drawn part of the context before each."""
        count, bounds = len(starts), self.bounds[:-1]
        luck = iter(torch.rand(2 * count + 2, generator=generator).tolist())
        place, predicted = 0, 0
        while place < count and predicted != goal:
            length = 1 + bisect_right(bounds, next(luck))
            if goal is not None:
                length = min(length, goal - predicted)
            around = length * self.context
            before = int(next(luck) * around)
            first = place + before
            while first < count and not starts[first]:
                first += 1
            last = first + length
            over = last >= count and self.tail == "published"
            if first >= count or over:
                return
            yield first, min(last, count)
            predicted += length
            place = last + around - before

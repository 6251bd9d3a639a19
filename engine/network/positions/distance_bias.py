"""A number a head and distance, added to the scores: learned for buckets of distances (Raffel et al.
2020), or the distance times a slope of the head (Press et al. 2022).

h heads, r distances.
"""

import math

import torch
from torch import Tensor, nn

from engine.memory import DistanceKeys, Memory
from engine.network.masks import Pairs
from engine.network.positions.position import Position
from engine.network.positions.relative_key import all_distances
from engine.network.positions.scores import Distances, DistanceTable, ScoreInputs, ScoreTerms
from engine.parameters.offloading import with_weights
from engine.spec import Spec, axes


class BucketScores(ScoreTerms):
    """A learned number a bucket of distances and head; one table for all layers where the spec
    says so.
    """

    def __init__(self, spec: Spec, position: axes.DistanceBiasPosition) -> None:
        super().__init__(spec)
        self.table = nn.Parameter(torch.empty(position.count, self.heads))

    @with_weights
    def distance_table(
        self, inputs: ScoreInputs, known: DistanceKeys | None
    ) -> tuple[DistanceTable, DistanceKeys | None]:
        """As in the interface."""
        rows = inputs.distances.table_rows()
        return DistanceTable(bias=self.table.index_select(0, rows).t()), known


class SlopeScores(ScoreTerms):
    """Distances times a slope a head, which the call has made."""

    def distance_table(
        self, inputs: ScoreInputs, known: DistanceKeys | None
    ) -> tuple[DistanceTable, DistanceKeys | None]:
        """As in the interface."""
        return DistanceTable(bias=inputs.distances.bias), known


class DistanceBiasPosition(Position):
    """`position.kind: distance_bias`."""

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        assert isinstance(spec.position, axes.DistanceBiasPosition)
        self.axis = spec.position
        if self.axis.shared:
            self.shared = ("table",)

    def score_terms(self) -> ScoreTerms:
        """The numbers of a block."""
        if self.axis.numbers == "slopes":
            return SlopeScores(self.spec)
        return BucketScores(self.spec, self.axis)

    def distances(self, pairs: Pairs, past: Memory | None, like: Tensor, rate: float) -> Distances:
        """All of them, both ways: the bucket of each, or its product with the slopes."""
        steps = all_distances(pairs, like.device)
        if self.axis.numbers == "buckets":
            return Distances(rows=bucket_of(steps, self.axis))
        of_heads = slopes(self.spec.dims.heads, self.axis.steepest)
        by_head = torch.tensor(of_heads, dtype=like.dtype, device=like.device)
        return Distances(bias=by_head[:, None] * -steps.abs().to(like.dtype))


def bucket_of(steps: Tensor, position: axes.DistanceBiasPosition) -> Tensor:
    """The bucket (r) of each distance (r) back; distances ahead are below zero.

    Half of the buckets of a side hold one distance each, the others ever more up to `max_distance`,
    which their logarithms divide evenly.
    """
    count, first = position.count, torch.zeros_like(steps)
    if position.two_sided:
        count //= 2
        first = torch.where(steps < 0, count, first)
        steps = steps.abs()
    steps = steps.clamp(min=0)
    exact = count // 2
    share = torch.log(steps.clamp(min=1).float() / exact) / math.log(position.max_distance / exact)
    wide = (exact + (share * (count - exact)).long()).clamp(max=count - 1)
    return first + torch.where(steps < exact, steps, wide)


def slopes(heads: int, steepest: float) -> list[float]:
    """The slope of each head: powers of two, evenly spread; where heads are no power of two, those
    of the next one, every second first.
    """
    power = 2 ** math.ceil(math.log2(heads))
    every = [2.0 ** -(steepest * number / power) for number in range(1, power + 1)]
    if power == heads:
        return every
    return [*every[1::2], *every[::2]][:heads]

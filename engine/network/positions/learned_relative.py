"""A learned vector and bias a head and distance: type 1 of the authors' Transformer-XL code."""

import torch
from torch import Tensor, nn

from engine.memory import DistanceKeys, Memory
from engine.network.masks import Pairs
from engine.network.positions.position import Position
from engine.network.positions.relative_key import all_distances
from engine.network.positions.scores import Distances, DistanceTable, ScoreInputs, ScoreTerms
from engine.parameters.offloading import with_weights
from engine.spec import Spec, axes


class LearnedRelativeScores(ScoreTerms):
    """A table a block, its last row that of distance zero."""

    def __init__(self, spec: Spec, position: axes.LearnedRelativePosition) -> None:
        super().__init__(spec)
        self.table = nn.Parameter(torch.empty(position.size, self.heads, self.head))
        self.table_bias = nn.Parameter(torch.empty(position.size, self.heads))

    @with_weights
    def distance_table(
        self, inputs: ScoreInputs, known: DistanceKeys | None
    ) -> tuple[DistanceTable, DistanceKeys | None]:
        """As in the interface."""
        rows = inputs.distances.table_rows()
        keys = self.table[rows].transpose(0, 1)[None] * self.scale
        return DistanceTable(keys, self.table_bias[rows].transpose(0, 1) * self.scale), known


class LearnedRelativePosition(Position):
    """`position.kind: learned_relative`."""

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        assert isinstance(spec.position, axes.LearnedRelativePosition)
        self.axis = spec.position

    def score_terms(self) -> ScoreTerms:
        """The table of a block."""
        return LearnedRelativeScores(self.spec, self.axis)

    def distances(self, pairs: Pairs, past: Memory | None, like: Tensor, rate: float) -> Distances:
        """All of them; those past the table, or past `clamp`, share its farthest row."""
        reach = min(self.axis.size, self.axis.clamp or self.axis.size)
        steps = all_distances(pairs, like.device).clamp(0, reach - 1)
        return Distances(rows=self.axis.size - 1 - steps)

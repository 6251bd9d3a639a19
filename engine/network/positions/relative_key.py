"""A learned vector a distance, scored against queries (Shaw et al. 2018), or queries and keys
(Huang et al. 2020).
"""

import torch
from torch import Tensor, nn

from engine.errors import InputError
from engine.kernels.attention import Tile
from engine.memory import DistanceKeys, Memory
from engine.network.masks import Pairs
from engine.network.positions.position import Position
from engine.network.positions.scores import (
    Distances,
    DistanceTable,
    ScoreInputs,
    ScoreTerms,
    shift,
)
from engine.parameters.offloading import with_weights
from engine.spec import Spec, axes


class RelativeKeyScores(ScoreTerms):
    """One table for all heads; `with_keys` scores distances against keys, too."""

    def __init__(self, spec: Spec, size: int, with_keys: bool) -> None:
        super().__init__(spec)
        self.with_keys = with_keys
        self.group = spec.dims.heads // spec.dims.kv_heads
        self.table = nn.Parameter(torch.empty(2 * size - 1, self.head))

    @with_weights
    def distance_table(
        self, inputs: ScoreInputs, known: DistanceKeys | None
    ) -> tuple[DistanceTable, DistanceKeys | None]:
        """As in the interface."""
        keys = self.table[inputs.distances.table_rows()] * self.scale
        return DistanceTable(keys[None, None]), known

    def key_term(self, key: Tensor, table: Tensor, pairs: Pairs, tile: Tile) -> Tensor | None:
        """Products of keys with the vectors of distances, seen from the column."""
        if not self.with_keys:
            return None
        rows, columns = tile.rows.stop - tile.rows.start, tile.columns.stop - tile.columns.start
        first = pairs.columns - tile.columns.stop + tile.rows.start
        near = table[0].flip(-2)[:, first : first + columns + rows - 1]
        key = key.repeat_interleave(self.group, dim=1)
        return shift(key @ near.transpose(-1, -2), rows).transpose(-1, -2)


class RelativeKeyPosition(Position):
    """`position.kind: relative_key` and `relative_key_query`."""

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        assert isinstance(spec.position, axes.RelativeKeyPosition)
        self.axis = spec.position

    def score_terms(self) -> ScoreTerms:
        """The table of a block."""
        return RelativeKeyScores(self.spec, self.axis.size, self.axis.kind == "relative_key_query")

    def distances(self, pairs: Pairs, past: Memory | None, like: Tensor, rate: float) -> Distances:
        """All of them, both ways (raises InputError past the table)."""
        if max(pairs.columns, pairs.tokens) > self.axis.size:
            raise InputError(
                f"{pairs.columns} tokens reach past the {self.axis.size} distances of position.size"
            )
        return Distances(rows=all_distances(pairs, like.device) + self.axis.size - 1)


def all_distances(pairs: Pairs, device: torch.device) -> Tensor:
    """Every distance (r) of a call, farthest first."""
    return torch.arange(pairs.farthest, -pairs.tokens, -1, device=device)

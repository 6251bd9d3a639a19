"""Score terms besides content: what distance and segment add to a query's score of a key.

b batch, i query rows, j key columns, h heads, g key/value heads, k head width, r distances, p
predictions.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.kernels.attention import Tile
from engine.kernels.tuning import tuning
from engine.kernels.watched import transformed
from engine.memory import DistanceKeys
from engine.network.masks import Pairs
from engine.parameters.offloading import with_weights
from engine.spec import Spec


@dataclass(frozen=True)
class DistanceRange:
    """Distances `high` down to `low` that are to be projected."""

    high: int
    low: int
    joined: bool = False
    """They are put before those that memory holds."""
    kept: bool = False
    """Memory will hold them."""


@dataclass(frozen=True)
class Distances:
    """The distances of a call, farthest first."""

    rows: Tensor | None = None
    """(r): the row of a learned table for each."""
    bias: Tensor | None = None
    """(h r): what each adds by itself, where nothing of it is learned."""
    sinusoids: Tensor | None = None
    """(1 r d) of `lacking`, or (2 r d) where the second half of the batch is mirrored."""
    lacking: DistanceRange | None = None
    """What memory does not hold projected."""

    def table_rows(self) -> Tensor:
        """Those of `rows`, which every kind with a learned table gives."""
        assert self.rows is not None
        return self.rows


@dataclass(frozen=True)
class DistanceTable:
    """A key a head and distance, and its bias. Both are scaled: products with queries are scores."""

    keys: Tensor | None = None
    """(u h r k), or (1 1 r k) for all heads, farthest first, with u = 2 where half the batch is
    mirrored.
    """
    bias: Tensor | None = None
    """(h r)."""


@dataclass(frozen=True)
class ScoreInputs:
    """What the score terms of all blocks share of one call."""

    pairs: Pairs
    distances: Distances
    index: Tensor | None = None
    """(b p j): where the distances of a few prediction rows stand among those of the call."""
    row_types: Tensor | None = None
    """(b i+p): token types."""
    column_types: Tensor | None = None
    """(b j); remembered tokens count as type 0."""


def score_inputs(
    spec: Spec, pairs: Pairs, distances: Distances, token_types: Tensor | None, device: torch.device
) -> ScoreInputs:
    """What the score terms share; `token_types` (b i) are those of the tokens of the call."""
    score, rows, columns, index = spec.score_terms, None, None, None
    targets = pairs.targets
    if "segment" in score and token_types is not None:
        rows = types = token_types.to(torch.int32)
        columns = functional.pad(types, (pairs.remembered, 0))
        if targets is not None:
            of_targets = types.gather(1, targets.clamp(0, pairs.tokens - 1))
            rows = torch.cat((rows, of_targets), dim=1)
    if "position" in score and targets is not None:
        if transformed() or targets.shape[1] <= tuning().tile_rows:
            index = _distance_index(pairs, Tile(_shifted(pairs), None, 0, pairs.columns), device)
    return ScoreInputs(pairs, distances, index, rows, columns)


def _shifted(pairs: Pairs) -> int:
    """How many rows find their distances by a shift.

    Prediction rows look them up, and a lone token beside them, too.
    """
    if pairs.targets is None or transformed() or pairs.tokens > 1:
        return pairs.tokens
    return 0


def _distance_index(pairs: Pairs, tile: Tile, device: torch.device) -> Tensor:
    """Where the distances of a tile stand among those of a call, farthest first, (b i j)."""
    index = pairs.farthest - pairs.distances(tile, device)
    return index.clamp(max=pairs.farthest + pairs.tokens - 1)


def shift(scores: Tensor, columns: int) -> Tensor:
    """Scores by distance (... i r) as scores by column (... i j), a view: row i starts i entries
    further left.

    Entry r stands for one step less than entry r - 1, and r is i + j - 1. The "relative shift" of
    Transformer-XL (Dai et al. 2019, appendix B) without a copy.
    """
    if transformed():  # any number of rows has its view then, one too
        scores = functional.pad(scores, (0, 1))
    elif scores.shape[-2] == 1:
        return scores[..., :columns]
    rows, distances = scores.shape[-2:]
    flat = scores.flatten(-2)[..., rows - 1 : rows - 1 + rows * (distances - 1)]
    return flat.unflatten(-1, (rows, distances - 1))[..., :columns]


class ScoreTerms(nn.Module):
    """The segment term of one block (Yang et al. 2019, 2.5), and the vectors that each term adds to
    the query (Dai et al. 2019, 3.3). Subclasses add the term of their distances.
    """

    position_biased: ClassVar[bool] = False
    """Whether the position term has a vector of its own that is added to the query."""

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        dims, attention = spec.dims, spec.attention
        self.heads, self.head = dims.heads, dims.head
        self.scale = spec.attention_scale
        biased = attention.query_bias != "none"
        segmented = "segment" in attention.score
        self.content_bias = self._vectors() if biased else None
        self.position_bias = self._vectors() if biased and self.position_biased else None
        self.segment_bias = self._vectors() if biased and segmented else None
        self.segments = self._vectors(2) if segmented else None

    def _vectors(self, *count: int) -> nn.Parameter:
        return nn.Parameter(torch.empty(*count, self.heads, self.head))

    @with_weights
    def with_content_bias(self, query: Tensor) -> Tensor:
        """Queries (b h i k) with the vector that the content term adds to them."""
        return query if self.content_bias is None else query + self.content_bias.unsqueeze(1)

    def distance_table(
        self, inputs: ScoreInputs, known: DistanceKeys | None
    ) -> tuple[DistanceTable, DistanceKeys | None]:
        """The keys and biases of all distances of a call, and the projected ones to be remembered.

        `known` are those that memory holds.
        """
        return DistanceTable(), known

    def key_term(self, key: Tensor, table: Tensor, pairs: Pairs, tile: Tile) -> Tensor | None:
        """What distances add by themselves to keys (b g j k), (b h i j)."""
        return None

    def forward(
        self, query: Tensor, key: Tensor, table: DistanceTable, inputs: ScoreInputs, tile: Tile
    ) -> Tensor | None:
        """What distance and segment add to the scaled scores of a tile's queries (b h i k) over its
        keys (b g j k), (b h i j).
        """
        terms: list[Tensor | None] = []
        if table.keys is not None:
            terms.append(self._position_term(query, table.keys, table.bias, inputs, tile))
            terms.append(self.key_term(key, table.keys, inputs.pairs, tile))
        elif table.bias is not None:
            terms.append(_bias_term(table.bias, inputs.pairs, tile))
        terms.append(self._segment_term(query, inputs, tile))
        return _sum([term for term in terms if term is not None])

    def _segment_term(self, query: Tensor, inputs: ScoreInputs, tile: Tile) -> Tensor | None:
        rows, columns = inputs.row_types, inputs.column_types
        if self.segments is None or rows is None or columns is None:
            return None
        if self.segment_bias is not None:
            query = query + self.segment_bias[:, None]
        same, other = (query * self.scale @ self.segments.movedim(0, -1)).split(1, dim=-1)
        differ = rows[:, None, tile.rows, None] != columns[:, None, None, tile.columns]
        return torch.where(differ, other, same)

    def _position_term(
        self, query: Tensor, keys: Tensor, bias: Tensor | None, inputs: ScoreInputs, tile: Tile
    ) -> Tensor:
        """Scores by distance, put in order by column.

        Rows of tokens find theirs by a shift, prediction rows by their targets.
        """
        pairs, shifted = inputs.pairs, _shifted(inputs.pairs)
        rows = max(0, min(tile.rows.stop, shifted) - tile.rows.start)
        columns = tile.columns.stop - tile.columns.start
        first = pairs.tokens + pairs.ahead - tile.rows.start - rows + tile.columns.start
        near = slice(first, first + columns + rows - 1)
        if tile.rows.stop <= shifted:
            keys = keys[:, :, near]
            bias = None if bias is None else bias[:, near]
            near = slice(None)
        if self.position_bias is not None:
            query = query + self.position_bias.unsqueeze(1)
        scores = _products(query, keys)
        if bias is not None:
            scores = scores + bias[:, None]
        if tile.rows.stop <= shifted:
            return shift(scores, columns)
        looked_up = replace(tile, first_row=max(shifted, tile.rows.start), last_row=tile.rows.stop)
        if inputs.index is None:
            index = _distance_index(pairs, looked_up, query.device)
        else:
            rows_of_index = slice(looked_up.first_row - shifted, tile.rows.stop - shifted)
            index = inputs.index[:, rows_of_index, tile.columns]
        below = scores[:, :, rows:] if rows else scores
        found = below.gather(-1, index[:, None].expand(-1, query.shape[1], -1, -1))
        if not rows:
            return found
        return torch.cat((shift(scores[:, :, :rows, near], columns), found), dim=2)


def _bias_term(bias: Tensor, pairs: Pairs, tile: Tile) -> Tensor:
    """A number a head and distance (h r), put in order by column (1 h i j)."""
    index = _distance_index(pairs, tile, bias.device)[0]
    return bias.index_select(1, index.flatten()).unflatten(1, index.shape)[None]


def _sum(terms: Sequence[Tensor]) -> Tensor | None:
    if not terms:
        return None
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


def _products(query: Tensor, keys: Tensor) -> Tensor:
    """Scores (b h i r) of queries (b h i k) with keys (u h r k), each half of the batch with its own."""
    if len(keys) == 1:
        # The gradient of squeeze, unlike that of keys[0], is a view.
        return _products_by_head(query, keys.squeeze(0))
    halves = zip(query.chunk(2), keys, strict=True)
    return torch.cat([_products_by_head(half, side) for half, side in halves])


def _products_by_head(query: Tensor, keys: Tensor) -> Tensor:
    """Products (b h i r) of queries (b h i k) with keys (h r k), or (1 r k) for all heads: one a
    head for the whole batch, which is half again as fast.
    """
    rows = query.transpose(0, 1)
    found = torch.bmm(rows.flatten(1, 2), keys.transpose(-1, -2).expand(len(rows), -1, -1))
    return found.unflatten(1, rows.shape[1:3]).transpose(0, 1)

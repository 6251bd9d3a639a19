"""Score terms besides content: what distance and segment add to a query's score of a key."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.errors import InputError
from engine.kernels.dropout import dropout
from engine.kernels.linear import build_linear, is_plain, linear
from engine.kernels.reordered import reordered
from engine.kernels.tuning import tuning
from engine.kernels.watched import transformed, watched
from engine.memory import DistanceKeys, Memory, longest
from engine.network.masks import BLOCK, Cut, Grid
from engine.network.positions import sinusoid
from engine.parameters.offloading import with_weights
from engine.spec import Spec, axes


@dataclass(frozen=True)
class Frame:
    """What all blocks share of one call: distances, their sinusoids, and segments.

    `distances` (r) of learned distances descend by one from the farthest; `sinusoids` is (1 r d),
    or (2 r d) where the second half of the batch is mirrored, of the distances that are `lacking`;
    `places` (b p j) tells where the keys of the distances of a few rows stand that no shift lays
    out; `row_types` (b i+p) and `column_types` (b j) are token types.
    """

    distances: Tensor | None = None
    sinusoids: Tensor | None = None
    row_types: Tensor | None = None
    column_types: Tensor | None = None
    lacking: "_Lacking | None" = None
    places: Tensor | None = None


@dataclass(frozen=True)
class _Lacking:
    """Distances `top` down to `bottom` are to be projected, `joined` to those that memory holds,
    and `kept` there.
    """

    top: int
    bottom: int
    joined: bool = False
    kept: bool = False


@dataclass(frozen=True)
class DistanceTable:
    """A key a head and distance, (s h r k), farthest first, with s = 2 where half the batch is
    mirrored; biases (h r).

    Both are scaled: their products with queries are scores.
    """

    keys: Tensor | None = None
    bias: Tensor | None = None


def build_frame(
    spec: Spec,
    grid: Grid,
    token_types: Tensor | None,
    like: Tensor,
    past: Memory | None = None,
    rate: float = 0.0,
) -> Frame:
    """The frame of one call; token types (b i) are those of the content tokens, remembered tokens
    count as type 0.

    Where memory holds keys and values, projected distances are held beside them. Dropout of `rate`
    falls on the sinusoids of distances, once for all blocks and rows, and never on those that
    memory will hold.
    """
    distances = sinusoids = rows = columns = lacking = None
    if isinstance(spec.position, axes.RelativePosition):
        lacking = _lacking(spec, grid, past)
        if lacking is not None:
            reach = torch.arange(lacking.top, lacking.bottom - 1, -1, device=like.device)
            limit = spec.position.clamp
            reach = reach if limit is None else reach.clamp(-limit, limit)
            signs = (reach, -reach) if spec.position.reversed_half else (reach,)
            sinusoids = torch.stack(
                [sinusoid(sign, spec.dims.model, "half_split") for sign in signs]
            ).to(like.dtype)
            sinusoids = sinusoids if lacking.kept else dropout(sinusoids, rate)
    elif "position" in spec.attention.score:
        distances = torch.arange(grid.farthest, -grid.content, -1, device=like.device)
    if (
        isinstance(spec.position, axes.RelativeKeyPosition)
        and max(grid.columns, grid.content) > spec.position.size
    ):
        raise InputError(
            f"{grid.columns} tokens reach past the {spec.position.size} distances of position.size"
        )
    if "segment" in spec.attention.score and token_types is not None:
        rows = token_types = token_types.to(torch.int32)
        columns = functional.pad(token_types, (grid.remembered, 0))
        if grid.targets is not None:
            rows = torch.cat(
                (rows, token_types.gather(1, grid.targets.clamp(0, grid.content - 1))), dim=1
            )
    few = grid.targets is not None and (transformed() or grid.targets.shape[1] <= BLOCK)
    few = few and "position" in spec.attention.score
    places = _places(grid, Cut(grid.shifted, None, 0, grid.columns), like.device) if few else None
    return Frame(distances, sinusoids, rows, columns, lacking, places)


def _places(grid: Grid, cut: Cut, device: torch.device) -> Tensor:
    """Where the distances of a cut's rows to its columns stand among those of a grid, farthest
    first, (b i j).
    """
    return (grid.farthest - grid.distances(cut, device)).clamp(max=grid.farthest + grid.content - 1)


def _lacking(spec: Spec, grid: Grid, past: Memory | None) -> _Lacking | None:
    """Which distances of a grid are to be projected, None where memory holds them; one that grows
    gets some in advance.
    """
    top, bottom = grid.farthest, 1 - grid.content
    if past is None or not past.projected or torch.is_grad_enabled() or transformed():
        return _Lacking(top, bottom)
    spare, limit = top // 4 + 64, longest(spec.memory, past.keeps)
    ahead = top + (spare if limit is None else max(0, min(spare, limit - grid.remembered)))
    known = past.layers[0].distances
    if known is None:
        return _Lacking(ahead, bottom, kept=True)
    if known.covers(top, bottom):
        return None
    if known.covers(known.high, bottom):
        return _Lacking(ahead, known.high + 1, joined=True, kept=True)
    return _Lacking(max(top, known.high), bottom, kept=True)


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


def _against(asked: Tensor, keys: Tensor) -> Tensor:
    """Products (b h i r) of queries (b h i k) with keys (h r k) of the whole batch: one a head,
    half again as fast.
    """
    rows = asked.transpose(0, 1)
    return (
        torch.bmm(rows.flatten(1, 2), keys.transpose(-1, -2))
        .unflatten(1, rows.shape[1:3])
        .transpose(0, 1)
    )


class RelativeScores(nn.Module):
    """The position and segment terms of one block, and the vectors that each term adds to the
    query.

    Transformer-XL (Dai et al. 2019, 3.3), XLNet's segments (Yang et al. 2019, 2.5), Shaw et al.
    (2018), Huang et al. (2020).
    """

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        dims, position, attention = spec.dims, spec.position, spec.attention
        assert dims.head is not None
        self.position, self.heads = position, dims.heads
        self.scale = dims.head**-0.5 if attention.scale else 1.0
        shape = (dims.heads, dims.head)
        biased = attention.query_bias != "none"
        self.content_bias = nn.Parameter(torch.empty(shape)) if biased else None
        self.position_bias = (
            nn.Parameter(torch.empty(shape)) if biased and position.kind == "relative" else None
        )
        self.segment_bias = (
            nn.Parameter(torch.empty(shape)) if biased and "segment" in attention.score else None
        )
        self.segments = (
            nn.Parameter(torch.empty(2, *shape)) if "segment" in attention.score else None
        )
        self.projection: nn.Linear | None = None
        self.table: nn.Parameter | None = None
        self.table_bias: nn.Parameter | None = None
        if isinstance(position, axes.RelativePosition):
            self.projection = build_linear(dims.model, dims.heads * dims.head, bias=False)
        elif isinstance(position, axes.RelativeKeyPosition):
            self.table = nn.Parameter(torch.empty(2 * position.size - 1, dims.head))
        elif isinstance(position, axes.LearnedRelativePosition):
            self.table = nn.Parameter(torch.empty(position.size, dims.heads, dims.head))
            self.table_bias = nn.Parameter(torch.empty(position.size, dims.heads))

    def projected(
        self, grid: Grid, frame: Frame, known: DistanceKeys | None
    ) -> tuple[Tensor, DistanceKeys | None]:
        """A scaled key a head and distance, (s h r k), with s = 2 where half the batch is mirrored,
        and what is kept.
        """
        lacking = frame.lacking
        if lacking is not None:
            keys = self._keys(lacking, frame)
            if lacking.joined and known is not None:
                keys = torch.cat((keys, known.keys), dim=2)
            if not lacking.kept:
                return keys, None
            known = DistanceKeys(keys.contiguous(), lacking.top)
        assert known is not None
        return known.between(grid.farthest, 1 - grid.content), known

    def _keys(self, lacking: _Lacking, frame: Frame) -> Tensor:
        """Scaled keys (s h r k) of distances that are lacking; prepacked weights hold them for the
        calls to come.
        """
        assert self.projection is not None and frame.sinusoids is not None
        ready = reordered(self.projection.weight) if self._steady(self.projection) else None
        held = None if ready is None else ready.distances
        if isinstance(held, DistanceKeys) and held.covers(lacking.top, lacking.bottom):
            return held.between(lacking.top, lacking.bottom)
        keys = (
            (linear(self.projection, frame.sinusoids) * self.scale)
            .unflatten(-1, (self.heads, -1))
            .transpose(1, 2)
        )
        if ready is not None and keys.shape[-2] <= tuning().kept_distances:
            ready.distances = DistanceKeys(keys, lacking.top)
        return keys

    def _steady(self, projection: nn.Module) -> bool:
        """Whether a projection gives the same for the same distances again, but for a change of its
        weight.
        """
        if self.training:  # dropout may fall on what is projected
            return False
        traced = torch.is_grad_enabled() or torch.is_autocast_enabled("cpu") or watched()
        return is_plain(projection) and not traced

    @with_weights
    def with_content_bias(self, query: Tensor) -> Tensor:
        """Queries (b h i k) with the vector that the content term adds to them."""
        return query if self.content_bias is None else query + self.content_bias.unsqueeze(1)

    @with_weights
    def distance_keys(self, frame: Frame) -> tuple[Tensor | None, Tensor | None]:
        """A learned, scaled key a head and distance, (1 h r k), and its bias (h r)."""
        if self.table is None or frame.distances is None:
            return None, None
        if isinstance(self.position, axes.RelativeKeyPosition):
            keys = self.table[frame.distances + self.position.size - 1] * self.scale
            return keys.expand(1, self.heads, -1, -1), None
        assert (
            isinstance(self.position, axes.LearnedRelativePosition) and self.table_bias is not None
        )
        reach = min(self.position.size, self.position.clamp or self.position.size)
        rows = self.position.size - 1 - frame.distances.clamp(0, reach - 1)
        return self.table[rows].transpose(0, 1)[None] * self.scale, self.table_bias[rows].transpose(
            0, 1
        ) * self.scale

    def distance_table(
        self, grid: Grid, frame: Frame, known: DistanceKeys | None
    ) -> tuple[DistanceTable, DistanceKeys | None]:
        """The keys and biases of all distances of a grid, and the projected ones that memory will
        hold.

        `known` are those that memory holds.
        """
        if self.projection is None:
            return DistanceTable(*self.distance_keys(frame)), known
        keys, known = self.projected(grid, frame, known)
        return DistanceTable(keys), known

    def forward(
        self, query: Tensor, key: Tensor, table: DistanceTable, grid: Grid, frame: Frame, cut: Cut
    ) -> Tensor | None:
        """What distance and segment add to the scaled scores of a cut's queries (b h i k) over its
        keys (b h j k).
        """
        terms = []
        if table.keys is not None:
            terms.append(self._position(query, table, grid, frame, cut))
            if self.position.kind == "relative_key_query":
                terms.append(self._key_position(key, table.keys, grid, cut))
        if (
            self.segments is not None
            and frame.row_types is not None
            and frame.column_types is not None
        ):
            asked = query if self.segment_bias is None else query + self.segment_bias[:, None]
            same, other = (asked * self.scale @ self.segments.movedim(0, -1)).split(1, dim=-1)
            differ = (
                frame.row_types[:, None, cut.rows, None]
                != frame.column_types[:, None, None, cut.columns]
            )
            terms.append(torch.where(differ, other, same))
        return sum(terms[1:], terms[0]) if terms else None

    def _position(
        self, query: Tensor, table: DistanceTable, grid: Grid, frame: Frame, cut: Cut
    ) -> Tensor:
        """Scores by distance, laid out by column: content rows by a shift, query rows by their
        targets.
        """
        assert table.keys is not None
        keys, bias, shifted = table.keys, table.bias, grid.shifted
        rows = max(0, min(cut.rows.stop, shifted) - cut.rows.start)
        columns = cut.columns.stop - cut.columns.start
        first = grid.content + grid.ahead - cut.rows.start - rows + cut.columns.start
        near = slice(first, first + columns + rows - 1)
        if cut.rows.stop <= shifted:
            keys, bias, near = (
                keys[:, :, near],
                None if bias is None else bias[:, near],
                slice(None),
            )
        position_bias = self.position_bias
        asked = query if position_bias is None else query + position_bias.unsqueeze(1)
        if len(keys) == 1:
            scores = _against(
                asked, keys.squeeze(0)
            )  # whose gradient, unlike that of keys[0], is a view
        else:
            scores = torch.cat(
                [_against(half, side) for half, side in zip(asked.chunk(2), keys, strict=True)]
            )
        if bias is not None:
            scores = scores + bias[:, None]
        parts = [shift(scores[:, :, :rows, near], columns)] if rows else []
        if cut.rows.stop > shifted:
            asking = slice(max(shifted, cut.rows.start), cut.rows.stop)
            if frame.places is None:
                index = _places(
                    grid, replace(cut, first_row=asking.start, last_row=asking.stop), query.device
                )
            else:
                index = frame.places[:, asking.start - shifted : asking.stop - shifted, cut.columns]
            below = scores[:, :, rows:] if rows else scores
            parts.append(below.gather(-1, index[:, None].expand(-1, query.shape[1], -1, -1)))
        return torch.cat(parts, dim=2) if len(parts) > 1 else parts[0]

    def _key_position(self, key: Tensor, keys: Tensor, grid: Grid, cut: Cut) -> Tensor:
        rows, columns = cut.rows.stop - cut.rows.start, cut.columns.stop - cut.columns.start
        first = grid.columns - cut.columns.stop + cut.rows.start
        near = keys[0].flip(-2)[:, first : first + columns + rows - 1]
        key = key.repeat_interleave(self.heads // key.shape[1], dim=1)
        return shift(key @ near.transpose(-1, -2), rows).transpose(-1, -2)

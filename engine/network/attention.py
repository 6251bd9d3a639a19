"""Attention: project, remember, score, attend, project.

b batch, i tokens of the call, p predictions, j key columns, s encoder states, d model width, h
heads, g key/value heads, k head width.
"""

from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from engine.kernels.attention import (
    AdditiveMask,
    Softmax,
    Tile,
    Tiling,
    attend,
    attend_whole,
)
from engine.kernels.linear import build_linear, leading_rows, linear
from engine.memory import LayerMemory
from engine.network.norms import HeadsNorm, normed, unnormed
from engine.network.positions import DistanceTable, ScoreInputs, ScoreTerms, build_position
from engine.network.positions.position import Rotation
from engine.spec import Spec, axes


@dataclass(frozen=True)
class SharedInputs:
    """What all blocks of one call share; every block reads it and none changes it."""

    scores: ScoreInputs
    """Pairs of query rows and key columns, their distances and token types."""
    tiling: Tiling
    """The mask, and the tiles of query rows that attention takes at a time."""
    causal: bool = False
    """A triangle stands for the mask."""
    unfused: bool = False
    """Scores are made where a fused kernel could do without them."""
    first_row: int = 0
    """Rows before this one are key columns only."""
    real: Tensor | None = None
    """(b i+p): True for rows at tokens that are no padding."""
    query_rotation: Rotation | None = None
    """Of rotary positions: cosines and sines of all query rows."""
    key_rotation: Rotation | None = None
    """The same of the key columns whose keys are not yet made."""
    encoder_states: Tensor | None = None
    """(b s d)."""
    encoder_mask: AdditiveMask | None = None
    """Which rows see which encoder states."""
    head_mask: Tensor | None = None
    """(h): factors of each head's weights in the block at hand."""
    cross_head_mask: Tensor | None = None
    """The same for cross-attention."""
    keep_weights: bool = False
    """Attention weights are part of the result."""

    def query_rows(self, states: Tensor) -> Tensor:
        """The rows of states (b i+p d) that are query rows."""
        return states[:, self.first_row :] if self.first_row else states

    def only_predictions(self) -> "SharedInputs":
        """The same call where tokens are key columns only: a last block whose states of tokens
        nobody reads.
        """
        first = self.scores.pairs.tokens
        tiles = [
            replace(tile, first_row=max(first, tile.first_row))
            for tile in self.tiling.tiles
            if tile.rows.stop > first
        ]
        encoder_mask = self.encoder_mask
        if encoder_mask is not None:
            encoder_mask = encoder_mask.over(Tile(first, None, 0, None))
        return replace(
            self,
            first_row=first,
            tiling=replace(self.tiling, tiles=tuple(tiles)),
            real=None if self.real is None else self.real[:, first:],
            encoder_mask=encoder_mask,
        )


class _Projections(nn.Module):
    """The four projections, and the numbers that self- and cross-attention share; keys and values
    are made of states of another width where an encoder has one.
    """

    def __init__(self, spec: Spec, source: int) -> None:
        super().__init__()
        dims, bias = spec.dims, spec.attention.bias
        if isinstance(bias, bool):
            bias = axes.AttentionBias(query=bias, key=bias, value=bias, output=bias)
        self.query = build_linear(dims.model, dims.heads * dims.head, bias=bias.query)
        self.key = build_linear(source, dims.kv_heads * dims.head, bias=bias.key)
        self.value = build_linear(source, dims.kv_heads * dims.head, bias=bias.value)
        self.output = build_linear(dims.heads * dims.head, dims.model, bias=bias.output)
        self.head = dims.head
        self.scale, self.softcap = spec.attention_scale, spec.attention.softcap
        self.sinks: nn.Parameter | None = None
        self.dropout = spec.dropout.attention

    def _softmax(self, shared: SharedInputs) -> Softmax:
        return Softmax(
            scale=self.scale,
            softcap=self.softcap,
            sinks=self.sinks,
            causal=shared.causal,
            dropout=self.dropout if self.training else 0.0,
            head_mask=shared.head_mask,
            keep_weights=shared.keep_weights,
            unfused=shared.unfused,
        )


class Attention(_Projections):
    """Self-attention over remembered and present tokens, with any mix of score terms.

    Query rows are the tokens and, under two streams, prediction rows below them, which are no key
    columns: two-stream attention (Yang et al. 2019, 2.3) is ordinary attention with a taller mask.
    """

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec, spec.dims.model)
        self.position = build_position(spec)
        norm, dims = spec.attention.head_norm, spec.dims
        self.query_norm: HeadsNorm | None = None
        self.key_norm: HeadsNorm | None = None
        if norm is not None:
            self.query_norm = HeadsNorm(norm, spec.norm, dims.heads, dims.head)
            self.key_norm = HeadsNorm(norm, spec.norm, dims.kv_heads, dims.head)
        # What becomes of queries and keys before positions turn them, and after.
        late = norm is not None and norm.when == "after_position"
        self.flat, self.turned = (unnormed, normed) if late else (normed, unnormed)
        if spec.attention.sinks:
            self.sinks = nn.Parameter(torch.empty(dims.heads))
        self.scores: ScoreTerms | None = None
        if set(spec.score_terms) != {"content"}:
            self.scores = self.position.score_terms() or ScoreTerms(spec)

    def forward(
        self, rows: Tensor, tokens: Tensor, past: LayerMemory, shared: SharedInputs
    ) -> tuple[Tensor, LayerMemory, Tensor | None]:
        """States (b i+p d) of query rows and (b j d or b j+p d) of tokens that `past` does not hold
        projected.

        Returns the rows' results (b i+p d), the block's keys and values, and weights (b h i+p j)
        where they are kept.
        """
        query = self.flat(self.query_norm, _split(linear(self.query, rows), self.head))
        known = 0 if past.keys is None else past.keys.shape[-2]
        key, value = self._keys_and_values(
            tokens, shared.key_rotation, shared.scores.pairs.columns - known
        )
        key, value, memory = past.append(key, value)
        table = DistanceTable()
        if self.scores is not None:
            table, distances = self.scores.distance_table(shared.scores, past.distances)
            memory = replace(memory, distances=distances)
        mixed, weights = attend(
            query,
            key,
            value,
            terms=partial(self._terms, shared, table),
            tiling=shared.tiling,
            softmax=self._softmax(shared),
        )
        return linear(self.output, mixed.transpose(1, 2).flatten(-2)), memory, weights

    def _terms(
        self, shared: SharedInputs, table: DistanceTable, query: Tensor, key: Tensor, tile: Tile
    ) -> tuple[Tensor, Tensor | None]:
        """Queries (b h i k) of a tile as they meet the keys, and what distance and segment add to
        their scores.

        Rotations turn the content term only: segments have no position.
        """
        content, bias = query, None
        if self.scores is not None:
            content = self.scores.with_content_bias(query)
            bias = self.scores(query, key, table, shared.scores, tile)
        if shared.query_rotation is not None:
            cosine, sine = shared.query_rotation
            part = cosine[:, :, tile.rows], sine[:, :, tile.rows]
            content = self.turned(self.query_norm, self.position.rotate(content, part))
        return content, bias

    def project(self, states: Tensor, rotation: Rotation | None) -> LayerMemory:
        """The keys and values (b g m k) of remembered states (b m d)."""
        key, value = self._keys_and_values(states, rotation, states.shape[1])
        return LayerMemory(keys=key, values=value)

    def _keys_and_values(
        self, states: Tensor, rotation: Rotation | None, count: int
    ) -> tuple[Tensor, Tensor]:
        """Keys and values (b g j k) of the first `count` states (b j d)."""
        if states.shape[1] == count:
            key = _split(linear(self.key, states), self.head)
            value = _split(linear(self.value, states), self.head)
        else:
            rows = leading_rows(states, count)
            key = _split(linear(self.key, rows), self.head)[:, :, :count]
            value = _split(linear(self.value, rows), self.head)[:, :, :count]
        key = self.flat(self.key_norm, key)
        if rotation is not None:
            key = self.turned(self.key_norm, self.position.rotate(key, rotation))
        return key, value


class CrossAttention(_Projections):
    """Attention from a decoder's rows to an encoder's states, whose keys and values memory keeps."""

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec, spec.encoder_width)

    def forward(
        self, rows: Tensor, past: LayerMemory, shared: SharedInputs
    ) -> tuple[Tensor, LayerMemory, Tensor | None]:
        """States (b i d) to results (b i d), the encoder's keys and values, and weights (b h i s)
        where they are kept.
        """
        query = _split(linear(self.query, rows), self.head)
        key, value = past.cross_keys, past.cross_values
        if key is None or value is None:
            assert shared.encoder_states is not None
            key = _split(linear(self.key, shared.encoder_states), self.head)
            value = _split(linear(self.value, shared.encoder_states), self.head)
        softmax = self._softmax(shared)
        # The triangle, and the choice of a way, are those of self-attention.
        softmax = replace(softmax, causal=False, unfused=False, head_mask=shared.cross_head_mask)
        mixed, weights = attend_whole(query, key, value, None, shared.encoder_mask, softmax)
        memory = LayerMemory(cross_keys=key, cross_values=value)
        return linear(self.output, mixed.transpose(1, 2).flatten(-2)), memory, weights


def _split(states: Tensor, width: int) -> Tensor:
    """b i (h k) -> b h i k, as many heads as the states have: a part of them where layers are cut.
    Without einops: each call would cost a one-token step as much as a small product.
    """
    heads = states.shape[-1] // width
    return states.view(*states.shape[:-1], heads, width).transpose(1, 2)

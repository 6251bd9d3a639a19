"""Attention: project, score by terms, mask, softmax, project."""

from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from torch.utils.checkpoint import checkpoint

from engine.kernels.dropout import dropout
from engine.kernels.linear import build_linear, linear
from engine.kernels.watched import transformed
from engine.memory import LayerMemory
from engine.network.context import Context, Turns
from engine.network.masks import Added, Cut, additive
from engine.network.positions import rotate
from engine.network.scores import DistanceTable, RelativeScores
from engine.spec import Spec, axes


class _Projections(nn.Module):
    """The four projections, and the numbers that self- and cross-attention share."""

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        dims, bias = spec.dims, spec.attention.bias
        assert dims.head is not None and dims.kv_heads is not None
        if isinstance(bias, bool):
            bias = axes.AttentionBias(query=bias, key=bias, value=bias, output=bias)
        self.query = build_linear(dims.model, dims.heads * dims.head, bias=bias.query)
        self.key = build_linear(dims.model, dims.kv_heads * dims.head, bias=bias.key)
        self.value = build_linear(dims.model, dims.kv_heads * dims.head, bias=bias.value)
        self.output = build_linear(dims.heads * dims.head, dims.model, bias=bias.output)
        self.heads, self.kv_heads = dims.heads, dims.kv_heads
        self.scale = dims.head**-0.5 if spec.attention.scale else 1.0
        self.dropout = spec.dropout.attention

    def _rate(self) -> float:
        return self.dropout if self.training else 0.0


class Attention(_Projections):
    """Self-attention over remembered and present tokens, with any mix of score terms.

    Rows are content tokens and, under two streams, query rows below them: these ask but are never
    asked, so two-stream attention (Yang et al. 2019, 2.3) is ordinary attention with a taller mask.
    """

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        self.position = spec.position
        self.scores = RelativeScores(spec) if set(spec.attention.score) != {"content"} else None

    def forward(
        self, rows: Tensor, tokens: Tensor, past: LayerMemory, context: Context
    ) -> tuple[Tensor, LayerMemory, Tensor | None]:
        """States (b i+p d) of the asking rows and (b j d or b j+p d) of the asked tokens that
        `past` does not hold projected.

        Returns the rows' results (b i+p d), the block's keys and values, and weights (b h i+p j)
        where asked for.
        """
        scores, query, turned = self.scores, _split(linear(self.query, rows), self.heads), None
        if isinstance(self.position, axes.RotaryPosition) and context.row_turns:
            turned = rotate(_biased(query, scores), context.row_turns, self.position.interleaved)
        known = 0 if past.keys is None else past.keys.shape[-2]
        new = self.project(tokens, context.column_turns, context.grid.columns - known)
        assert new.keys is not None and new.values is not None
        memory = past.extended(new.keys, new.values)
        table = DistanceTable()
        if scores is not None:
            table, distances = scores.distance_table(context.grid, context.frame, past.distances)
            memory = replace(memory, distances=distances)
        assert memory.keys is not None and memory.values is not None
        mixed, weights = self._mix(query, turned, memory.keys, memory.values, table, context)
        return linear(self.output, _merge(mixed)), memory, weights

    def _mix(
        self,
        query: Tensor,
        turned: Tensor | None,
        key: Tensor,
        value: Tensor,
        table: DistanceTable,
        context: Context,
    ) -> tuple[Tensor, Tensor | None]:
        """Weighted values (b h i+p k) of all rows, cut by cut, and weights where kept.

        Queries `turned` by rotary positions ask for content only: segments have no place to turn
        with.
        """
        if len(context.cuts) == 1:
            return self._part(query, turned, key, value, table, context, context.cuts[0])
        mixed: list[Tensor] = []
        weights: list[Tensor] = []
        if context.in_steps:  # else the products of each cut would copy them
            key, value = key.contiguous(), value.contiguous()
        sizes = [cut.rows.stop - cut.rows.start for cut in context.cuts]
        queries = query.split(sizes, dim=2)
        turning = [None] * len(sizes) if turned is None else turned.split(sizes, dim=2)
        run = (
            partial(checkpoint, self._part, use_reentrant=False)
            if context.recompute
            else self._part
        )
        for cut, asked, spun in zip(context.cuts, queries, turning, strict=True):
            part, kept = run(
                asked, spun, key[:, :, cut.columns], value[:, :, cut.columns], table, context, cut
            )
            mixed.append(part)
            weights += [] if kept is None else [kept]
        return torch.cat(mixed, dim=2), torch.cat(weights, dim=2) if weights else None

    def _part(
        self,
        query: Tensor,
        turned: Tensor | None,
        key: Tensor,
        value: Tensor,
        table: DistanceTable,
        context: Context,
        cut: Cut,
    ) -> tuple[Tensor, Tensor | None]:
        """The values and weights of one cut, whose queries, keys and values these are."""
        scores = self.scores
        bias = (
            None if scores is None else scores(query, key, table, context.grid, context.frame, cut)
        )
        return attend(
            _biased(query, scores) if turned is None else turned,
            key,
            value,
            self.scale,
            bias,
            context.mask.over(cut),
            context.causal,
            self._rate(),
            context.head_mask,
            context.keep_attentions,
            context.in_steps,
        )

    def project(self, tokens: Tensor, turns: Turns | None, asked: int | None = None) -> LayerMemory:
        """Keys and values (b g j k) of the `asked` first states (b j d), keys turned by rotary
        positions if there are any.
        """
        # A lone token takes its query row along: two rows go through a product faster than one
        # (engine.kernels.linear).
        rows = tokens if not transformed() and tokens.shape[:2] == (1, 2) else tokens[:, :asked]
        key, value = (
            _split(linear(projection, rows), self.kv_heads)[:, :, :asked]
            for projection in (self.key, self.value)
        )
        if isinstance(self.position, axes.RotaryPosition) and turns is not None:
            key = rotate(key, turns, self.position.interleaved)
        return LayerMemory(keys=key, values=value)


class CrossAttention(_Projections):
    """Attention from a decoder's rows to an encoder's states (b s d), whose keys and values memory
    keeps.
    """

    def forward(
        self, rows: Tensor, past: LayerMemory, context: Context
    ) -> tuple[Tensor, LayerMemory, Tensor | None]:
        """States (b i d) to results (b i d), the encoder's keys and values, and weights (b h i s)
        where asked for.
        """
        query = _split(linear(self.query, rows), self.heads)
        key, value = past.cross_keys, past.cross_values
        if key is None or value is None:
            assert context.encoder_states is not None
            key = _split(linear(self.key, context.encoder_states), self.kv_heads)
            value = _split(linear(self.value, context.encoder_states), self.kv_heads)
        mixed, weights = attend(
            query,
            key,
            value,
            self.scale,
            None,
            context.encoder_mask,
            False,
            self._rate(),
            context.cross_head_mask,
            context.keep_attentions,
        )
        return (
            linear(self.output, _merge(mixed)),
            LayerMemory(cross_keys=key, cross_values=value),
            weights,
        )


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    scale: float,
    bias: Tensor | None,
    mask: Added | None,
    causal: bool,
    rate: float,
    head_mask: Tensor | None,
    keep_weights: bool,
    in_steps: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Weighted values (b h i k) of queries (b h i k) over keys and values (b g j k), and weights
    where kept.

    Scores are scaled products plus `bias` (b h i j), which may be overwritten, plus `mask`; a row
    that sees nobody yields zeros in every dtype. `causal` stands for a plain triangular mask,
    `rate` is dropout's, and `head_mask` (h) multiplies each head's weights. `in_steps` makes the
    scores where a fused kernel could do without.
    """
    # The processor's fused kernel has neither dropout nor a gradient for the bias.
    unfused = query.device.type == "cpu" and (rate > 0 or (bias is not None and bias.requires_grad))
    if keep_weights or in_steps or unfused:
        mixed, weights = _attend_in_steps(
            query, key, value, scale, bias, mask, causal, rate, head_mask
        )
        return mixed, weights if keep_weights else None
    added = bias if mask is None else mask.scores
    if bias is not None and mask is not None:
        added = (
            bias + mask.scores if bias.requires_grad or transformed() else bias.add_(mask.scores)
        )
    grouped = key.shape[1] != query.shape[1]
    mixed = scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=added,
        dropout_p=rate,
        is_causal=causal,
        scale=scale,
        enable_gqa=grouped,
    )
    if mask is not None and mask.sighted is not None:
        mixed = mixed * mask.sighted
    return mixed if head_mask is None else mixed * head_mask[:, None, None], None


def _attend_in_steps(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    scale: float,
    bias: Tensor | None,
    mask: Added | None,
    causal: bool,
    rate: float,
    head_mask: Tensor | None,
) -> tuple[Tensor, Tensor]:
    repeats = query.shape[1] // key.shape[1]
    if repeats > 1:
        key, value = key.repeat_interleave(repeats, dim=1), value.repeat_interleave(repeats, dim=1)
    scores = (query * scale) @ key.transpose(-1, -2)
    if causal:
        mask = additive(
            torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril(),
            scores.dtype,
        )
    for added in (bias, None if mask is None else mask.scores):
        if added is not None:
            scores = scores.add_(added) if not transformed() else scores + added
    weights = scores.softmax(dim=-1)
    if mask is not None and mask.sighted is not None:
        weights = weights * mask.sighted
    weights = dropout(weights, rate)
    weights = weights if head_mask is None else weights * head_mask[:, None, None]
    return weights @ value, weights


def _biased(query: Tensor, scores: RelativeScores | None) -> Tensor:
    """Queries (b h i k) with the vector that the content term adds to them."""
    return query if scores is None else scores.with_content_bias(query)


def _split(states: Tensor, heads: int) -> Tensor:
    """b i (h k) -> b h i k, without einops: each call would cost a one-token step as much as a
    small product.
    """
    return states.view(*states.shape[:-1], heads, states.shape[-1] // heads).transpose(1, 2)


def _merge(states: Tensor) -> Tensor:
    """b h i k -> b i (h k)."""
    return states.transpose(1, 2).flatten(-2)

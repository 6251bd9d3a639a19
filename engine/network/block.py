"""One block: the residual path around attention and feed-forward.

b batch, i tokens of the call, p predictions, m remembered tokens, d model width.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.utils._pytree import register_pytree_node

from engine.kernels.dropout import Dropout
from engine.memory import LayerMemory
from engine.network.attention import Attention, CrossAttention, SharedInputs
from engine.network.experts import Experts, Load
from engine.network.feed_forward import FeedForward
from engine.network.norms import build_norm, normed, unnormed
from engine.network.positions.position import Rotation
from engine.spec import Spec


@dataclass
class BlockResult:
    """What a block gives."""

    states: Tensor
    """(b i+p d)."""
    memory: LayerMemory
    """The keys and values of the block."""
    weights: Tensor | None = None
    """(b h i+p j), where they are kept."""
    cross_weights: Tensor | None = None
    """(b h i+p s), where they are kept."""
    load: Load | None = None
    """How tokens were spread over experts, where training asks."""


# Sharding (FSDP2) finds the tensors that a block gives as those of a tree.
register_pytree_node(
    BlockResult,
    lambda result: (list(vars(result).values()), None),
    lambda values, _: BlockResult(*values),
)


class Block(nn.Module):
    """Attention and feed-forward on a residual path.

    sequential, pre:   x ─┬─ norm ─ attention ─ + ─┬─ norm ─ feed-forward ─ + ─►
                          └─────────────────────┘  └──────────────────────┘
    sequential, output: x ┬ attention ─ norm ─ + ─┬─ feed-forward ─ norm ─ + ─►
                          └─────────────────────┘  └───────────────────────┘
    sequential, post:  x ─┬─ attention ─ + ─ norm ─┬─ feed-forward ─ + ─ norm ─►
                          └──────────────┘         └─────────────────┘
    parallel, pre:     x ─┬─ norm ─ attention ──── + ─►
                          ├─ norm ─ feed-forward ──┤
                          └────────────────────────┘

    Cross-attention, where the spec has it, stands between the two.
    """

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        self.attention = Attention(spec)
        slots = spec.norm.slots
        attending = slots if spec.norm.attention else frozenset()
        self.attention_norm = _slot(spec, attending & {"before", "after"})
        self.attention_output_norm = _slot(spec, attending & {"output"})
        self.cross_attention = CrossAttention(spec) if spec.attention.cross else None
        crossed = slots if spec.attention.cross else frozenset()
        self.cross_attention_norm = _slot(spec, crossed & {"before", "after"})
        self.cross_attention_output_norm = _slot(spec, crossed & {"output"})
        self.feed_forward = _feed_forward(spec)
        self.feed = _feed if spec.ffn.experts is None else _feed_experts
        fed = frozenset() if spec.block.shared_norm else slots
        self.feed_forward_norm = _slot(spec, fed & {"before", "after"})
        self.feed_forward_output_norm = _slot(spec, slots & {"output"})
        # What stands before a layer, and behind its sum with the residual path.
        self.before = normed if "before" in slots else unnormed
        self.after = normed if "after" in slots else unnormed
        self.norm_queries = spec.norm.query
        self.parallel = spec.block.order == "parallel"
        self.zero_padding = spec.block.zero_padding
        residual, inner = spec.dropout.residual, spec.dropout.feed_forward
        scale = spec.block.residual_scale
        self.dropout = _joining(residual, scale)
        self.feed_forward_dropout = _joining(residual if inner is None else inner, scale)

    def forward(self, states: Tensor, past: LayerMemory, shared: SharedInputs) -> BlockResult:
        """States (b i+p d) of tokens and prediction rows, and what the block remembers, to the
        query rows after the block.
        """
        attended, memory, weights = self._attend(states, past, shared)
        states, cross_weights = shared.query_rows(states), None
        if self.parallel:
            entered = self.before(self.feed_forward_norm or self.attention_norm, states)
            fed, load = self.feed(self.feed_forward, entered, shared)
            fed = normed(self.feed_forward_output_norm, fed)
            states = states + attended + self.feed_forward_dropout(fed)
        else:
            states = self.after(self.attention_norm, states + attended)
            if self.cross_attention is not None:
                states, memory, cross_weights = self._cross_attend(states, past, shared, memory)
            entered = self.before(self.feed_forward_norm, states)
            fed, load = self.feed(self.feed_forward, entered, shared)
            fed = normed(self.feed_forward_output_norm, fed)
            states = self.after(self.feed_forward_norm, states + self.feed_forward_dropout(fed))
        if self.zero_padding and shared.real is not None:
            states = states * shared.real[..., None].to(states.dtype)
        return BlockResult(states, memory, weights, cross_weights, load)

    def _attend(
        self, states: Tensor, past: LayerMemory, shared: SharedInputs
    ) -> tuple[Tensor, LayerMemory, Tensor | None]:
        tokens = self.before(self.attention_norm, states)
        rows = shared.query_rows(tokens if self.norm_queries else states)
        if past.hidden is not None:
            # Hidden states were remembered as they entered this block, before its norm.
            remembered = self.before(self.attention_norm, past.hidden)
            tokens = torch.cat((remembered, tokens[:, : shared.scores.pairs.tokens]), dim=1)
        attended, memory, weights = self.attention(rows, tokens, past, shared)
        attended = normed(self.attention_output_norm, attended)
        return self.dropout(attended), memory, weights

    def _cross_attend(
        self, states: Tensor, past: LayerMemory, shared: SharedInputs, memory: LayerMemory
    ) -> tuple[Tensor, LayerMemory, Tensor | None]:
        """States after cross-attention, the memory with the encoder's keys and values, weights."""
        assert self.cross_attention is not None
        if shared.encoder_states is None and past.cross_keys is None:
            return states, memory, None
        entered = self.before(self.cross_attention_norm, states)
        attended, encoder, weights = self.cross_attention(entered, past, shared)
        attended = normed(self.cross_attention_output_norm, attended)
        memory = replace(memory, cross_keys=encoder.cross_keys, cross_values=encoder.cross_values)
        states = self.after(self.cross_attention_norm, states + self.dropout(attended))
        return states, memory, weights

    def project(self, hidden: Tensor, rotation: Rotation | None) -> LayerMemory:
        """Remembered inputs (b m d) of this block as the keys and values that it would make of
        them.
        """
        return self.attention.project(self.before(self.attention_norm, hidden), rotation)


class Scaled(nn.Module):
    """States times a number."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, states: Tensor) -> Tensor:
        return states * self.scale


def _feed_forward(spec: Spec) -> nn.Module:
    if spec.ffn.experts is None:
        return FeedForward(spec, spec.dims.inner)
    return Experts(spec, spec.ffn.experts)


def _feed(layer: nn.Module, states: Tensor, shared: SharedInputs) -> tuple[Tensor, None]:
    """What a feed-forward layer gives."""
    return layer(states), None


def _feed_experts(
    layer: nn.Module, states: Tensor, shared: SharedInputs
) -> tuple[Tensor, Load | None]:
    """What experts give, and how tokens were spread over them."""
    found: tuple[Tensor, Load | None] = layer(states, shared.real)
    return found


def _slot(spec: Spec, slots: Collection[str]) -> nn.Module | None:
    """The norm of a slot that the spec fills."""
    return build_norm(spec.norm, spec.dims.model, "blocks") if slots else None


def _joining(rate: float, scale: float) -> nn.Module:
    """What stands before the sum with the residual path: dropout, and a multiplier where the spec
    has one.
    """
    dropout = Dropout(rate)
    return dropout if scale == 1.0 else nn.Sequential(dropout, Scaled(scale))

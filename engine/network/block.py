"""One block: the residual path around attention and feed-forward.

b batch, i tokens of the call, p predictions, m remembered tokens, d model width.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.utils._pytree import register_pytree_node

from engine.kernels.dropout import Dropout
from engine.memory import LayerMemory
from engine.network.attention import Attention, CrossAttention, SharedInputs
from engine.network.feed_forward import FeedForward
from engine.network.norms import build_norm
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
    sequential, post:  x ─┬─ attention ─ + ─ norm ─┬─ feed-forward ─ + ─ norm ─►
                          └──────────────┘         └─────────────────┘
    parallel, pre:     x ─┬─ norm ─ attention ──── + ─►
                          ├─ norm ─ feed-forward ──┤
                          └────────────────────────┘

    Cross-attention, where the spec has it, stands between the two.
    """

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        model = spec.dims.model
        self.attention = Attention(spec)
        self.attention_norm = build_norm(spec.norm, model)
        self.cross_attention = CrossAttention(spec) if spec.attention.cross else None
        self.cross_attention_norm = build_norm(spec.norm, model) if spec.attention.cross else None
        self.feed_forward = FeedForward(spec)
        self.feed_forward_norm = None if spec.block.shared_norm else build_norm(spec.norm, model)
        pre = spec.norm.placement == "pre"
        # What stands before a layer, and behind its sum with the residual path.
        self.before, self.after = (_norm, _identity) if pre else (_identity, _norm)
        self.norm_queries = spec.norm.query
        self.parallel = spec.block.order == "parallel"
        self.zero_padding = spec.block.zero_padding
        residual, inner = spec.dropout.residual, spec.dropout.feed_forward
        self.dropout = Dropout(residual)
        self.feed_forward_dropout = Dropout(residual if inner is None else inner)

    def forward(self, states: Tensor, past: LayerMemory, shared: SharedInputs) -> BlockResult:
        """States (b i+p d) of tokens and prediction rows, and what the block remembers, to the
        query rows after the block.
        """
        attended, memory, weights = self._attend(states, past, shared)
        states, cross_weights = shared.query_rows(states), None
        if self.parallel:
            entered = self.before(self.feed_forward_norm or self.attention_norm, states)
            fed = self.feed_forward(entered)
            states = states + attended + self.feed_forward_dropout(fed)
        else:
            states = self.after(self.attention_norm, states + attended)
            if self.cross_attention is not None:
                states, memory, cross_weights = self._cross_attend(states, past, shared, memory)
            fed = self.feed_forward(self.before(self.feed_forward_norm, states))
            states = self.after(self.feed_forward_norm, states + self.feed_forward_dropout(fed))
        if self.zero_padding and shared.real is not None:
            states = states * shared.real[..., None].to(states.dtype)
        return BlockResult(states, memory, weights, cross_weights)

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
        memory = replace(memory, cross_keys=encoder.cross_keys, cross_values=encoder.cross_values)
        states = self.after(self.cross_attention_norm, states + self.dropout(attended))
        return states, memory, weights

    def project(self, hidden: Tensor, rotation: Rotation | None) -> LayerMemory:
        """Remembered inputs (b m d) of this block as the keys and values that it would make of
        them.
        """
        return self.attention.project(self.before(self.attention_norm, hidden), rotation)


def _norm(norm: nn.Module | None, states: Tensor) -> Tensor:
    if norm is None:
        return states
    normed: Tensor = norm(states)
    return normed


def _identity(norm: nn.Module | None, states: Tensor) -> Tensor:
    return states

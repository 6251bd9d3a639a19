"""One block: the residual path around attention and feed-forward."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from engine.kernels.dropout import Dropout
from engine.memory import LayerMemory
from engine.network.attention import Attention, CrossAttention
from engine.network.context import Context, Turns
from engine.network.feed_forward import FeedForward
from engine.network.norms import build_norm
from engine.spec import Spec


@dataclass
class BlockResult:
    """States (b i+p d), the keys and values of the block, and attention weights where kept."""

    states: Tensor
    memory: LayerMemory
    weights: Tensor | None = None
    cross_weights: Tensor | None = None


class Block(nn.Module):
    """Attention and feed-forward on a residual path.

    sequential, pre:   x ─┬─ norm ─ attention ─ + ─┬─ norm ─ feed-forward ─ + ─►      (cross-attention, where the spec
                          └─────────────────────┘  └──────────────────────┘           has it, sits between the two)
    sequential, post:  x ─┬─ attention ─ + ─ norm ─┬─ feed-forward ─ + ─ norm ─►
                          └──────────────┘         └─────────────────┘
    parallel, pre:     x ─┬─ norm ─ attention ──── + ─►
                          ├─ norm ─ feed-forward ──┤
                          └────────────────────────┘
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
        self.pre = spec.norm.placement == "pre"
        self.norm_queries = spec.norm.query
        self.parallel = spec.block.order == "parallel"
        self.zero_padding = spec.block.zero_padding
        residual = spec.dropout.residual
        self.dropout = Dropout(residual)
        self.feed_forward_dropout = Dropout(
            residual if spec.dropout.feed_forward is None else spec.dropout.feed_forward
        )

    def forward(self, states: Tensor, past: LayerMemory, context: Context) -> BlockResult:
        """States (b i+p d) of content and query rows, and what the block remembers, to the asking
        rows after the block.
        """
        attended, memory, weights = self._attend(states, past, context)
        states = context.asking(states)
        cross_weights = None
        if self.parallel:
            entered = self._enter(states, self.feed_forward_norm or self.attention_norm)
            states = states + attended + self.feed_forward_dropout(self.feed_forward(entered))
        else:
            states = self._leave(states + attended, self.attention_norm)
            known = context.encoder_states is not None or past.cross_keys is not None
            if self.cross_attention is not None and known:
                norm = self.cross_attention_norm
                crossed, cross_memory, cross_weights = self.cross_attention(
                    self._enter(states, norm), past, context
                )
                states = self._leave(states + self.dropout(crossed), norm)
                memory = replace(
                    memory,
                    cross_keys=cross_memory.cross_keys,
                    cross_values=cross_memory.cross_values,
                )
            fed = self.feed_forward(self._enter(states, self.feed_forward_norm))
            states = self._leave(states + self.feed_forward_dropout(fed), self.feed_forward_norm)
        if self.zero_padding and context.real is not None:
            states = states * context.real[..., None].to(states.dtype)
        return BlockResult(states, memory, weights, cross_weights)

    def _attend(
        self, states: Tensor, past: LayerMemory, context: Context
    ) -> tuple[Tensor, LayerMemory, Tensor | None]:
        entered = self._enter(states, self.attention_norm)
        rows = context.asking(entered if self.norm_queries else states)
        tokens = entered
        if past.hidden is not None:
            remembered = self._enter(past.hidden, self.attention_norm)
            tokens = torch.cat((remembered, entered[:, : context.grid.content]), dim=1)
        attended, memory, weights = self.attention(rows, tokens, past, context)
        return self.dropout(attended), memory, weights

    def project(self, hidden: Tensor, turns: Turns | None) -> LayerMemory:
        """Remembered inputs (b m d) of this block as the keys and values that it would make of
        them.
        """
        return self.attention.project(self._enter(hidden, self.attention_norm), turns)

    def _enter(self, states: Tensor, norm: nn.Module | None) -> Tensor:
        return norm(states) if self.pre and norm is not None else states

    def _leave(self, states: Tensor, norm: nn.Module | None) -> Tensor:
        return states if self.pre or norm is None else norm(states)

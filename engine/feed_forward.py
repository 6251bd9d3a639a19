"""The position-wise half of a block."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.kernels.dropout import Dropout
from engine.kernels.linear import Linear
from engine.spec import Spec

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": functional.gelu,
    "gelu_tanh": partial(functional.gelu, approximate="tanh"),
    "relu": functional.relu,
    "silu": functional.silu,
    "tanh": torch.tanh,
}


class FeedForward(nn.Module):
    """down(dropout(activation(up(x)))), with activation(gate(x)) * up(x) where gated (Shazeer 2020).

    States (b i d) to (b i d).
    """

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        assert spec.dims.inner is not None
        self.up = Linear(spec.dims.model, spec.dims.inner, bias=spec.ffn.bias)
        self.gate = Linear(spec.dims.model, spec.dims.inner, bias=spec.ffn.bias) if spec.ffn.gated else None
        self.down = Linear(spec.dims.inner, spec.dims.model, bias=spec.ffn.bias)
        self.activation = ACTIVATIONS[spec.ffn.activation]
        self.fused = spec.ffn.activation == "gelu" and not spec.ffn.gated
        self.dropout = Dropout(spec.dropout.inner)

    def forward(self, states: Tensor) -> Tensor:
        if self.fused:
            inner = self.up(states, gelu=True)
        elif self.gate is None:
            inner = self.activation(self.up(states))
        else:
            inner = self.activation(self.gate(states)) * self.up(states)
        return self.down(self.dropout(inner))

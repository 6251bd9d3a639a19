"""The position-wise half of a block."""

from torch import Tensor, nn

from engine.kernels.dropout import Dropout
from engine.kernels.linear import build_linear, linear, linear_gelu
from engine.network.activations import ACTIVATIONS
from engine.spec import Spec


class FeedForward(nn.Module):
    """down(dropout(activation(up(x)))), with activation(gate(x)) * up(x) where gated (Shazeer
    2020).

    States (b i d) to (b i d); `inner` is the width between the maps.
    """

    def __init__(self, spec: Spec, inner: int) -> None:
        super().__init__()
        self.up = build_linear(spec.dims.model, inner, bias=spec.ffn.bias)
        self.gate: nn.Linear | None = None
        if spec.ffn.gated:
            self.gate = build_linear(spec.dims.model, inner, bias=spec.ffn.bias)
        self.down = build_linear(inner, spec.dims.model, bias=spec.ffn.bias)
        self.activation = ACTIVATIONS[spec.ffn.activation]
        self.exact_gelu = spec.ffn.activation == "gelu"
        self.dropout = Dropout(spec.dropout.inner)

    def forward(self, states: Tensor) -> Tensor:
        if self.gate is not None:
            inner = self.activation(linear(self.gate, states)) * linear(self.up, states)
        elif self.exact_gelu:
            inner = linear_gelu(self.up, states)
        else:
            inner = self.activation(linear(self.up, states))
        return linear(self.down, self.dropout(inner))

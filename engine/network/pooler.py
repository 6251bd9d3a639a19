"""The pooler of a bare backbone."""

from torch import Tensor, nn

from engine.kernels.linear import build_linear, linear
from engine.network.feed_forward import ACTIVATIONS
from engine.spec.axes import Activation


class Pooler(nn.Module):
    """Dense layer and activation on the first token: states (b i d) to (b d) (Devlin et al. 2019)."""

    def __init__(self, model: int, activation: Activation) -> None:
        super().__init__()
        self.dense = build_linear(model, model)
        self.activation = ACTIVATIONS[activation]

    def forward(self, states: Tensor) -> Tensor:
        return self.activation(linear(self.dense, states[:, 0]))

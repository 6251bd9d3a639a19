"""What a head is; the heads themselves stand in the package `heads`."""

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from engine.kernels.linear import build_linear, linear
from engine.network.activations import ACTIVATIONS
from engine.network.embeddings import TokenEmbedding
from engine.network.inputs import Inputs
from engine.spec import HeadOptions, Spec
from engine.spec.axes import Activation


class Head(nn.Module):
    """What stands on a body: pooling × projection × loss.

    A subclass names the `inputs` that it takes beside the body's and its `Options`. A call goes
    through `prepare`, the body, and `forward`, which adds to what the body gave, states (b i d)
    among them: it takes (result, inputs, those), with the inputs as the caller gave them.
    `needs_pooler` keeps the body's pooler beneath the head.
    """

    Options: ClassVar[type[HeadOptions]] = HeadOptions
    inputs: ClassVar[frozenset[str]] = frozenset({"labels"})
    needs_pooler: bool = False

    def __init__(self, spec: Spec, options: Any) -> None:
        super().__init__()
        self.spec = spec
        self.options = options

    @classmethod
    def shared_parts(cls, options: Any) -> Mapping[str, str]:
        """Parts whose weights another kind of head may go on with, where it gives a part of its own
        the same meaning: what each computes, by its name. All others answer this head's question.
        """
        return {}

    def prepare(self, inputs: Inputs) -> Inputs:
        """What the body is called with; raises InputError for what the head cannot use."""
        return inputs

    def tie(self, tokens: TokenEmbedding) -> None:
        """Share weights with the token table; most heads have none to share."""


class Pooler(nn.Module):
    """Dense layer and activation on the first token: states (b i d) to (b d) (Devlin et al. 2019)."""

    def __init__(self, model: int, activation: Activation) -> None:
        super().__init__()
        self.dense = build_linear(model, model)
        self.activation = ACTIVATIONS[activation]

    def forward(self, states: Tensor) -> Tensor:
        return self.activation(linear(self.dense, states[:, 0]))

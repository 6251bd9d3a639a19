"""What a head is; the heads themselves stand in the package `heads`."""

from typing import Any, ClassVar

from torch import nn

from engine.network.embeddings import TokenEmbedding
from engine.spec import HeadOptions, Spec


class Head(nn.Module):
    """What stands on a body: pooling × projection × loss.

    A subclass names the `inputs` that it takes beside the body's and its `Options`, and maps (body,
    inputs, those) to an Output: it calls `body(inputs)`, which gives the states (b i d).
    `needs_pooler` keeps the body's pooler beneath it.
    """

    Options: ClassVar[type[HeadOptions]] = HeadOptions
    inputs: ClassVar[frozenset[str]] = frozenset({"labels"})
    needs_pooler: bool = False

    def __init__(self, spec: Spec, options: Any) -> None:
        super().__init__()
        self.spec = spec
        self.options = options

    def tie(self, tokens: TokenEmbedding) -> None:
        """Share weights with the token table; most heads have none to share."""

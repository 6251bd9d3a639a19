"""A network in the network: the encoder whose last states the blocks attend to."""

from collections.abc import Mapping
from typing import Any

from engine.spec.axes.base import Axis
from engine.spec.axes.blocks import following_sizes
from engine.spec.axes.layers import laid_over

# Sizes that follow from others: where an encoder names these, they are counted anew.
_COUNTED = tuple(following_sizes(1, 1))
_COUNTED_FROM = ("model", "heads")


class Encoder(Axis):
    """A spec in the spec: sections as they stand there, of which a field that is left out is as in
    the decoder. Of its own are `attention.mask`, which is `[padding]`, and `layers`.
    """

    shared_tokens: bool = True
    """Whether tokens are read in the decoder's table."""
    dims: dict[str, Any] | None = None
    """Sizes. Where `model` or `heads` stand here, `head`, `kv_heads` and `inner` follow from them."""
    embeddings: dict[str, Any] | None = None
    """The bottom of the encoder."""
    position: dict[str, Any] | None = None
    """How the order of its tokens enters."""
    attention: dict[str, Any] | None = None
    """Which keys a query sees, and how they are scored."""
    norm: dict[str, Any] | None = None
    """The norms of its blocks."""
    final_norm: bool | None = None
    """Whether its last states are normalised; null: as in the decoder."""
    ffn: dict[str, Any] | None = None
    """The feed-forward half of its blocks."""
    block: dict[str, Any] | None = None
    """How the halves of its blocks are joined."""
    layers: dict[str, Any] | None = None
    """Blocks that differ; null: all are alike."""
    dropout: dict[str, Any] | None = None
    """Probabilities in training."""

    def said(self, section: str, name: str) -> Any:
        """What a section says of a field itself; None where it is as in the decoder."""
        fields = getattr(self, section) or {}
        return fields.get(name)


def encoder_data(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The plain data of the encoder in the plain data of a spec, as a spec of its own."""
    said = {
        name: value
        for name, value in spec["encoder"].items()
        if value is not None and name != "shared_tokens"
    }
    own = {
        "attention": {"cross": False, "mask": ["padding"]},
        "memory": {"kind": "none"},
        "layers": None,
        "pooler": None,
        "tokens": {"decoder_start": None},
        "tokenizer": None,
        "checkpoint": {},
        "encoder": None,
    }
    base = laid_over(spec, own)
    base["heads"] = {"output": {"tied": False}}
    if not set(_COUNTED_FROM).isdisjoint(said.get("dims", {})):
        base["dims"] = {name: value for name, value in base["dims"].items() if name not in _COUNTED}
    return laid_over(base, said)

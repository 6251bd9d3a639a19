"""The one open registry: heads by name."""

from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict
from torch import nn

from engine.embeddings import TokenEmbedding
from engine.errors import nearest
from engine.spec import Spec

ENTRY_POINTS = "transformer_engine.heads"


class HeadOptions(BaseModel):
    """Options of a head; a misspelt one in a spec fails like any other key."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Head(nn.Module):
    """What stands on a body: pooling × projection × loss.

    A subclass names the `inputs` that it takes beside the body's and its `Options`, and maps (body, inputs, those) to an
    Output: it calls `body(inputs)`, which gives the states (b i d).
    """

    Options: ClassVar[type[HeadOptions]] = HeadOptions
    inputs: ClassVar[frozenset[str]] = frozenset({"labels"})
    needs_pooler: ClassVar[bool] = False

    def __init__(self, spec: Spec, options: Any) -> None:
        super().__init__()
        self.spec = spec
        self.options = options

    def tie(self, tokens: TokenEmbedding) -> None:
        """Share weights with the token table; most heads have none to share."""


_HEADS: dict[str, type[Head]] = {}


def register_head(name: str) -> Callable[[type[Head]], type[Head]]:
    """Class decorator that makes a head available under `name` (raises ValueError for a name that is taken)."""

    def register(head: type[Head]) -> type[Head]:
        taken = _HEADS.get(name)
        if taken is not None and taken.__qualname__ != head.__qualname__:
            raise ValueError(f"the head name '{name}' is taken by {taken.__module__}.{taken.__qualname__}")
        _HEADS[name] = head
        return head

    return register


def registered_heads() -> dict[str, type[Head]]:
    """All heads by name: those of this project, of decorated classes, and of installed packages' entry points."""
    for point in entry_points(group=ENTRY_POINTS):
        if point.name not in _HEADS:
            register_head(point.name)(point.load())
    return dict(sorted(_HEADS.items()))


def find_head(name: str) -> type[Head]:
    """The head of that name (raises ValueError with the nearest name)."""
    heads = registered_heads()
    if name not in heads:
        raise ValueError(f"no head named '{name}'{nearest(name, heads)}")
    return heads[name]

"""The one open registry: heads by name."""

from collections.abc import Callable
from importlib.metadata import entry_points

from engine.errors import InputError, nearest
from engine.head import Head, HeadOptions

__all__ = ["Head", "HeadOptions", "find_head", "register_head", "registered_heads"]
ENTRY_POINTS = "transformer_engine.heads"


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
    """The head of that name (raises InputError with the nearest name)."""
    heads = registered_heads()
    if name not in heads:
        raise InputError(f"no head named '{name}'{nearest(name, heads)}")
    return heads[name]

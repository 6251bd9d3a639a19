"""The one open registry: heads by name."""

import warnings
from collections.abc import Callable
from functools import cache
from importlib.metadata import entry_points

from engine.errors import InputError, nearest
from engine.network.head import Head, HeadOptions

__all__ = ["Head", "HeadOptions", "find_head", "register_head", "registered_heads"]
ENTRY_POINTS = "blockgraph.heads"


_HEADS: dict[str, type[Head]] = {}


def register_head(name: str) -> Callable[[type[Head]], type[Head]]:
    """Class decorator that makes a head available under `name`.

    Raises ValueError for a name that another class has, TypeError for what is no head.
    """

    def register(head: type[Head]) -> type[Head]:
        if not (
            isinstance(head, type)
            and issubclass(head, Head)
            and issubclass(head.Options, HeadOptions)
        ):
            raise TypeError(
                f"'{name}' is no head: a head is a class below heads.Head, its Options one below HeadOptions"
            )
        taken = _HEADS.get(name)
        if taken is not None and _place(taken) != _place(head):
            raise ValueError(
                f"the head name '{name}' is taken by {_place(taken)}; {_place(head)} needs another"
            )
        _HEADS[name] = head
        return head

    return register


def registered_heads() -> dict[str, type[Head]]:
    """All heads by name: those of this project, of decorated classes, and of installed packages'
    entry points.
    """
    _load_installed()
    return dict(sorted(_HEADS.items()))


def find_head(name: str) -> type[Head]:
    """The head of that name (raises InputError with the nearest name)."""
    heads = registered_heads()
    if name not in heads:
        raise InputError(f"no head named '{name}'{nearest(name, heads)}")
    return heads[name]


@cache
def _load_installed() -> None:
    """Register what installed packages offer, once; one that is broken is left out, with a warning
    that names it.
    """
    for point in entry_points(group=ENTRY_POINTS):
        try:
            register_head(point.name)(point.load())
        except Exception as error:
            package = point.dist.name if point.dist is not None else "an installed package"
            warnings.warn(
                f"the head '{point.name}' of {package} ({point.value}) is left out: {error}",
                stacklevel=3,
            )


def _place(head: type[Head]) -> str:
    return f"{head.__module__}.{head.__qualname__}"

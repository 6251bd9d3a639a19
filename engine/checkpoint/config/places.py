"""Plain data at dotted paths: what stands there, and the same data with another value there."""

from collections.abc import Mapping
from typing import Any

from engine.spec.load import merge

MISSING = object()


def value_at(data: Any, path: str) -> Any:
    """The value at a dotted path, MISSING where there is none; below a list, whether it holds that
    name.
    """
    if not path:
        return data
    if isinstance(data, Mapping) and path in data:  # a name of the authors' may hold dots
        return data[path]
    for part in path.split("."):
        if isinstance(data, list | tuple):
            return part in data
        if not isinstance(data, Mapping):
            return MISSING
        data = data.get(part, MISSING)
    return data


def with_value(data: Mapping[str, Any], path: str, value: Any) -> dict[str, Any]:
    """Data with a value at a dotted path; sections merge, and below a list a boolean adds or
    removes that name.
    """
    if not path:
        return merge(data, value)
    first, _, rest = path.partition(".")
    old = data.get(first)
    if not rest:
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            value = merge({first: old}, {first: value})[first]
        return {**data, first: value}
    if isinstance(old, list | tuple):
        names = [name for name in old if name != rest]
        if value:
            names.append(rest)
        return {**data, first: names}
    if not isinstance(old, Mapping):
        old = {}
    return {**data, first: with_value(old, rest, value)}


def differences(ours: Any, theirs: Any, path: str = "") -> list[str]:
    """Paths at which two plain specs differ."""
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        found = []
        for key in sorted({*ours, *theirs}, key=str):
            below = f"{path}.{key}".removeprefix(".")
            found += differences(ours.get(key), theirs.get(key), below)
        return found
    if isinstance(ours, list | tuple) and isinstance(theirs, list | tuple):
        ours, theirs = list(ours), list(theirs)
    if ours == theirs:
        return []
    return [path]

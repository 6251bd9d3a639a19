"""Plain data at dotted paths: what stands there, and the same data with another value there."""

from collections.abc import Iterable, Mapping
from typing import Any

from engine.errors import CheckpointError, shortened
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


def flattened(data: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Data in which the sections that `names` speak of, as in rope_scaling.factor, stand entry by
    entry under such names; where a section is null, all of its entries are. Raises CheckpointError
    where there is something else in the place of a section.
    """
    names = list(names)
    sections = sections_of(names)
    flat: dict[str, Any] = {}
    for name, value in data.items():
        if name in sections and isinstance(value, Mapping):
            flat.update({f"{name}.{key}": part for key, part in value.items()})
        elif name in sections and value is None:
            flat.update({entry: None for entry in names if entry.startswith(f"{name}.")})
        elif name in sections:
            raise CheckpointError(
                f"config.json: {name} should be a section of keys, found {shortened(repr(value))}"
            )
        else:
            flat[name] = value
    return flat


def nested(flat: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """The inverse of `flattened`."""
    sections = sections_of(names)
    data: dict[str, Any] = {}
    for name, value in flat.items():
        section, dot, key = name.partition(".")
        if dot and section in sections:
            data.setdefault(section, {})[key] = value
        else:
            data[name] = value
    for section in sections.intersection(data):
        held = data[section]
        if isinstance(held, Mapping) and all(value is None for value in held.values()):
            data[section] = None
    return data


def sections_of(names: Iterable[str]) -> set[str]:
    """What stands before the dot of names that have one."""
    return {name.partition(".")[0] for name in names if "." in name}


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

"""Fields of a config.json that are a list with an entry a layer."""

from collections.abc import Sequence
from typing import Any

from engine.checkpoint.config.places import MISSING
from engine.errors import CheckpointError
from engine.spec.axes import ConfigField

MOST_LAYERS = 10_000


def our_list(name: str, value: Any, entry: ConfigField) -> list[str]:
    """Our list for one of theirs (raises CheckpointError for one that the layout has not)."""
    if entry.runs:
        value = _unrolled(value)
    if not isinstance(value, list):
        raise CheckpointError(f"config.json: {name} should be a list, found {value!r}")
    for one in value:
        if one not in tuple(entry.entries):  # it may be anything, such as a list
            known = ", ".join(repr(theirs) for theirs in entry.entries)
            raise CheckpointError(f"config.json: {name} holds {one!r}; this family has: {known}")
    return [entry.entries[one] for one in value]


def _unrolled(runs: Any) -> Any:
    """The list that pairs of entries and how often they come stand for; other things pass."""
    entries: list[Any] = []
    if not isinstance(runs, list):
        return runs
    for run in runs:
        match run:
            case [list(names), int(times)] if len(names) * times <= MOST_LAYERS:
                entries += names * times
            case _:
                return runs
    return entries


def their_list(value: Any, entry: ConfigField, layers: Any) -> Any:
    """Their list or number for our list, MISSING where there is none."""
    if entry.period is not None:
        return _number_of_turn(value, entry.period, layers)
    if entry.numbered is not None or entry.leading is not None:
        return _marks(value, entry, layers)
    theirs = {ours: given for given, ours in reversed(entry.entries.items())}
    if not isinstance(value, list | tuple) or any(one not in theirs for one in value):
        return MISSING
    entries = [theirs[name] for name in for_each(value, layers)]
    return [[entries, 1]] if entry.runs else entries


def is_list(entry: ConfigField) -> bool:
    """Whether what a field says is a list with an entry a layer."""
    marked = entry.numbered is not None or entry.leading is not None
    return bool(entry.entries) or entry.period is not None or marked


def for_each(names: Sequence[str], layers: int) -> list[str]:
    """A list begun anew until it has an entry a layer."""
    return [names[at % len(names)] for at in range(layers)]


def in_turn(number: int, names: tuple[str, ...], layers: Any) -> list[str]:
    """The kinds of layers, of which every so many is another one."""
    often, once, *lowest = names
    if not lowest:
        return [often] * (number - 1) + [once]
    turn = [once] + [often] * (number - 1)
    return lowest + [turn[at % number] for at in range(1, layers)]


def _number_of_turn(value: Any, names: tuple[str, ...], layers: Any) -> Any:
    """The number of which `in_turn` makes a list."""
    every = for_each(value, layers)
    fitting = (at for at in range(1, layers + 1) if in_turn(at, names, layers) == every)
    return next(fitting, MISSING)


def marked(name: str, value: Any, entry: ConfigField, layers: Any) -> list[str]:
    """The kinds of layers, of which some are told by number, or the lowest by how many they are."""
    kind, numbers = (list, value) if entry.numbered else (int, [value])
    right = type(value) is kind and all(type(one) is int and one >= 0 for one in numbers)
    if not right:
        wanted = "a list of layers' numbers" if entry.numbered else "how many layers these are"
        raise CheckpointError(f"config.json: {name} should be {wanted}, found {value!r}")
    if entry.leading is not None:
        first, rest = entry.leading
        return [first if at < value else rest for at in range(layers)]
    assert entry.numbered is not None
    rest, named = entry.numbered
    return [named if at in value else rest for at in range(layers)]


def _marks(value: Any, entry: ConfigField, layers: Any) -> Any:
    """The list or number of which `marked` makes ours."""
    every = for_each(value, layers)
    if entry.leading is not None:
        first, rest = entry.leading
        count = every.count(first)
        return count if every == [first] * count + [rest] * (layers - count) else MISSING
    assert entry.numbered is not None
    if not set(every) <= set(entry.numbered):
        return MISSING
    return [at for at, name in enumerate(every) if name == entry.numbered[1]]

"""What one field of a config.json means: which of its values stands for which of ours, and where
in the spec.
"""

from collections.abc import Container, Iterator, Mapping, Sequence
from typing import Any

from engine.checkpoint.config.everywhere import EVERYWHERE
from engine.checkpoint.config.places import MISSING, flattened, sections_of, value_at
from engine.errors import CheckpointError
from engine.spec.axes import ConfigField, Layout

NETWORK_PADDING = "embeddings.tables.tokens.padding"


def in_order(layout: Layout) -> Iterator[tuple[str, ConfigField]]:
    """The fields of a layout: those that choose a section before those of its parts, conditional
    ones last.
    """
    fields = []
    for name, entry in layout.config.items():
        if not isinstance(entry, ConfigField):
            entry = ConfigField(path=entry)
        fields.append((name, entry))
    yield from sorted(fields, key=lambda named: (named[1].under is not None, _depth(named[1])))


def _depth(entry: ConfigField) -> int:
    """How many names the shortest path of a field has; the whole spec has none."""
    return min(len([part for part in path.split(".") if part]) for path in paths_of(entry))


def paths_of(entry: ConfigField) -> tuple[str, ...]:
    """Where in the spec a field stands."""
    if isinstance(entry.path, str):
        return (entry.path,)
    return entry.path


def path_written(entry: ConfigField, spec: Mapping[str, Any]) -> str:
    """The path whose value a field is written from: of the spec's own head, else the first."""
    own = options_of_head(spec)
    return min(paths_of(entry), key=lambda path: not path.startswith(own))


def options_of_head(spec: Mapping[str, Any]) -> str:
    """Where the options of the spec's own head stand."""
    return f"heads.options.{value_at(spec, 'heads.default')}."


def is_idle(entry: ConfigField, spec: Mapping[str, Any]) -> bool:
    """Whether the spec lacks what the field needs to have a meaning."""
    under = entry.under
    if under is None:
        return False
    if isinstance(under, str):
        return value_at(spec, under) in (MISSING, None, False)
    if isinstance(under, Mapping):
        under = (under,)
    return not any(_all_hold(spec, alternative) for alternative in under)


def _all_hold(spec: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether a spec has each of these values at its path; null stands for none as well."""
    for path, value in wanted.items():
        found = value_at(spec, path)
        if found is MISSING:
            found = None
        if found != value:
            return False
    return True


def to_ours(name: str, value: Any, entry: ConfigField, layers: Any) -> Any:
    """Our value for one of theirs, of a network with so many layers (raises CheckpointError for one
    that the layout has not).
    """
    if entry.entries:
        return _our_list(name, value, entry)
    if entry.period is not None and isinstance(value, int):
        if value < 1:
            raise CheckpointError(f"config.json: {name} should be 1 or more, found {value}")
        return _in_turn(value, entry.period, layers)
    if entry.numbered is not None or entry.leading is not None:
        return _marked(name, value, entry, layers)
    for theirs, ours in entry.values.items():
        if type(theirs) is type(value) and theirs == value:
            return ours
    if entry.only or _chooses_section(entry):
        raise foreign_value(name, value, entry)
    if entry.factor != 1.0 and _is_number(value):
        value = type(value)(value * entry.factor)
    if entry.offset and isinstance(value, int):
        return value + entry.offset
    if entry.power != 1.0 and _is_number(value):
        return float(value) ** entry.power
    return value


def is_list(entry: ConfigField) -> bool:
    """Whether what a field says is a list with an entry a layer."""
    marked = entry.numbered is not None or entry.leading is not None
    return bool(entry.entries) or entry.period is not None or marked


def for_each(names: Sequence[str], layers: int) -> list[str]:
    """A list begun anew until it has an entry a layer."""
    return [names[at % len(names)] for at in range(layers)]


def _in_turn(number: int, names: tuple[str, ...], layers: Any) -> list[str]:
    """The kinds of layers, of which every so many is another one."""
    often, once, *lowest = names
    if not lowest:
        return [often] * (number - 1) + [once]
    turn = [once] + [often] * (number - 1)
    return lowest + [turn[at % number] for at in range(1, layers)]


def _number_of_turn(value: Any, names: tuple[str, ...], layers: Any) -> Any:
    """The number of which `_in_turn` makes a list."""
    every = for_each(value, layers)
    fitting = (at for at in range(1, layers + 1) if _in_turn(at, names, layers) == every)
    return next(fitting, MISSING)


def _marked(name: str, value: Any, entry: ConfigField, layers: Any) -> list[str]:
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
    """The list or number of which `_marked` makes ours."""
    every = for_each(value, layers)
    if entry.leading is not None:
        first, rest = entry.leading
        count = every.count(first)
        return count if every == [first] * count + [rest] * (layers - count) else MISSING
    assert entry.numbered is not None
    if not set(every) <= set(entry.numbered):
        return MISSING
    return [at for at, name in enumerate(every) if name == entry.numbered[1]]


def _our_list(name: str, value: Any, entry: ConfigField) -> list[str]:
    if not isinstance(value, list):
        raise CheckpointError(f"config.json: {name} should be a list, found {value!r}")
    for one in value:
        if one not in entry.entries:
            known = ", ".join(repr(theirs) for theirs in entry.entries)
            raise CheckpointError(f"config.json: {name} holds {one!r}; this family has: {known}")
    return [entry.entries[one] for one in value]


def _their_list(value: Any, entry: ConfigField, layers: Any) -> Any:
    """Their list for ours, begun anew until it has an entry a layer."""
    theirs = {ours: given for given, ours in reversed(entry.entries.items())}
    if not isinstance(value, list | tuple) or any(one not in theirs for one in value):
        return MISSING
    return [theirs[name] for name in for_each(value, layers)]


def to_theirs(
    value: Any, entry: ConfigField, path: str, elsewhere: Container[str], layers: Any = None
) -> Any:
    """Their value for one of ours, MISSING where there is none; `elsewhere` are paths with fields
    of their own, `layers` is how many layers there are.
    """
    if entry.entries:
        return _their_list(value, entry, layers)
    if entry.period is not None:
        return _number_of_turn(value, entry.period, layers)
    if entry.numbered is not None or entry.leading is not None:
        return _marks(value, entry, layers)
    fitting = [
        (theirs, ours)
        for theirs, ours in entry.values.items()
        if holds(value, ours, path, elsewhere)
    ]
    if fitting:
        theirs, _ = min(fitting, key=_plainest)
        return theirs
    if entry.only or _chooses_section(entry):
        return MISSING
    if entry.offset and isinstance(value, int):
        value = value - entry.offset
    if entry.factor != 1.0 and _is_number(value):
        return type(value)(value / entry.factor)
    if entry.power != 1.0 and _is_number(value):
        found = round(float(value) ** (1 / entry.power), 9)
        return int(found) if found.is_integer() else found
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0


def _plainest(pair: tuple[Any, Any]) -> tuple[Any, ...]:
    """Of several values that say the same the one that says most, is ours too, is null, or is less,
    whatever the order of keys in a file.
    """
    theirs, ours = pair
    among_its_kind = 0 if theirs is None else theirs
    is_text = isinstance(theirs, str)
    return -_parts(ours), theirs != ours, theirs is not None, is_text, among_its_kind


def _parts(value: Any) -> int:
    """How many values a section holds, at any depth."""
    if isinstance(value, Mapping):
        return sum(_parts(part) for part in value.values())
    return 1


def _chooses_section(entry: ConfigField) -> bool:
    return any(isinstance(ours, Mapping) for ours in entry.values.values())


def foreign_value(name: str, value: Any, entry: ConfigField) -> CheckpointError:
    """The error for a value that a field of the layout does not have."""
    allowed = ", ".join(repr(theirs) for theirs in entry.values)
    return CheckpointError(f"config.json: {name} is {value!r}; this family has: {allowed}")


def holds(value: Any, wanted: Any, path: str, elsewhere: Container[str] = ()) -> bool:
    """Whether a value equals the wanted one, or has it as a part, apart from paths that have a
    field of their own.
    """
    if isinstance(wanted, Mapping):
        return isinstance(value, Mapping) and all(
            (below := f"{path}.{key}".lstrip(".")) in elsewhere
            or holds(value.get(key), part, below, elsewhere)
            for key, part in wanted.items()
        )
    if isinstance(wanted, list | tuple):
        same = isinstance(value, list | tuple)
        return same and sorted(map(str, value)) == sorted(map(str, wanted))
    if isinstance(value, float) and type(wanted) is int:
        return value == wanted
    return type(value) is type(wanted) and value == wanted


def within_vocabulary(value: Any, vocab: int) -> Any:
    """An id, or the ids of a list, as far as a vocabulary has them; other things pass."""
    if isinstance(value, list | tuple) and all(type(part) is int for part in value):
        return [part for part in value if 0 <= part < vocab] or None
    if type(value) is int and not 0 <= value < vocab:
        return None
    return value


def left_over(config: Mapping[str, Any], layout: Layout) -> list[str]:
    """Fields of a config.json that the layout neither reads nor lists as meaningless."""
    also = [other for _, entry in in_order(layout) for other in entry.also]
    known = {*layout.config, *also, *layout.ignored, *layout.constants, *EVERYWHERE}
    known |= sections_of(also) | sections_of(layout.config)
    flat = flattened(config, layout.config)
    return sorted(name for name in flat if name not in known and not name.startswith("_"))


def field_of(path: str, layout: Layout) -> str | None:
    """The field of a config.json that says what stands at a path of the spec, or above it."""
    fields = {place: name for name, entry in in_order(layout) for place in paths_of(entry) if place}
    while path and path not in fields:
        path = path.rpartition(".")[0]
    return fields.get(path)

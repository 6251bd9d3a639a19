"""What one field of a config.json means: which of its values stands for which of ours, and where
in the spec.
"""

from collections.abc import Container, Iterator, Mapping
from typing import Any

from engine.checkpoint.config.everywhere import EVERYWHERE
from engine.checkpoint.config.lists import in_turn, is_list, marked, our_list, their_list
from engine.checkpoint.config.places import MISSING, flattened, sections_of, value_at
from engine.errors import CheckpointError
from engine.spec.axes import ConfigField, Layout
from engine.spec.axes.blocks import following_sizes

NETWORK_PADDING = "embeddings.tables.tokens.padding"


def in_order(layout: Layout) -> Iterator[tuple[str, ConfigField]]:
    """The fields of a layout: those that choose a section before those of its parts, conditional
    ones and those that count by another last.
    """
    fields = []
    for name, entry in layout.config.items():
        if not isinstance(entry, ConfigField):
            entry = ConfigField(path=entry)
        fields.append((name, entry))
    yield from sorted(fields, key=lambda named: (_rests(named[1]), _depth(named[1])))


def _rests(entry: ConfigField) -> bool:
    """Whether other fields have to be read before this one."""
    counts_layers = (
        entry.period is not None or entry.numbered is not None or entry.leading is not None
    )
    return counts_layers or entry.under is not None or isinstance(entry.factor, str)


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


def to_ours(name: str, value: Any, entry: ConfigField, spec: Mapping[str, Any]) -> Any:
    """Our value for one of theirs (raises CheckpointError for one that the layout has not); `spec`
    is what was read so far.
    """
    if entry.entries:
        return our_list(name, value, entry)
    if entry.period is not None and isinstance(value, int):
        if value < 1:
            raise CheckpointError(f"config.json: {name} should be 1 or more, found {value}")
        return in_turn(value, entry.period, value_at(spec, "dims.layers"))
    if entry.numbered is not None or entry.leading is not None:
        return marked(name, value, entry, value_at(spec, "dims.layers"))
    for theirs, ours in entry.values.items():
        if type(theirs) is type(value) and theirs == value:
            return ours
    if entry.only or _chooses_section(entry):
        raise foreign_value(name, value, entry)
    if _is_number(value):
        value = _times(value, _factor(entry, spec), entry)
    if entry.offset and isinstance(value, int):
        return value + entry.offset
    if entry.power != 1.0 and _is_number(value):
        return float(value) ** entry.power
    return value


def _factor(entry: ConfigField, spec: Mapping[str, Any]) -> Any:
    """What their number is multiplied with."""
    if isinstance(entry.factor, str):
        found = value_at(spec, entry.factor)
        return found if _is_number(found) else 1
    return entry.factor


def _times(number: float, factor: float, entry: ConfigField) -> float:
    """A number of a field times a factor: as whole as it was, or, where it counts by another
    number, as whole as what comes out.
    """
    if factor == 1.0:
        return number
    product = number * factor
    if not isinstance(entry.factor, str):
        return type(number)(product)
    whole = round(product)
    return whole if abs(product - whole) <= 1e-9 * max(1.0, abs(product)) else product


def to_theirs(
    value: Any, entry: ConfigField, path: str, elsewhere: Container[str], spec: Mapping[str, Any]
) -> Any:
    """Their value for one of the spec's, MISSING where there is none; `elsewhere` are paths with
    fields of their own.
    """
    if is_list(entry):
        return their_list(value, entry, value_at(spec, "dims.layers"))
    if None in entry.values.values() and value == as_null(path, spec):
        value = None
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
    if _is_number(value):
        value = _times(value, 1 / _factor(entry, spec), entry)
    if entry.power != 1.0 and _is_number(value):
        found = round(float(value) ** (1 / entry.power), 9)
        return int(found) if found.is_integer() else found
    return value


def as_null(path: str, spec: Mapping[str, Any]) -> Any:
    """What null stands for at a path of the spec: itself, but for sizes that follow from others."""
    section, _, name = path.partition(".")
    if section != "dims":
        return None
    dims = value_at(spec, "dims")
    return following_sizes(dims["model"], dims["heads"]).get(name)


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

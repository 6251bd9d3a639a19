"""The words of a config.json that was read: kept where they still say what the spec says."""

from collections.abc import Container, Mapping
from typing import Any

from engine.checkpoint.config.everywhere import OF_THE_FOLDER
from engine.checkpoint.config.fields import (
    NETWORK_PADDING,
    as_null,
    holds,
    in_order,
    is_idle,
    path_written,
    paths_of,
    to_ours,
    within_vocabulary,
)
from engine.checkpoint.config.lists import for_each, is_list
from engine.checkpoint.config.places import MISSING, flattened, nested, value_at, with_value
from engine.checkpoint.config.writing import is_still, write_config
from engine.errors import CheckpointError
from engine.spec.axes import ConfigField, Layout


def kept_words(
    raw: Mapping[str, Any],
    generation: Mapping[str, Any],
    spec: Mapping[str, Any],
    layout: Layout,
    labels: Container[str],
) -> dict[str, Any]:
    """The fields of a config.json that a save of this spec would leave out or write in other words.

    `labels` are the fields that its head says.
    """
    written = write_config(spec, layout).config
    words = flattened(with_words(written, raw, generation, spec, layout), layout.config)
    written = flattened(written, layout.config)
    kept = {}
    for name, value in flattened(raw, layout.config).items():
        if name in OF_THE_FOLDER or name in labels or name.startswith("_"):
            continue
        if written.get(name, MISSING) != value and words.get(name, MISSING) == value:
            kept[name] = value
    return nested(kept, layout.config)


def with_words(
    written: Mapping[str, Any],
    kept: Mapping[str, Any],
    generation: Mapping[str, Any],
    spec: Mapping[str, Any],
    layout: Layout,
) -> dict[str, Any]:
    """A written config.json with the words in which another one said the same, and with its foreign
    fields.

    What generation_config.json says in place of a field leaves that field as it was.
    """
    written, kept = flattened(written, layout.config), flattened(kept, layout.config)
    result = dict(written)
    overruled = {
        path
        for name, path in layout.generation.items()
        if is_still(generation.get(name), path, spec)
    }
    fields = dict(in_order(layout))
    names = {other: name for name, entry in fields.items() for other in (name, *entry.also)}
    for name, value in kept.items():
        main = names.get(name)
        if main is None or is_idle(fields[main], spec):
            result[name] = value
        elif main != name:
            result[name] = written.get(main, value)
            if layout.constants.get(name, MISSING) == value:
                result[name] = value
        else:
            kept_as_it_was = bool(overruled.intersection(paths_of(fields[name])))
            if kept_as_it_was or _says_the_same(name, value, fields[name], spec):
                result[name] = value
    result = nested(result, layout.config)
    return _with_inner_names(result, written, kept, fields)


def _with_inner_names(
    result: dict[str, Any],
    written: Mapping[str, Any],
    kept: Mapping[str, Any],
    fields: Mapping[str, ConfigField],
) -> dict[str, Any]:
    """The same with what is written also inside sections that were kept, such as rope_scaling."""
    for name, entry in fields.items():
        for other in entry.also:
            section, dot, _ = other.partition(".")
            if dot and section in kept and name in written:
                result = with_value(result, other, written[name])
    return result


def _says_the_same(name: str, value: Any, entry: ConfigField, spec: Mapping[str, Any]) -> bool:
    """Whether a field with this value would be read as what the spec has."""
    layers = value_at(spec, "dims.layers")
    try:
        ours = to_ours(name, value, entry, spec)
    except CheckpointError:
        return False
    path = path_written(entry, spec)
    now = value_at(spec, path)
    if now is MISSING:
        return path.startswith("heads.options.")
    if is_list(entry):
        return for_each(now, layers) == for_each(ours, layers)
    if ours is None:
        ours = as_null(path, spec)
    if path.startswith("tokens.") or path == NETWORK_PADDING:
        ours = within_vocabulary(ours, value_at(spec, "dims.vocab"))
    return holds(now, ours, path)

"""From the plain data of a spec to a config.json and a generation_config.json."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from engine.checkpoint.config.fields import (
    NETWORK_PADDING,
    in_order,
    is_idle,
    options_of_head,
    path_written,
    paths_of,
    to_theirs,
    within_vocabulary,
)
from engine.checkpoint.config.places import MISSING, flattened, nested, sections_of, value_at
from engine.spec.axes import ConfigField, Layout


@dataclass
class Writing:
    """The fields of a config.json, and the paths of a spec that none of its fields can say."""

    config: dict[str, Any] = field(default_factory=dict)
    unsayable: list[str] = field(default_factory=list)


def write_config(spec: Mapping[str, Any], layout: Layout) -> Writing:
    """The fields of a config.json that say the same as a spec's plain data.

    Of several paths the one that belongs to the spec's own head is written, else the first. What a
    field of its own says, such as a size, does not decide between the sections that another field
    chooses from. A value of another kind of section than the layout knows, or one that only another
    head has, has no field.
    """
    writing = Writing({"model_type": layout.model_type, **layout.constants})
    own = options_of_head(spec)
    fields = dict(in_order(layout))
    for name, entry in fields.items():
        path = path_written(entry, spec)
        value = value_at(spec, path)
        if is_idle(entry, spec) or value is MISSING or _is_read_only(entry):
            continue
        elsewhere = {at for other, one in fields.items() if other != name for at in paths_of(one)}
        theirs = to_theirs(value, entry, path, elsewhere, spec)
        if theirs is not MISSING:
            writing.config[name] = theirs
            defaults = [other for other in entry.also if other in layout.constants]
            writing.config.update(dict.fromkeys(defaults, theirs))
        elif path.startswith(own) or not path.startswith("heads.options."):
            writing.unsayable.append(path or name)
    writing.config = _in_sections(writing.config, layout)
    return writing


def _is_read_only(entry: ConfigField) -> bool:
    """Whether a list of theirs says the same, which is written in place of a number."""
    return entry.period is not None and len(entry.period) == 2


def _in_sections(config: Mapping[str, Any], layout: Layout) -> dict[str, Any]:
    """Fields in their sections, without nulls and what their class takes for a field that is left
    out; a section of which nothing is left is null.
    """
    data = nested(config, layout.config)
    defaults = flattened(layout.defaults, layout.config)
    for section in sections_of(layout.config):
        if isinstance(data.get(section), Mapping):
            data[section] = {
                key: value
                for key, value in data[section].items()
                if value not in (None, defaults.get(f"{section}.{key}"))
            }
    return data


def write_generation(
    generation: Mapping[str, Any], spec: Mapping[str, Any], layout: Layout
) -> dict[str, Any]:
    """A generation_config.json that was read, with the ids that the spec has now."""
    result = dict(generation)
    for name, path in layout.generation.items():
        given = generation.get(name)
        foreign = given is None or layout.constants.get(name, MISSING) == given
        fixed = path == "tokens.padding" and value_at(spec, NETWORK_PADDING) is not None
        if not (foreign or fixed or is_still(given, path, spec)):
            result[name] = value_at(spec, path)
    return result


def is_still(given: Any, path: str, spec: Mapping[str, Any]) -> bool:
    """Whether an id, or a list of ids, is what the spec has at a path."""
    if given is None:
        return False
    return bool(within_vocabulary(given, value_at(spec, "dims.vocab")) == value_at(spec, path))

"""From a config.json and a generation_config.json to the plain data of a spec."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, NamedTuple

from engine.checkpoint.config.fields import (
    NETWORK_PADDING,
    foreign_value,
    in_order,
    is_idle,
    paths_of,
    to_ours,
    within_vocabulary,
)
from engine.checkpoint.config.lists import is_list
from engine.checkpoint.config.places import MISSING, flattened, value_at, with_value
from engine.spec.axes import ConfigField, Layout


class Reading(NamedTuple):
    """The plain data of a spec, and what a reader should know of how it was found."""

    data: dict[str, Any]
    remarks: tuple[str, ...] = ()


def read_config(
    config: Mapping[str, Any],
    layout: Layout,
    family: Mapping[str, Any],
    generation: Mapping[str, Any] | None = None,
) -> Reading:
    """A family's plain spec with the settings of a config.json and a generation_config.json laid
    over it.

    Of several names of one field the first that says something is read; of several fields on one
    path the first in the layout; for the ids with which decoding starts and ends
    generation_config.json comes before config.json. Where the others say something else, a remark
    says so. Fields that choose a section are read before those of its parts. Raises CheckpointError
    for a value that the layout does not have.
    """
    also = {name: entry.also for name, entry in in_order(layout)}
    flattened(config, chain(*also.values()))  # their sections are sections as well
    given = flattened(config, layout.config)
    defaults = {
        name: value
        for name, value in layout.defaults.items()
        if all(value_at(given, other) in (MISSING, None) for other in also.get(name, ()))
    }
    config = flattened({**defaults, **given}, layout.config)
    reader = _Reader(config, layout, dict(family))
    for name, entry in in_order(layout):
        # Fields before this one may have chosen the section that it belongs to.
        if not is_idle(entry, reader.data):
            reader.read_field(name, entry)
        elif "." in name and given.get(name) is not None:
            reader.remarks.append(
                f"{name} {given[name]!r} says nothing beside the rest of config.json"
            )
    reader.read_generation(generation or {})
    reader.drop_foreign_ids()
    return Reading(reader.data, tuple(dict.fromkeys(reader.remarks)))


@dataclass
class _Reader:
    """A spec while the fields of a config.json are laid over it one by one."""

    config: Mapping[str, Any]
    layout: Layout
    data: dict[str, Any]
    remarks: list[str] = field(default_factory=list)
    read: dict[str, tuple[str, Any]] = field(default_factory=dict)
    """For every path that was read, the first field on it and our value of it."""

    def read_field(self, name: str, entry: ConfigField) -> None:
        """Lay one field over the spec, at each of its paths."""
        found = _first_name(self.config, name, entry)
        if found is None:
            return
        key, given = found
        if is_list(entry) and (given is None or self.read.keys() & set(paths_of(entry))):
            return  # the class makes the list, or another field has said it
        value = to_ours(key, given, entry, self.data)
        self.remarks += self._other_names(entry, key, value)
        for path in paths_of(entry):
            if not path and not isinstance(value, Mapping):
                raise foreign_value(key, given, entry)
            first, before = self.read.setdefault(path, (key, value))
            if isinstance(value, Mapping) or first == key or before is None:
                self.data = with_value(self.data, path, value)
            elif before != value:
                self.remarks.append(_differ(first, value_at(self.config, first), key, given))

    def _other_names(self, entry: ConfigField, key: str, value: Any) -> Iterator[str]:
        """Remarks on other names of a field that say another value."""
        for other in entry.also:
            given = value_at(self.config, other)
            silent = given is MISSING or given is None or self._is_default(other, given)
            if other == key or silent:
                continue
            if to_ours(other, given, entry, self.data) != value:
                yield _differ(key, value_at(self.config, key), other, given)

    def _is_default(self, name: str, value: Any) -> bool:
        """Whether a field holds what its class has by default, which says nothing."""
        return bool(self.layout.constants.get(name, MISSING) == value)

    def read_generation(self, generation: Mapping[str, Any]) -> None:
        """Lay the ids of a generation_config.json over those of config.json."""
        for name, path in self.layout.generation.items():
            given, before = generation.get(name), value_at(self.data, path)
            if given is None or given == before or self._is_default(name, given):
                continue
            here = f"generation_config.json says {name} {given!r}"
            if path == "tokens.padding" and self._pads_the_network(before):
                self.remarks.append(f"{here}, but padding of the network is {before!r}")
                continue
            within = isinstance(given, list) and before in given
            if path in self.read and before is not None and not within:
                self.remarks.append(
                    f"{here} and config.json {before!r}, of which the former is read"
                )
            self.data = with_value(self.data, path, given)
            self.read[path] = (f"{name} of generation_config.json", given)

    def _pads_the_network(self, token: Any) -> bool:
        """Whether a padding id is the one of the token table, which decoding cannot change."""
        return token is not None and value_at(self.data, NETWORK_PADDING) == token

    def drop_foreign_ids(self) -> None:
        """Take out ids of special tokens that the vocabulary does not have, as some published files
        hold.
        """
        vocab, tokens = value_at(self.data, "dims.vocab"), value_at(self.data, "tokens")
        if not isinstance(vocab, int) or not isinstance(tokens, Mapping):
            return
        for path in (*(f"tokens.{name}" for name in tokens), NETWORK_PADDING):
            value = value_at(self.data, path)
            inside = within_vocabulary(value, vocab)
            if value is MISSING or inside == value:
                continue
            self.data = with_value(self.data, path, inside)
            name, _ = self.read.get(path, (path, None))
            self.remarks.append(
                f"{name} {value!r} is outside the vocabulary of {vocab} and counts as none"
            )


def _first_name(config: Mapping[str, Any], name: str, entry: ConfigField) -> tuple[str, Any] | None:
    """The first name of a field with a value, and that value; null counts where no other name has
    one.
    """
    null = None
    for other in (name, *entry.also):
        value = value_at(config, other)
        if value is None and null is None:
            null = (other, None)
        elif value is not MISSING and value is not None:
            return other, value
    return null


def _differ(first: str, value: Any, other: str, found: Any) -> str:
    return f"config.json says {first} {value!r} and {other} {found!r}, of which {first} is read"

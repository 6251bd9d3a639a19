"""What differs between the recipe that a run was begun with and the one that it goes on with."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from engine.spec.origins import KeyPath
from engine.training.recipe.load import LANGUAGE, Opened
from engine.training.recipe.model import Recipe

FREE = ("devices", "expected")
"""Sections that may differ when a run goes on."""


@dataclass(frozen=True)
class Change:
    """A key with another value than before; a value is None where the key is absent."""

    path: KeyPath
    before: Any
    after: Any

    def __str__(self) -> str:
        return f"{'.'.join(self.path)}: {_shown(self.before)} before, {_shown(self.after)} now"


def changes(before: Recipe, after: Recipe) -> tuple[Change, ...]:
    """Every key that differs, but for those of `devices` and `expected`."""
    told = _changes(before.to_dict(), after.to_dict(), ())
    return tuple(change for change in told if change.path[0] not in FREE)


def refuse_changes(opened: Opened, before: Recipe) -> None:
    """Raises RecipeError that lists, at its place in the opened recipe, every key that differs from
    the recipe `before`.
    """
    found = [
        (
            change.path,
            f"{_shown(change.after)}, but the run was begun with {_shown(change.before)}: "
            "go on with --changed to change it",
        )
        for change in changes(before, opened.recipe)
    ]
    if found:
        raise LANGUAGE.failure(opened.origins, found)


def _changes(before: Any, after: Any, path: KeyPath) -> Iterator[Change]:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in dict.fromkeys((*before, *after)):
            yield from _changes(before.get(key), after.get(key), (*path, str(key)))
    elif _sections(before) and _sections(after) and len(before) == len(after):
        for number, (old, new) in enumerate(zip(before, after)):
            yield from _changes(old, new, (*path, str(number)))
    elif before != after:
        yield Change(path, before, after)


def _sections(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(entry, Mapping) for entry in value)


def _shown(value: Any) -> str:
    return "null" if value is None else str(value)

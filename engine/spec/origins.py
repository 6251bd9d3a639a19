"""YAML files as plain data, with the file, line and column of every key."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.errors import Problem, SpecError
from tokenization.files.plain_yaml import YamlError, parse_yaml, place_of

LARGEST = 2**24
KeyPath = tuple[str, ...]
Place = tuple[str, int | None, int | None]


@dataclass
class Origins:
    """Where every key of a merged file was written, by its path."""

    places: dict[KeyPath, Place] = field(default_factory=dict)
    noun: str = "spec"

    def problem(self, path: KeyPath, text: str) -> Problem:
        """A problem at the nearest place that the files mention."""
        place = self.place(path) or (self.noun, None, None)
        return Problem(".".join(path), text, *place, noun=self.noun)

    def place(self, path: KeyPath) -> Place | None:
        """The nearest place that the files mention; None: no file says anything."""
        for length in range(len(path), -1, -1):
            if place := self.places.get(path[:length]):
                return place
        return None

    def forget(self, path: KeyPath) -> None:
        """Drop a section that is replaced."""
        for known in [known for known in self.places if known[: len(path)] == path]:
            del self.places[known]

    def override(self, path: KeyPath) -> None:
        """Mark a section that the caller replaces."""
        self.forget(path)
        self.places[path] = ("overrides", None, None)


def parse(path: Path, origins: Origins, looks: str, failure: type[SpecError]) -> dict[str, Any]:
    """The plain data of a file that holds what `looks` says (raises `failure` for what is no
    mapping in plain YAML).
    """
    origins.places[()] = (str(path), 1, 1)
    noun = origins.noun
    if path.stat().st_size > LARGEST:
        text = f"larger than any {noun}: more than {LARGEST} bytes"
        raise failure([origins.problem((), text)])
    try:
        data, places = parse_yaml(path.read_text(encoding="utf-8"))
    except YamlError as error:
        text = f"not valid YAML: {error.problem}"
        place = (str(path), error.line, error.column)
        raise failure([Problem(".".join(error.path), text, *place, noun=noun)]) from None
    except UnicodeDecodeError as error:
        place = (str(path), *place_of(error.object[: error.start].decode()))
        raise failure([Problem("", f"not valid YAML: {error}", *place, noun=noun)]) from None
    if not isinstance(data, dict):
        found = {list: "a list", type(None): "nothing"}.get(type(data), "a single value")
        raise failure([origins.problem((), f"{looks}; this file holds {found}")])
    origins.places.update({key: (str(path), *place) for key, place in places.items()})
    return data

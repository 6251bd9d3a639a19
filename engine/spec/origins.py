"""Spec files as plain data, with the file, line and column of every key."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.errors import Problem, SpecError
from tokenization.files.plain_yaml import YamlError, parse_yaml

LARGEST = 2**24
KeyPath = tuple[str, ...]
Place = tuple[str, int | None, int | None]


@dataclass
class Origins:
    """Where every key of a merged spec was written, by its path."""

    places: dict[KeyPath, Place] = field(default_factory=dict)

    def problem(self, path: KeyPath, text: str) -> Problem:
        """A problem at the nearest place that the files mention."""
        for length in range(len(path), -1, -1):
            if place := self.places.get(path[:length]):
                return Problem(".".join(path), text, *place)
        return Problem(".".join(path), text)

    def forget(self, path: KeyPath) -> None:
        """Drop a section that is replaced."""
        for known in [known for known in self.places if known[: len(path)] == path]:
            del self.places[known]

    def override(self, path: KeyPath) -> None:
        """Mark a section that the caller replaces."""
        self.forget(path)
        self.places[path] = ("overrides", None, None)


def parse(path: Path, origins: Origins) -> dict[str, Any]:
    """The plain data of a spec file (raises SpecError for what is no mapping in plain YAML)."""
    origins.places[()] = (str(path), 1, 1)
    if path.stat().st_size > LARGEST:
        raise SpecError([origins.problem((), f"larger than any spec: more than {LARGEST} bytes")])
    try:
        data, places = parse_yaml(path.read_text(encoding="utf-8"))
    except YamlError as error:
        text = f"not valid YAML: {error.problem}"
        raise SpecError(
            [Problem(".".join(error.path), text, str(path), error.line, error.column)]
        ) from None
    except UnicodeDecodeError as error:
        raise SpecError([Problem("", f"not valid YAML: {error}", str(path))]) from None
    if not isinstance(data, dict):
        found = (
            "nothing"
            if data is None
            else f"a {'list' if isinstance(data, list) else 'single value'}"
        )
        text = (
            f"a spec is a mapping of axes, such as 'dims: {{layers: 2}}'; this file holds {found}"
        )
        raise SpecError([origins.problem((), text)])
    origins.places.update({key: (str(path), *place) for key, place in places.items()})
    return data

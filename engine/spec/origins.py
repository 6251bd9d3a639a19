"""Spec files as plain data, with the file, line and column of every key."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq, TaggedScalar
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.scalarbool import ScalarBoolean

from engine.errors import Problem, SpecError

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
    try:
        tree = YAML(typ="rt").load(path.read_text(encoding="utf-8"))
        if not isinstance(tree, CommentedMap):
            found = "nothing" if tree is None else f"a {'list' if isinstance(tree, list) else 'single value'}"
            text = f"a spec is a mapping of axes, such as 'dims: {{layers: 2}}'; this file holds {found}"
            raise SpecError([origins.problem((), text)])
        return _plain(tree, str(path), (), origins)
    except MarkedYAMLError as error:
        mark = error.problem_mark
        place = (mark.line + 1, mark.column + 1) if mark else (None, None)
        text = str(error.problem).split(" with value")[0]
        raise SpecError([Problem("", f"not valid YAML: {text}", str(path), *place)]) from None
    except (YAMLError, UnicodeDecodeError) as error:
        text = str(error).splitlines()[0]
        raise SpecError([Problem("", f"not valid YAML: {text}", str(path))]) from None
    except RecursionError:
        raise SpecError([Problem("", "not valid YAML: an alias that holds itself", str(path))]) from None


def _plain(node: Any, source: str, path: KeyPath, origins: Origins) -> Any:
    if isinstance(node, CommentedMap):
        for key, place in node.lc.data.items() if node.lc.data else ():
            origins.places[(*path, str(key))] = (source, place[0] + 1, place[1] + 1)
        return {_scalar(key): _plain(value, source, (*path, str(key)), origins) for key, value in node.items()}
    if isinstance(node, CommentedSeq):
        return [_plain(value, source, (*path, str(index)), origins) for index, value in enumerate(node)]
    if isinstance(node, TaggedScalar):
        raise SpecError([origins.problem(path, f"not plain YAML: the tag {node.tag.value} has no meaning here")])
    return _scalar(node)


def _scalar(value: Any) -> Any:
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return bool(value) if isinstance(value, ScalarBoolean) else kind(value)
    return value

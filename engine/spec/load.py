"""From a path, a bare name, a dict or a Spec to a Spec, with every problem at its line and column."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError

from engine.errors import Problem, SpecError, nearest
from engine.spec.explain import allowed_names, message
from engine.spec.model import Spec

SpecSource = str | os.PathLike[str] | Mapping[str, Any] | Spec
SPECS = Path(__file__).resolve().parents[2] / "specs"
if not SPECS.is_dir():  # installed as a wheel: the specs travel inside the package
    SPECS = Path(__file__).resolve().parents[1] / "_specs"


@dataclass
class Origins:
    """File, line and column of every key of a merged spec, by its path."""

    places: dict[tuple[str, ...], tuple[str, int, int]] = field(default_factory=dict)

    def problem(self, path: tuple[str, ...], text: str) -> Problem:
        """A problem at the nearest place that the files mention."""
        for length in range(len(path), -1, -1):
            if place := self.places.get(path[:length]):
                return Problem(".".join(path), text, *place)
        return Problem(".".join(path), text)


def load_spec(
    source: SpecSource,
    overrides: Mapping[str, Any] | None = None,
    head_options: Mapping[str, type[BaseModel]] | None = None,
) -> Spec:
    """The spec at a path, under a bare name in specs/, in a dict, or itself; `overrides` are dotted keys with values.

    `head_options` are the pydantic models of the registered heads, to check heads.options in the same pass.
    Raises SpecError with all problems at once, or FileNotFoundError with the nearest name.
    """
    if isinstance(source, Spec) and not overrides:
        return source
    origins = Origins()
    data = source.to_dict() if isinstance(source, Spec) else read(source, origins)
    for path, value in (overrides or {}).items():
        data = merge(data, _nest(path.split("."), value))
    problems: list[Problem] = []
    spec = None
    try:
        spec = Spec.model_validate(data)
    except ValidationError as error:
        problems += [_located(issue, data, origins) for issue in error.errors()]
    problems += _head_problems(data, head_options or {}, origins)
    if problems or spec is None:
        raise SpecError(problems)
    return spec


def read(source: str | os.PathLike[str] | Mapping[str, Any], origins: Origins | None = None) -> dict[str, Any]:
    """The plain data of a spec with its parents merged in, before validation."""
    origins = origins if origins is not None else Origins()
    if isinstance(source, Mapping):
        data, folder = dict(source), Path.cwd()
    else:
        path = find(source)
        data, folder = _parse(path, origins), path.parent
    return _extend(data, folder, origins, ())


def find(source: str | os.PathLike[str]) -> Path:
    """The file of a spec: a path, or a bare name looked up in specs/ (raises FileNotFoundError with the nearest name)."""
    path = Path(source)
    if path.is_dir() and (path / "spec.yaml").is_file():
        return path / "spec.yaml"
    if path.is_file():
        return path
    wanted = path.as_posix().removeprefix("specs/").removesuffix(".yaml")
    known = shipped()
    if wanted in known:
        return known[wanted]
    raise FileNotFoundError(f"no spec file '{source}'{nearest(wanted, known)}")


def shipped() -> dict[str, Path]:
    """Every spec file that the project ships, by its name below specs/ (families also without their folder)."""
    files = {path.relative_to(SPECS).with_suffix("").as_posix(): path for path in sorted(SPECS.rglob("*.yaml"))}
    short = {name.rsplit("/", 1)[-1]: path for name, path in files.items() if not name.startswith("tiny/")}
    return {**short, **files}


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` laid on `base`: sections merge key by key, all else is replaced; a section of another kind is replaced whole."""
    result = dict(base)
    for key, value in over.items():
        old = result.get(key)
        if (
            isinstance(value, Mapping)
            and isinstance(old, Mapping)
            and value.get("kind", old.get("kind")) == old.get("kind")
        ):
            result[key] = merge(old, value)
        else:
            result[key] = value
    return result


def _nest(path: list[str], value: Any) -> dict[str, Any]:
    return {path[0]: _nest(path[1:], value) if len(path) > 1 else value}


def _extend(data: dict[str, Any], folder: Path, origins: Origins, chain: tuple[str, ...]) -> dict[str, Any]:
    parent = data.pop("extends", None)
    if parent is None:
        return data
    beside = folder / str(parent)
    path = beside if beside.is_file() else find(str(parent))
    if str(path) in chain:
        raise SpecError(
            [Problem("extends", f"specs extend each other in a circle: {' -> '.join([*chain, str(path)])}")]
        )
    inherited = Origins()
    base = _extend(_parse(path, inherited), path.parent, inherited, (*chain, str(path)))
    origins.places = {**inherited.places, **origins.places}
    return merge(base, data)


def _parse(path: Path, origins: Origins) -> dict[str, Any]:
    try:
        tree = YAML(typ="rt").load(path.read_text(encoding="utf-8"))
    except MarkedYAMLError as error:
        mark = error.problem_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (None, None)
        raise SpecError([Problem("", f"not valid YAML: {error.problem}", str(path), line, column)]) from None
    if not isinstance(tree, CommentedMap):
        raise SpecError([Problem("", "a spec is a mapping of axes, such as 'dims: {layers: 2}'", str(path), 1, 1)])
    origins.places[()] = (str(path), 1, 1)
    return _plain(tree, str(path), (), origins)


def _plain(node: Any, source: str, path: tuple[str, ...], origins: Origins) -> Any:
    if isinstance(node, CommentedMap):
        for key in node:
            line, column = node.lc.key(key)
            origins.places[*path, str(key)] = (source, line + 1, column + 1)
        return {_scalar(key): _plain(value, source, (*path, str(key)), origins) for key, value in node.items()}
    if isinstance(node, CommentedSeq):
        return [_plain(value, source, (*path, str(index)), origins) for index, value in enumerate(node)]
    return _scalar(node)


def _scalar(value: Any) -> Any:
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)
    return value


def _located(issue: Any, data: Any, origins: Origins) -> Problem:
    """A pydantic error at its place in the files; parts of its path that are only union tags are dropped."""
    path: tuple[str, ...] = ()
    node = data
    for part in issue["loc"]:
        if (isinstance(node, Mapping) and part in node) or (
            isinstance(node, list | tuple) and isinstance(part, int) and part < len(node)
        ):
            node = node[part]
        elif issue["type"] not in ("missing", "rule") or (isinstance(node, Mapping) and part == node.get("kind")):
            continue
        path = (*path, str(part))
    return origins.problem(path, message(issue, path, data))


def _head_problems(data: Any, options: Mapping[str, type[BaseModel]], origins: Origins) -> list[Problem]:
    heads = data.get("heads") if isinstance(data, Mapping) else None
    given = heads.get("options") if isinstance(heads, Mapping) else None
    problems = []
    for name, values in (given or {}).items():
        here = ("heads", "options", str(name))
        if options and name not in options:
            problems.append(origins.problem(here, f"no head named '{name}'{nearest(name, options)}"))
        elif name in options and isinstance(values, Mapping):
            try:
                options[name].model_validate(values)
            except ValidationError as error:
                for issue in error.errors():
                    path = (*here, *(str(part) for part in issue["loc"] if not str(part).startswith("function-")))
                    problems.append(origins.problem(path, message(issue, path, data, allowed_names(options[name]))))
    default = heads.get("default") if isinstance(heads, Mapping) else None
    if options and default is not None and default not in options:
        problems.append(origins.problem(("heads", "default"), f"no head named '{default}'{nearest(default, options)}"))
    return problems

"""From a path, a bare name, a dict or a Spec to a Spec, with every problem at its line and column."""

import os
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from engine.errors import InputError, SpecError, nearest
from engine.spec.explain import explain
from engine.spec.head_options import HeadOptions
from engine.spec.model import Spec, rules_of_intact_axes
from engine.spec.origins import KeyPath, Origins, parse
from engine.spec.weight_maps import map_problems
from tokenization.files.paths import as_path
from tokenization.files.unwritable import unwritable

SpecSource = str | os.PathLike[str] | Mapping[str, Any] | Spec
SPECS = Path(__file__).resolve().parents[2] / "specs"
if not SPECS.is_dir():  # installed as a wheel: the specs travel inside the package
    SPECS = Path(__file__).resolve().parents[1] / "_specs"
# Sections whose keys depend on what they are: another one replaces them whole.
UNIONS = {"position": "kind", "memory": "kind", "tokenizer": "algorithm", "pooling": "kind"}


def load_spec(
    source: SpecSource,
    overrides: Mapping[str, Any] | None = None,
    head_options: Mapping[str, type[HeadOptions]] | None = None,
) -> Spec:
    """The spec at a path, under a bare name in specs/, in a dict, or itself; `overrides` are dotted
    keys with values.

    `head_options` are the pydantic models of the registered heads, to check heads.options in the
    same pass. Raises SpecError with all problems at once, or FileNotFoundError with the nearest
    name.
    """
    if isinstance(source, Spec) and not overrides:
        return source
    if overrides is not None and not isinstance(overrides, Mapping):
        raise InputError(f"overrides are a {type(overrides).__name__}, expected a mapping")
    origins = Origins()
    data = source.to_dict() if isinstance(source, Spec) else read(source, origins)
    for path, value in (overrides or {}).items():
        data = merge(data, _nest(path.split("."), value), origins.override)
    spec, found = None, []
    try:
        spec = Spec.model_validate(data)
    except ValidationError as error:
        found = explain(error, data, Spec)
        found += rules_of_intact_axes(data, {path[0] for path, _ in found if path})
    found += _head_problems(data, head_options or {}, spec)
    found += map_problems(data, head_options or {})
    found += unwritable(data)
    if spec is None or found:
        problems = [origins.problem(path, text) for path, text in dict.fromkeys(found)]
        raise SpecError(
            sorted(
                problems,
                key=lambda problem: (problem.source, problem.line or 0, problem.column or 0),
            )
        )
    return spec


def read(
    source: str | os.PathLike[str] | Mapping[str, Any], origins: Origins | None = None
) -> dict[str, Any]:
    """The plain data of a spec with its parents merged in, before validation."""
    origins = origins if origins is not None else Origins()
    if isinstance(source, Mapping):
        return _extend(dict(source), Path.cwd(), origins, ())
    path = find(source)
    data = parse(path, origins)
    if "extends" in data and Path(source).is_dir():
        text = "the spec in a model's folder says everything itself: give the file, not the folder, to follow it"
        raise SpecError([origins.problem(("extends",), text)])
    return _extend(data, path.parent, origins, (path.resolve(),))


def find(source: str | os.PathLike[str]) -> Path:
    """The file of a spec: a path, or a bare name looked up in specs/ (raises FileNotFoundError with
    the nearest name).
    """
    path = as_path("spec", source, InputError)
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
    """Every spec file that the project ships, by its name below specs/ (families also without their
    folder).
    """
    files = {
        path.relative_to(SPECS).with_suffix("").as_posix(): path
        for path in sorted(SPECS.rglob("*.yaml"))
    }
    short = {
        name.rsplit("/", 1)[-1]: path
        for name, path in files.items()
        if not name.startswith("tiny/")
    }
    return {**short, **files}


@cache
def families() -> Mapping[str, dict[str, Any]]:
    """The plain specs of the shipped families and variants by their model_type in transformers,
    read once.
    """
    known: dict[str, dict[str, Any]] = {}
    for name, path in shipped().items():
        if name.startswith(("families/", "variants/")):
            data = read(path)
            known.setdefault(str(_layout(data).get("model_type")), data)
    return known


def merge(
    base: Mapping[str, Any],
    over: Mapping[str, Any],
    replaced: Callable[[KeyPath], None] | None = None,
    path: KeyPath = (),
) -> dict[str, Any]:
    """`over` laid on `base`: sections merge key by key, all else is replaced; a position, memory,
    tokenizer or pooling of another kind is replaced whole. `replaced` is told the path of all that
    gives way."""
    result = dict(base)
    for key, value in over.items():
        old, here = result.get(key), (*path, str(key))
        tag = UNIONS.get(str(key), "")
        if (
            isinstance(value, Mapping)
            and isinstance(old, Mapping)
            and value.get(tag, old.get(tag)) == old.get(tag)
        ):
            result[key] = merge(old, value, replaced, here)
        else:
            result[key] = value
            if replaced is not None:
                replaced(here)
    return result


def _nest(path: list[str], value: Any) -> dict[str, Any]:
    return {path[0]: _nest(path[1:], value) if len(path) > 1 else value}


def _extend(
    data: dict[str, Any], folder: Path, origins: Origins, chain: tuple[Path, ...]
) -> dict[str, Any]:
    parent = data.pop("extends", None)
    if parent is None:
        return _with_home(data, data, folder)
    if not isinstance(parent, str):
        raise SpecError(
            [origins.problem(("extends",), f"should be one file or name, found {parent!r}")]
        )
    beside = folder / parent
    try:
        path = beside if beside.is_file() else find(parent)
    except FileNotFoundError as error:
        raise SpecError([origins.problem(("extends",), str(error))]) from None
    if path.resolve() in chain:
        circle = " -> ".join(str(link) for link in (*chain, path.resolve()))
        raise SpecError(
            [origins.problem(("extends",), f"specs extend each other in a circle: {circle}")]
        )
    inherited = Origins()
    base = _extend(parse(path, inherited), path.parent, inherited, (*chain, path.resolve()))
    merged = merge(base, data, inherited.forget)
    origins.places = {**inherited.places, **origins.places}
    return _with_home(merged, data, folder)


def _with_home(data: dict[str, Any], own: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """A spec whose `own` file declares a layout that the project does not ship, with the network
    that it is a layout of.
    """
    model_type = _layout(own).get("model_type")
    if (
        model_type is None
        or "home" in _layout(own)
        or folder.is_relative_to(SPECS)
        or str(model_type) in families()
    ):
        return data
    home = {
        axis: value
        for axis, value in data.items()
        if axis not in ("name", "tokenizer", "checkpoint", "init")
    }
    return merge(data, {"checkpoint": {"huggingface": {"home": home}}})


def _layout(data: Mapping[str, Any]) -> Mapping[str, Any]:
    checkpoint = data.get("checkpoint")
    layout = checkpoint.get("huggingface") if isinstance(checkpoint, Mapping) else None
    return layout if isinstance(layout, Mapping) else {}


def _head_problems(
    data: Any, options: Mapping[str, type[HeadOptions]], spec: Spec | None
) -> list[tuple[KeyPath, str]]:
    heads = data.get("heads")
    given = heads.get("options") if isinstance(heads, Mapping) else None
    problems: list[tuple[KeyPath, str]] = []
    for name, values in given.items() if options and isinstance(given, Mapping) else ():
        here = ("heads", "options", str(name))
        if name not in options:
            problems.append((here, f"no head named '{name}'{nearest(name, options)}"))
        elif isinstance(values, Mapping):
            try:
                checked = options[name].model_validate(values)
                told = checked.problems(spec) if spec is not None else ()
                problems += [((*here, *path.split(".")), text) for path, text in told]
            except ValidationError as error:
                problems += [
                    ((*here, *path), text) for path, text in explain(error, values, options[name])
                ]
    default = heads.get("default") if isinstance(heads, Mapping) else None
    if options and isinstance(default, str) and default not in options:
        problems.append(
            (("heads", "default"), f"no head named '{default}'{nearest(default, options)}")
        )
    return problems

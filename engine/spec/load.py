"""From a path, a bare name, a dict or a Spec to a Spec, with every problem at its line and column."""

import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from engine.errors import nearest
from engine.spec.explain import explain
from engine.spec.head_options import HeadOptions
from engine.spec.language import Language, Source, shipped_folder
from engine.spec.model import Spec, rules_of_intact_axes
from engine.spec.origins import KeyPath, Origins
from engine.spec.weight_maps import map_problems
from tokenization.files.unwritable import unwritable

SpecSource = str | os.PathLike[str] | Mapping[str, Any] | Spec
SPECS = shipped_folder("specs")


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
    origins = Origins()
    data = source.to_dict() if isinstance(source, Spec) else read(source, origins)
    data = LANGUAGE.override(data, overrides, origins)
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
        raise LANGUAGE.failure(origins, found)
    return spec


def read(source: Source, origins: Origins | None = None) -> dict[str, Any]:
    """The plain data of a spec with its parents merged in, before validation."""
    return LANGUAGE.read(source, origins if origins is not None else Origins())


@cache
def families() -> Mapping[str, tuple[dict[str, Any], ...]]:
    """The plain specs of the shipped families and variants that declare a layout, or other names
    in that of their parent, by its model_type in transformers, read once.
    """
    known: dict[str, tuple[dict[str, Any], ...]] = {}
    for name, path in shipped().items():
        if name.startswith(("families/", "variants/")):
            own = _layout(LANGUAGE.parse(path, Origins()))
            if own.keys() & {"model_type", "architectures", "names"}:
                data = read(path)
                model_type = str(_layout(data).get("model_type"))
                known[model_type] = (*known.get(model_type, ()), data)
    return known


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


LANGUAGE = Language(
    noun="spec",
    plural="specs",
    owner="model",
    looks="a spec is a mapping of axes, such as 'dims: {layers: 2}'",
    folder=SPECS,
    named_in_full=("tiny/",),
    unions={
        "position": "kind",
        "scaling": "kind",
        "memory": "kind",
        "tokenizer": "algorithm",
        "pooling": "kind",
    },
    complete=_with_home,
)
find = LANGUAGE.find
shipped = LANGUAGE.shipped
merge = LANGUAGE.merge

"""Plain sentences for pydantic's errors, with the allowed values and the nearest name."""

import types
from collections.abc import Mapping
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel

from engine.errors import nearest


def message(issue: Any, path: tuple[str, ...], data: Any, names: list[str] | None = None) -> str:
    """What is wrong at `path` and what would be right."""
    kind, given, context = issue["type"], issue.get("input"), issue.get("ctx") or {}
    if kind == "extra_forbidden":
        allowed = names if names is not None else _names_at(path[:-1], data)
        return f"unknown key '{path[-1]}'{nearest(path[-1], allowed)}"
    if kind == "missing":
        return "this key is missing"
    if kind in ("literal_error", "enum"):
        return f"{given!r} is not one of {context['expected']}{_close(given, context['expected'])}"
    if kind == "union_tag_invalid":
        return f"{context['tag']!r} is not one of {context['expected_tags']}{_close(context['tag'], context['expected_tags'])}"
    if kind == "union_tag_not_found":
        return f"needs a key {context['discriminator']}"
    if kind == "rule":
        return str(context["text"])
    return f"{issue['msg'][0].lower()}{issue['msg'][1:]}, found {given!r}"


def _close(given: Any, expected: str) -> str:
    choices = [choice.strip(" '") for choice in expected.replace(" or ", ",").split(",")]
    suggestion = nearest(str(given), choices)
    return suggestion if "did you mean" in suggestion else ""


def allowed_names(model: type[BaseModel]) -> list[str]:
    """Field names of a pydantic model."""
    return [field.alias or name for name, field in model.model_fields.items()]


def _names_at(path: tuple[str, ...], data: Any) -> list[str]:
    """Names that are allowed in the section at `path`, following tagged unions by the tag in the data."""
    from engine.spec.model import Spec

    annotation: Any = Spec
    node = data
    for part in path:
        model = _choose(annotation, node)
        node = node.get(part) if isinstance(node, Mapping) else None
        if model is None or part not in model.model_fields:
            return []
        annotation = model.model_fields[part].annotation
    model = _choose(annotation, node)
    names = allowed_names(model) if model else []
    return [*names, "extends"] if not path else names


def _choose(annotation: Any, node: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (Union, types.UnionType) or hasattr(annotation, "__metadata__"):
        models = [_choose(choice, node) for choice in get_args(annotation) if choice is not type(None)]
        found = [model for model in models if model is not None]
        for model in found:
            for tag in ("kind", "algorithm"):
                if tag in model.model_fields and isinstance(node, Mapping):
                    if node.get(tag) in get_args(model.model_fields[tag].annotation):
                        return model
        return found[0] if found else None
    return None

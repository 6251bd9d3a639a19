"""Plain sentences for pydantic's errors, with the allowed values and the nearest name."""

import types
from collections.abc import Mapping
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from engine.errors import nearest

Path = tuple[str, ...]
MOST = 200  # problems that are explained: each looks for the nearest name
TAGS = ("kind", "algorithm")
WORDS = {
    "model_type": "a section of keys",
    "model_attributes_type": "a section of keys",
    "dict_type": "a section of keys",
    "tuple_type": "a list",
    "bool_type": "true or false",
    "int_type": "a whole number",
    "float_type": "a number",
    "string_type": "text",
}


def explain(error: ValidationError, data: Any, root: type[BaseModel]) -> list[tuple[Path, str]]:
    """What is wrong in the data of a `root`, each as (path, what is wrong and what would be right).

    The members of a union that fail at one place give one sentence, and none where another member
    fits better.
    """
    told = error.errors()
    found = [(_place(issue, data), issue) for issue in told[:MOST]]
    inner = {path[:length] for path, _ in found for length in range(len(path))}
    wrong_types: dict[Path, list[Any]] = {}
    texts: dict[tuple[Path, str], None] = {}
    for path, issue in found:
        if issue["type"] in WORDS or issue["type"] == "literal_error":
            if path not in inner:
                wrong_types.setdefault(path, []).append(issue)
        elif issue["type"] != "too_short" or path not in inner:  # entries that fail are not counted
            texts[_sentence(issue, path, data, root)] = None
    more = [((), f"and {len(told) - MOST} more problems")] if len(told) > MOST else []
    # A value that one member takes but for its bounds is of no wrong type.
    bounded = {path for path, _ in texts}
    mistyped = [
        (path, _mistyped(issues)) for path, issues in wrong_types.items() if path not in bounded
    ]
    return [*mistyped, *texts, *more]


def _place(issue: Any, data: Any) -> Path:
    """Where in the data an error stands; parts of its path that only name the member of a union are
    dropped.
    """
    path: Path = ()
    node = data
    for index, part in enumerate(issue["loc"]):
        inside = part in node if isinstance(node, Mapping) else False
        if isinstance(node, list | tuple) and isinstance(part, int) and part < len(node):
            inside = True
        absent = issue["type"] == "missing" and index == len(issue["loc"]) - 1
        if inside or absent or issue["type"] == "rule":
            path = (*path, str(part))
            node = node[part] if inside else None
    if issue["type"] == "union_tag_invalid":
        path = (*path, issue["ctx"]["discriminator"].strip("'"))
    return path


def _sentence(issue: Any, path: Path, data: Any, root: type[BaseModel]) -> tuple[Path, str]:
    kind, given, context = issue["type"], issue.get("input"), issue.get("ctx") or {}
    if kind == "extra_forbidden":
        return (
            path,
            f"unknown key '{path[-1]}'{nearest(path[-1], _names_at(path[:-1], data, root))}",
        )
    if kind == "missing":
        return path, "this key is missing"
    if kind == "union_tag_invalid":
        return path, _none_of(context["tag"], context["expected_tags"])
    if kind == "union_tag_not_found":
        return path, f"needs a key {context['discriminator']}"
    if kind == "rule":
        return path, str(context["text"])
    if kind == "too_short":
        return path, f"should have at least {context['min_length']} entries, found {len(given)}"
    text = issue["msg"].removeprefix("Value error, ").removeprefix("Input ")
    return path, f"{text}, found {given!r}" if text.startswith("should") else text


def _mistyped(issues: list[Any]) -> str:
    given = issues[0].get("input")
    if len(issues) == 1 and issues[0]["type"] == "literal_error":
        return _none_of(given, issues[0]["ctx"]["expected"])
    wanted = [WORDS.get(issue["type"]) or issue["ctx"]["expected"] for issue in issues]
    return f"should be {' or '.join(dict.fromkeys(wanted))}, found {given!r}"


def _none_of(given: Any, expected: str) -> str:
    choices = [choice.strip(" '") for choice in expected.replace(" or ", ",").split(",")]
    close = nearest(str(given), choices)
    return f"{given!r} is not one of {expected}{close if 'did you mean' in close else ''}"


def _names_at(path: Path, data: Any, root: type[BaseModel]) -> list[str]:
    """Names that are allowed in the section at `path`, following tagged unions by the tag in the
    data.
    """
    annotation: Any = root
    node = data
    for part in path:
        annotation = _inside(annotation, part, node)
        if isinstance(node, list | tuple):
            node = node[int(part)]
        else:
            node = (
                {str(key): value for key, value in node.items()}.get(part)
                if isinstance(node, Mapping)
                else None
            )
    model = _member(annotation, node)
    return (
        [*model.model_fields, *(["extends"] if not path and "extends" not in data else [])]
        if model
        else []
    )


def _inside(annotation: Any, part: str, node: Any) -> Any:
    """The annotation of one key of a section, of a mapping's values, or of a list's entries."""
    model = _member(annotation, node)
    if model is not None and isinstance(node, Mapping):
        return model.model_fields[part].annotation if part in model.model_fields else None
    for choice in _choices(annotation):
        origin = get_origin(choice)
        if (origin is dict and isinstance(node, Mapping)) or (
            origin is tuple and isinstance(node, list | tuple)
        ):
            return get_args(choice)[1 if origin is dict else 0]
    return None


def _choices(annotation: Any) -> list[Any]:
    if hasattr(annotation, "__metadata__"):
        return _choices(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return [member for choice in get_args(annotation) for member in _choices(choice)]
    return [annotation]


def _member(annotation: Any, node: Any) -> type[BaseModel] | None:
    """The section that an annotation stands for; of several, the one whose tag the data carries."""
    models = [m for m in _choices(annotation) if isinstance(m, type) and issubclass(m, BaseModel)]
    for model in models:
        for tag in TAGS:
            if tag in model.model_fields and isinstance(node, Mapping):
                if node.get(tag) in get_args(model.model_fields[tag].annotation):
                    return model
    return models[0] if models else None

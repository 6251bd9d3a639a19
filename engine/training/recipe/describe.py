"""A recipe with everything that it does not say itself, each line with where it comes from."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from engine.spec.origins import KeyPath
from engine.training.recipe.load import RECIPES, Opened
from tokenization.files.plain_yaml import write_yaml

Line = tuple[str, str]


def describe_recipe(opened: Opened) -> str:
    """The resolved recipe as YAML, with file and line, `overrides` or `default` behind each key."""
    lines = list(_lines(opened, opened.recipe.to_dict(), ()))
    width = max(len(text) for text, _ in lines)
    return "\n".join(f"{text:<{width}}  # {place}" if place else text for text, place in lines)


def _lines(opened: Opened, data: Mapping[str, Any], path: KeyPath) -> Iterator[Line]:
    for key, value in data.items():
        here = (*path, str(key))
        if isinstance(value, Mapping) and value:
            yield f"{key}:", ""
            yield from _indented(_lines(opened, value, here))
        elif _sections(value):
            yield f"{key}:", ""
            for number, entry in enumerate(value):
                yield from _entry(_lines(opened, entry, (*here, str(number))))
        else:
            text = write_yaml({key: value}).rstrip("\n")
            if text.startswith("{"):
                text = text[1:-1]
            first, *others = text.split("\n")
            yield first, _place(opened, here)
            yield from ((other, "") for other in others)


def _indented(lines: Iterator[Line]) -> Iterator[Line]:
    for text, place in lines:
        yield f"  {text}", place


def _entry(lines: Iterator[Line]) -> Iterator[Line]:
    for number, (text, place) in enumerate(lines):
        mark = "  " if number else "- "
        yield f"  {mark}{text}", place


def _sections(value: Any) -> bool:
    return bool(value) and isinstance(value, list) and isinstance(value[0], Mapping)


def _place(opened: Opened, path: KeyPath) -> str:
    node: Any = opened.given
    for key in path:
        if isinstance(node, Mapping) and key in node:
            node = node[key]
        elif isinstance(node, list | tuple):
            node = node[int(key)]
        else:
            return "default"
    place = opened.origins.place(path)
    if place is None:
        return "given"
    source, line, _ = place
    return source if line is None else f"{_short(source)}:{line}"


def _short(source: str) -> str:
    """A shipped file by its name below recipes/, another one as seen from the working folder."""
    path = Path(source).resolve()
    if path.is_relative_to(RECIPES):
        return f"recipes/{path.relative_to(RECIPES).as_posix()}"
    return min(source, os.path.relpath(source), key=len)

"""Rules between sections, told as far as they can be where some sections are damaged."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Annotated, Any

from pydantic import BaseModel, TypeAdapter, ValidationError

Problem = tuple[str, str]


class Intact:
    """The sections that are well formed, by name; a rule that reads another one ends there."""

    def __init__(self, sections: Mapping[str, Any]) -> None:
        self.sections = sections

    def __getattr__(self, name: str) -> Any:
        if name not in self.sections:
            raise Damaged
        return self.sections[name]


class Damaged(AttributeError):
    """A rule asked for a section that cannot be read."""


def told_by(rules: Iterable[Callable[[Any], Iterator[Problem]]], whole: Any) -> list[Problem]:
    """What the rules say of a whole or of its intact sections, each as (path, text)."""
    problems: list[Problem] = []
    for rule in rules:
        with contextlib.suppress(Damaged):
            for problem in rule(whole):
                problems.append(problem)
    return problems


def intact_sections(root: type[BaseModel], data: Mapping[str, Any], damaged: set[str]) -> Intact:
    """The sections of a `root` that validate, of data in which the `damaged` ones do not."""
    sections: dict[str, Any] = {}
    for name, field in root.model_fields.items():
        if name in damaged or (field.is_required() and name not in data):
            continue
        kind: Any = Annotated[field.annotation, field] if field.discriminator else field.annotation
        try:
            sections[name] = (
                TypeAdapter(kind).validate_python(data[name]) if name in data else field.default
            )
        except ValidationError:
            continue
    return Intact(sections)

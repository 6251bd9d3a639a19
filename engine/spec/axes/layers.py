"""Blocks that differ: kinds of layer by name, and the order in which they stand."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, field_validator

from engine.spec.axes.base import Axis


class Layers(Axis):
    """Kinds of layer, each the network's own block but for some fields."""

    pattern: Annotated[tuple[str, ...], Field(min_length=1, max_length=10_000)]
    """Names of kinds in the order of the blocks, from the bottom; where it is shorter than
    `dims.layers`, it begins anew behind its end."""
    kinds: dict[str, dict[str, Any]]
    """What each kind has otherwise than the network, by name: sections as they stand in a spec, or
    dotted fields such as attention.window, of attention, position, norm, ffn, block and dropout."""

    @field_validator("kinds", mode="before")
    @classmethod
    def _in_sections(cls, kinds: Any) -> Any:
        if not isinstance(kinds, Mapping):
            return kinds
        return {name: in_sections(fields) for name, fields in kinds.items()}

    def shortest(self, layers: int) -> "Layers":
        """The same with the shortest pattern that gives as many layers."""
        every = self.expanded(layers)
        for length in range(1, layers + 1):
            if all(every[at] == every[at % length] for at in range(layers)):
                return self.model_copy(update={"pattern": every[:length]})
        return self

    def expanded(self, layers: int) -> tuple[str, ...]:
        """The name of each layer's kind."""
        times = -(-layers // len(self.pattern))
        return (self.pattern * times)[:layers]


def in_sections(fields: Any) -> Any:
    """Fields with dotted names as sections; of two that say the same the later counts."""
    if not isinstance(fields, Mapping):
        return fields
    found: dict[Any, Any] = {}
    for name, value in fields.items():
        first, dot, rest = str(name).partition(".")
        if dot:
            found = laid_over(found, {first: in_sections({rest: value})})
        else:
            found = laid_over(found, {name: in_sections(value)})
    return found


def laid_over(base: Mapping[Any, Any], over: Mapping[Any, Any]) -> dict[Any, Any]:
    """Sections merged key by key; one of another kind replaces the whole."""
    result = dict(base)
    for name, value in over.items():
        old = result.get(name)
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        if both and value.get("kind", old.get("kind")) == old.get("kind"):  # type: ignore[union-attr]
            result[name] = laid_over(old, value)  # type: ignore[arg-type]
        else:
            result[name] = value
    return result


def kind_data(spec: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The plain data of a spec whose blocks are all of one kind."""
    changes = spec["layers"]["kinds"][name]
    return {**laid_over(spec, changes), "layers": None}

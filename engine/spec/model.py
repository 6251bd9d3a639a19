"""The spec: every axis of one network, and the rules that hold between axes."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import TypeAdapter, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from engine.spec.rules import Intact, broken_rules
from engine.spec.sections import Sections


class Spec(Sections):
    """A whole network as data: what `build_model` assembles and what a saved model carries, fully
    resolved.

    Raises pydantic's ValidationError that lists every broken cross-axis rule at once.
    """

    @model_validator(mode="after")
    def _resolve(self) -> "Spec":
        if problems := broken_rules(self):
            raise _rule_errors(problems)
        dims = self.dims
        filled = dims.model_copy(
            update={
                "head": dims.head or dims.model // dims.heads,
                "kv_heads": dims.kv_heads or dims.heads,
                "inner": dims.inner or 4 * dims.model,
            }
        )
        object.__setattr__(self, "dims", filled)
        return self

    def to_dict(self) -> dict[str, Any]:
        """Plain YAML-ready data that `Spec.model_validate` turns back into an equal spec."""
        plain = _lists(self.model_dump())
        assert isinstance(plain, dict)
        return plain

    def memory_per_token(self) -> dict[str, int]:
        """How many numbers memory holds for each remembered token, by the form in which it is held."""
        dims = self.dims
        keys_values = {"keys and values": 2 * dims.layers * dims.kv_heads * dims.head}
        if self.memory.kind == "recurrent":
            hidden = {"hidden states": dims.layers * dims.model}
            return hidden if self.position.kind == "from_end" else {**hidden, **keys_values}
        return keys_values if self.memory.kind == "keys_values" else {}


def rules_of_intact_axes(
    data: Mapping[str, Any], damaged: set[str]
) -> list[tuple[tuple[str, ...], str]]:
    """The broken rules of a spec whose `damaged` axes do not validate, as far as they can be told,
    by path.
    """
    axes_by_name: dict[str, Any] = {}
    for name, field in Spec.model_fields.items():
        if name in damaged or (field.is_required() and name not in data):
            continue
        kind: Any = Annotated[field.annotation, field] if field.discriminator else field.annotation
        try:
            axes_by_name[name] = (
                TypeAdapter(kind).validate_python(data[name]) if name in data else field.default
            )
        except ValidationError:
            continue
    return [(tuple(path.split(".")), text) for path, text in broken_rules(Intact(axes_by_name))]


def _lists(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _lists(part) for key, part in value.items()}
    return [_lists(part) for part in value] if isinstance(value, list | tuple) else value


def _rule_errors(problems: list[tuple[str, str]]) -> ValidationError:
    details: list[InitErrorDetails] = [
        InitErrorDetails(
            type=PydanticCustomError("rule", "{text}", {"text": text}),
            loc=tuple(path.split(".")),
            input=None,
        )
        for path, text in problems
    ]
    return ValidationError.from_exception_data("Spec", details)

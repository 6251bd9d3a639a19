"""The spec: every axis of one network, and the rules that hold between axes."""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from engine.spec.axes.blocks import following_sizes
from engine.spec.axes.encoder import encoder_data
from engine.spec.axes.layers import kind_data
from engine.spec.explain import explain
from engine.spec.intact import Problem, intact_sections
from engine.spec.rules import broken_rules
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
        follow = following_sizes(dims.model, dims.heads)
        filled = dims.model_copy(
            update={name: getattr(dims, name) or size for name, size in follow.items()}
        )
        object.__setattr__(self, "dims", filled)
        if self.layers is not None:
            object.__setattr__(self, "layers", self.layers.shortest(dims.layers))
        # What older specs say twice has agreed with what it follows from.
        object.__setattr__(self, "attention", self.attention.without_repetition())
        object.__setattr__(self, "streams", None)
        if problems := [*self._kind_problems(), *self._encoder_problems()]:
            raise _rule_errors(problems)
        return self

    def _kind_problems(self) -> Iterator[Problem]:
        """What is wrong with the blocks of each kind of layer."""
        if self.layers is None:
            return
        plain = plain_data(self)
        for name, changes in self.layers.kinds.items():
            data = kind_data(plain, name)
            try:
                Spec.model_validate(data)
            except ValidationError as error:
                for path, text in explain(error, data, Spec):
                    yield ".".join(("layers.kinds", name, *_within(changes, path))), text

    def _encoder_problems(self) -> Iterator[Problem]:
        """What is wrong with the encoder as a spec of its own, and with a table that both share."""
        if self.encoder is None:
            return
        section, data = plain_data(self.encoder), encoder_data(plain_data(self))
        try:
            inner = Spec.model_validate(data)
        except ValidationError as error:
            for path, text in explain(error, data, Spec):
                yield ".".join(("encoder", *_within(section, path))), text
            return
        if self.encoder.shared_tokens and _token_table(inner) != _token_table(self):
            yield (
                "encoder.shared_tokens",
                "one table of tokens has one dims.vocab and one width: say shared_tokens false",
            )

    def of_encoder(self) -> "Spec | None":
        """The encoder as a spec of its own, where there is one."""
        if self.encoder is None:
            return None
        return Spec.model_validate(encoder_data(plain_data(self)))

    def of_layers(self) -> tuple["Spec", ...]:
        """The spec of each block, from the bottom; blocks of one kind have the same one."""
        if self.layers is None:
            return (self,) * self.dims.layers
        plain = plain_data(self)
        kinds = {name: Spec.model_validate(kind_data(plain, name)) for name in self.layers.kinds}
        return tuple(kinds[name] for name in self.layers.expanded(self.dims.layers))

    @property
    def position_limit(self) -> int | None:
        """How many positions the blocks with the fewest have, or None where there is no last one."""
        padding = self.embeddings.tables.tokens.padding or 0
        limits = [one.position.limit(padding) for one in (self, *self.of_layers())]
        return min((limit for limit in limits if limit is not None), default=None)

    def to_dict(self) -> dict[str, Any]:
        """Plain YAML-ready data that `Spec.model_validate` turns back into an equal spec."""
        return plain_data(self)

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
    intact = intact_sections(Spec, data, damaged)
    return [(tuple(path.split(".")), text) for path, text in broken_rules(intact)]


def _token_table(spec: Spec) -> tuple[Any, ...]:
    """What decides on the shapes of a token table."""
    return spec.dims.vocab, spec.embedding_width, spec.embeddings.tables.tokens


def _within(changes: Any, path: tuple[str, ...]) -> tuple[str, ...]:
    """A path of a kind's spec, as far as the kind says it."""
    if not path or not isinstance(changes, Mapping) or path[0] not in changes:
        return ()
    return (path[0], *_within(changes[path[0]], path[1:]))


def plain_data(section: BaseModel) -> dict[str, Any]:
    """A section as mappings, lists and scalars."""
    return {key: _lists(value) for key, value in section.model_dump().items()}


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

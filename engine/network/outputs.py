"""What a call returns."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

from torch import Tensor
from torch.utils._pytree import GetAttrKey, register_pytree_node

from engine.memory import Memory

WITHOUT_NUMBER = ("losses", "memory", "aux_loss")
Attentions = tuple[Tensor | tuple[Tensor, Tensor], ...]


# A dict, since accelerate, PEFT and transformers' Trainer look for one; compared by identity, as
# tensors have no truth value.
@dataclass(eq=False)
class Output(dict[str, Any]):
    """Results by the names that the field uses; those that were not asked for are None. All tensors
    are batch first.

    Reads like transformers' outputs: by attribute, by name, or by number. As a mapping it holds the
    fields that are set, in the order of the fields; `losses`, `memory` and `aux_loss`, which
    transformers' outputs lack there, have no number. `aux_loss` is what experts add to `loss`.
    """

    loss: Tensor | None = None
    losses: Tensor | None = None
    logits: Tensor | None = None
    start_logits: Tensor | None = None
    end_logits: Tensor | None = None
    start_top_log_probs: Tensor | None = None
    start_top_index: Tensor | None = None
    end_top_log_probs: Tensor | None = None
    end_top_index: Tensor | None = None
    cls_logits: Tensor | None = None
    last_hidden_state: Tensor | None = None
    pooler_output: Tensor | None = None
    memory: Memory | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: Attentions | None = None
    cross_attentions: tuple[Tensor, ...] | None = None
    encoder_last_hidden_state: Tensor | None = None
    encoder_hidden_states: tuple[Tensor, ...] | None = None
    encoder_attentions: Attentions | None = None
    aux_loss: Tensor | None = None

    @property
    def states(self) -> Tensor:
        """`last_hidden_state`, which every body gives: (b i d), of predictions (b p d)."""
        assert self.last_hidden_state is not None
        return self.last_hidden_state

    def __post_init__(self) -> None:
        if isinstance(self.loss, Mapping):  # how other libraries make an output anew from its items
            given, self.loss = self.loss, None
            for name, value in given.items():
                setattr(self, name, value)

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if value is None:
            self.pop(name, None)
        else:
            super().__setitem__(name, value)

    def __setitem__(self, name: str, value: Any) -> None:
        setattr(self, name, value)

    def __getitem__(self, key: str | int | slice) -> Any:
        if not isinstance(key, str):
            return self.to_tuple()[key]
        if key not in self:
            raise KeyError(
                f"'{key}' is not among the results of this call: {', '.join(self.keys())}"
            )
        return super().__getitem__(key)

    def keys(self) -> list[str]:  # type: ignore[override]
        """Names of the fields that are set, in order."""
        return [field.name for field in fields(self) if field.name in self]

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def values(self) -> list[Any]:  # type: ignore[override]
        """Fields that are set, in order."""
        return [self[name] for name in self.keys()]

    def items(self) -> list[tuple[str, Any]]:  # type: ignore[override]
        """Names of the fields that are set, with their values, in order."""
        return [(name, self[name]) for name in self.keys()]

    def to_tuple(self) -> tuple[Any, ...]:
        """The values that have a number, in the order of the fields."""
        return tuple(value for name, value in self.items() if name not in WITHOUT_NUMBER)


def _flatten(output: Output) -> tuple[list[Any], list[str]]:
    return output.values(), output.keys()


def _unflatten(values: Iterable[Any], names: list[str]) -> Output:
    return Output(**dict(zip(names, values, strict=True)))


def _flatten_with_names(output: Output) -> tuple[list[tuple[Any, Any]], list[str]]:
    return [(GetAttrKey(name), value) for name, value in output.items()], output.keys()


register_pytree_node(
    Output,
    _flatten,
    _unflatten,
    serialized_type_name="engine.Output",
    flatten_with_keys_fn=_flatten_with_names,
)

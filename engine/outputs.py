"""What a call returns."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from engine.memory import Memory

Attentions = tuple[Tensor | tuple[Tensor, Tensor], ...]


@dataclass
class Output:
    """Results by the names that the field uses; those that were not asked for are None. All tensors are batch first.

    Reads like transformers' outputs: by attribute, by name, or by number among the fields that are set.
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
    extra: dict[str, Any] | None = None

    def keys(self) -> list[str]:
        """Names of the fields that are set, in order."""
        return [field.name for field in fields(self) if getattr(self, field.name) is not None]

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __contains__(self, name: str) -> bool:
        return name in self.keys()

    def __getitem__(self, key: str | int | slice) -> Any:
        if isinstance(key, str):
            value = getattr(self, key, None)
            if value is None:
                raise KeyError(f"'{key}' is not among the results of this call: {', '.join(self.keys())}")
            return value
        return self.to_tuple()[key]

    def to_tuple(self) -> tuple[Any, ...]:
        """The values that are set, in the order of the fields."""
        return tuple(getattr(self, name) for name in self.keys())


torch.utils._pytree.register_dataclass(Output)

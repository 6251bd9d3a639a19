"""Weights laid out once for the processor's products, beside the plain ones."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class _Blocks:
    """A weight in oneDNN's blocks, with what it was when they were made."""

    blocks: Tensor
    made_of: tuple[int, int]

    def __reduce__(self) -> tuple[Any, ...]:
        return type(None), ()  # a pickled model is a plain one


def prepack(weights: Iterable[Tensor]) -> None:
    """Copy weights (o i) into oneDNN's blocks, which products without gradients then read."""
    for weight in weights:
        if blocks_of(weight) is weight:
            blocks = torch.ops.mkldnn._reorder_linear_weight(weight.detach(), None)
            weight.blocks = _Blocks(blocks, _state(weight))  # type: ignore[attr-defined]


def unpack(weights: Iterable[Tensor]) -> None:
    """Give the blocks up."""
    for weight in weights:
        if hasattr(weight, "blocks"):
            del weight.blocks


def blocks_of(weight: Tensor) -> Tensor:
    """A weight's blocks, or itself: where it has none, and where it changed since, so that they are given up."""
    known = getattr(weight, "blocks", None)
    if known is None:
        return weight
    if known.made_of == _state(weight):
        return known.blocks
    unpack([weight])
    return weight


def _state(weight: Tensor) -> tuple[int, int]:
    return weight.data_ptr(), 0 if weight.is_inference() else weight._version

"""Weights prepared once for serving, beside the plain ones."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from engine.layer_memory import DistanceKeys


@dataclass
class Prepacked:
    """A weight in oneDNN's `blocks`, with what it was when they were made, and `distances` that it has projected."""

    blocks: Tensor
    made_of: tuple[int, int]
    distances: DistanceKeys | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return type(None), ()  # a pickled model is a plain one


def prepack(weights: Iterable[Tensor]) -> None:
    """Copy weights (o i) into oneDNN's blocks, which products without gradients then read."""
    for weight in weights:
        if prepacked(weight) is None:
            blocks = torch.ops.mkldnn._reorder_linear_weight(weight.detach(), None)
            weight.prepacked = Prepacked(blocks, _state(weight))  # type: ignore[attr-defined]


def unpack(weights: Iterable[Tensor]) -> None:
    """Give up what was prepared."""
    for weight in weights:
        if hasattr(weight, "prepacked"):
            del weight.prepacked


def prepacked(weight: Tensor) -> Prepacked | None:
    """What was prepared of a weight; None where nothing was, and where it changed since: all is then given up."""
    known: Prepacked | None = getattr(weight, "prepacked", None)
    if known is None or known.made_of == _state(weight):
        return known
    unpack([weight])
    return None


def _state(weight: Tensor) -> tuple[int, int]:
    return weight.data_ptr(), 0 if weight.is_inference() else weight._version

"""Weights prepared once for serving, beside the plain ones."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from engine.layer_memory import DistanceKeys


@dataclass
class Prepacked:
    """A weight in oneDNN's `blocks`, and `distances` that it has projected, while it is still `made_of` at `version`.

    Holding what it was made of keeps that memory from being given to other values meanwhile.
    """

    blocks: Tensor
    made_of: Tensor
    version: int
    distances: DistanceKeys | None = None


_KNOWN = WeakTensorKeyDictionary()  # beside the weights, so that copies and files of these stay plain


def prepack(weights: Iterable[Tensor]) -> None:
    """Copy weights (o i) into oneDNN's blocks, which products without gradients then read."""
    for weight in weights:
        blocks = torch.ops.mkldnn._reorder_linear_weight(weight.detach(), None)
        _KNOWN[weight] = Prepacked(blocks, weight.detach(), weight._version)


def unpack(weights: Iterable[Tensor]) -> None:
    """Give up what was prepared."""
    for weight in weights if _KNOWN else ():
        _KNOWN.pop(weight, None)


def prepacked(weight: Tensor) -> Prepacked | None:
    """What was prepared of a weight; None where nothing was, and where it changed since: all is then given up."""
    known: Prepacked | None = _KNOWN.get(weight) if _KNOWN else None
    if known is None or (known.version == weight._version and known.made_of.data_ptr() == weight.data_ptr()):
        return known
    unpack([weight])
    return None

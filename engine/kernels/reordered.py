"""Weights reordered once for inference into oneDNN's blocks, kept beside the plain ones."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary


@dataclass
class Reordered:
    """A weight in oneDNN's `blocks`, valid while the weight is still `source` at `version`.

    Holding the source keeps its memory from being given to other values meanwhile. `distances` are
    keys of relative distances that the weight has projected.
    """

    blocks: Tensor
    source: Tensor
    version: int
    distances: object = None


_KNOWN = WeakTensorKeyDictionary()  # beside the weights, so that their copies and files stay plain


def reorder(weights: Iterable[Tensor]) -> None:
    """Copy weights (o f) into oneDNN's blocks, which products without gradients then read."""
    for weight in weights:
        blocks = torch.ops.mkldnn._reorder_linear_weight(weight.detach(), None)
        _KNOWN[weight] = Reordered(blocks, weight.detach(), weight._version)


def forget(weights: Iterable[Tensor]) -> None:
    """Drop what was reordered."""
    for weight in weights if _KNOWN else ():
        _KNOWN.pop(weight, None)


def reordered(weight: Tensor) -> Reordered | None:
    """What was reordered of a weight; None, and dropped, where the weight has changed since."""
    if not _KNOWN:
        return None
    known: Reordered | None = _KNOWN.get(weight)
    if known is None:
        return None
    if known.version == weight._version and known.source.data_ptr() == weight.data_ptr():
        return known
    forget([weight])
    return None

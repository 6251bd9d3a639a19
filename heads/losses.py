"""What the losses of heads share: checked labels, and means over labels that count."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from engine.arguments import read_tensor
from engine.inputs import expect
from engine.kernels.losses import IGNORED


def one_a_row(name: str, values: Any, like: Tensor) -> Tensor:
    """Values (b) from (b) or (b 1), one for each row of `like`; a given tensor stays as it is.

    Raises InputError for another shape, and for what is no tensor and cannot be read as one.
    """
    rows, values = like.shape[0], read_tensor(name, values, like.device)
    expect(name, values, (rows,), (rows, 1))
    return values.reshape(rows)


def mean_cross_entropy(
    logits: Tensor, labels: Tensor, ignored: int = IGNORED, count: int | Tensor | None = None
) -> Tensor:
    """Mean loss of logits (n c) against labels (n) that are not `ignored`; 0 with a gradient where all are.

    `count` is how many labels the mean is over (None: those that are not ignored).
    """
    total = functional.cross_entropy(wide(logits), labels.long(), ignore_index=ignored, reduction="sum")
    if count is None:
        count = (labels != ignored).sum().clamp(min=1)
    return total / count


def wide(values: Tensor) -> Tensor:
    """Half precision as float32, so that a sum over many of them stays exact; others unchanged."""
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values

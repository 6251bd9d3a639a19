"""What the losses of heads share: checked labels, and means over labels that count."""

import torch
from torch import Tensor
from torch.nn import functional

from engine.inputs import expect
from engine.kernels.losses import IGNORED


def one_a_row(name: str, values: Tensor, rows: int) -> Tensor:
    """Values (b) from (b) or (b 1); the given tensor stays as it is (raises InputError for another shape)."""
    expect(name, values, (rows,), (rows, 1))
    return values.reshape(rows)


def mean_cross_entropy(logits: Tensor, labels: Tensor, ignored: int = IGNORED) -> Tensor:
    """Mean loss of logits (n c) against labels (n) that are not `ignored`; 0 with a gradient where all are."""
    total = functional.cross_entropy(wide(logits), labels.long(), ignore_index=ignored, reduction="sum")
    return total / (labels != ignored).sum().clamp(min=1)


def wide(values: Tensor) -> Tensor:
    """Half precision as float32, so that a sum over many of them stays exact; others unchanged."""
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values

"""What the losses of heads share: checked labels, and means over labels that count."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from engine.arguments import expect, read_tensor
from engine.errors import InputError
from engine.kernels.losses import IGNORED
from engine.network.outputs import Output


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
    """Mean loss of logits (n c) against labels (n) that are not `ignored`; 0 with a gradient where
    all are.

    `count` is how many labels the mean is over (None: those that are not ignored).
    """
    total = functional.cross_entropy(
        wide(logits), labels.long(), ignore_index=ignored, reduction="sum"
    )
    if count is None:
        return total / (labels != ignored).sum().clamp(min=1)
    return total / read_total(count)


def read_total(given: int | Tensor) -> int | Tensor:
    """The labels of all calls of one step (`num_items_in_batch`), a number above 0 (raises
    InputError).
    """
    number: object = given
    if isinstance(given, Tensor) and given.numel() == 1:
        number = given.item()
    if (
        isinstance(number, bool)
        or not isinstance(number, int | float)
        or not 0 < number < float("inf")
    ):
        raise InputError(
            f"num_items_in_batch is {given!r}, expected the number of labels of all calls of a step"
        )
    return given


def wide(values: Tensor) -> Tensor:
    """Half precision as float32, so that a sum over many of them stays exact; others unchanged."""
    if values.dtype in (torch.float16, torch.bfloat16):
        return values.float()
    return values


def scale_aux_loss(result: Output, labels: Tensor, count: int | Tensor) -> None:
    """Make what experts add to the loss this call's share of a step over `count` labels."""
    if result.aux_loss is not None:
        result.aux_loss = result.aux_loss * ((labels != IGNORED).sum() / read_total(count))

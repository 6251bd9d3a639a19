"""Translation language modelling: masked tokens of a sentence and its translation."""

from collections.abc import Sequence

import torch
from torch import Tensor

from engine.errors import InputError
from engine.training.data.rows import Integers, Row
from engine.training.objectives.base import Batch, Frame
from engine.training.objectives.masked import Masked, Masking


class Translation(Masked):
    """Masked language modelling over pairs (Lample and Conneau 2019, 3.4).

    With `reset` the positions of the second sentence begin at 0 again.
    """

    def __init__(self, frame: Frame, masking: Masking, *, reset: bool = True) -> None:
        super().__init__(frame, masking)
        self.reset = reset

    def _finish(self, rows: Sequence[Row], corrupted: Tensor, labels: Tensor) -> Batch:
        batch = super()._finish(rows, corrupted, labels)
        if self.reset:
            edge = int(self.frame.side == "right")
            types = self.frame.lay([second_of(row) for row in rows], edge)
            real = batch.inputs.get("attention_mask")
            batch.inputs["position_ids"] = reset_positions(types, real)
        return batch


def second_of(row: Row) -> Integers:
    """Token types (i) of a row, which say where its second text begins; raises InputError."""
    if row.token_types is None:
        raise InputError(
            f"{row.source or 'a row'} has no token types: translation needs pairs, whose format "
            "says where the second text begins"
        )
    return row.token_types


def reset_positions(second: Tensor, attention_mask: Tensor | None = None) -> Tensor:
    """Positions (b i) of translation language modelling: they start again where `second` (b i)
    turns from 0 to 1.

    XLM joins a sentence and its translation, each from position 0 (arXiv:1901.07291, 3.4). Padding
    on the left, which `attention_mask` (b i) names, is not counted.
    """
    counted = torch.arange(second.shape[1], device=second.device).expand_as(second)
    before_second = (second == 0).long().cumprod(dim=1).sum(dim=1, keepdim=True)
    first = counted
    if attention_mask is not None:
        padding = (attention_mask == 0).long().cumprod(dim=1).sum(dim=1, keepdim=True)
        first = (counted - padding).clamp(min=0)
    return torch.where(second > 0, counted - before_second, first)

"""Causal language modelling: the next token at every place."""

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from engine.arguments import read_device, read_ids, read_mask
from engine.errors import InputError
from engine.kernels.losses import IGNORED
from engine.training.data.draws import Draws
from engine.training.data.rows import Integers, Row
from engine.training.objectives.base import Batch, Frame, make_batch


class Causal:
    """The next token of each text at every place, the end of the text included."""

    head = "causal_lm"
    whole = False

    def __init__(self, frame: Frame) -> None:
        self.frame = frame

    def batch(self, rows: Sequence[Row], draws: Draws) -> Batch:
        """Labels are aligned with the tokens: `shift_labels` of the causal head."""
        inputs = self.frame.inputs(rows)
        labels = [next_tokens(row) for row in rows]
        inputs["shift_labels"] = self.frame.lay(labels, IGNORED)
        return make_batch(inputs, range(len(rows)))

    def evaluation(self, rows: Sequence[Row], draws: Draws) -> Batch:
        """As in training: nothing is drawn."""
        return self.batch(rows, draws)


def next_tokens(row: Row) -> Integers:
    """The token after each one (i), as the row says it; else -100 at the end of each text."""
    if row.next_ids is not None:
        return row.next_ids
    following = np.append(row.ids[1:], IGNORED)[: len(row.ids)]
    if row.texts is not None:
        following[np.flatnonzero(np.diff(row.texts))] = IGNORED
    return following


def causal_labels(input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
    """Labels (b i) of causal language modelling, which the head shifts: the ids, -100 at padding.

    Raises InputError for what are no ids, or a mask that does not fit them.
    """
    input_ids = read_ids("input_ids", input_ids, read_device(None))
    if attention_mask is None:
        return input_ids.clone()
    attention_mask = read_mask("attention_mask", attention_mask, input_ids.device)
    same_shape("attention_mask", attention_mask, input_ids)
    return input_ids.masked_fill(attention_mask == 0, IGNORED)


def same_shape(name: str, tensor: Tensor, input_ids: Tensor) -> None:
    """Raise InputError for a tensor that does not lie on the ids place by place."""
    if tensor.shape != input_ids.shape:
        raise InputError(
            f"{name} has shape {tuple(tensor.shape)}, expected {tuple(input_ids.shape)}"
        )
    if tensor.device != input_ids.device:
        raise InputError(f"{name} lies on {tensor.device}, and the ids on {input_ids.device}")

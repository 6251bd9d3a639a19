"""Which of several continuations fits a text."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from engine.errors import InputError
from engine.network.outputs import Output
from engine.training.data.rows import Row
from engine.training.tasks.base import Entry, Record, Task, entry_of


class Choices(Task):
    """Columns `text`, `choices` (a list, of one length in all rows) and `label`, the number of the
    right one from 0.
    """

    head = "multiple_choice"

    def __call__(self, record: Record) -> Entry:
        text, choices = self.columns.text(record, "text"), self.columns.read(record, "choices")
        if not isinstance(choices, list) or len(choices) < 2:
            raise InputError(f"{record.get('source')}: choices are a list of at least two texts")
        parts = [entry_of(self.encode(record, text, choice)) for choice in choices]
        # The choices of an example stand in one row, one after the other.
        whole = {name: [value for part in parts for value in part[name]] for name in parts[0]}
        return {**whole, "sizes": [len(part["input_ids"]) for part in parts]}

    def inputs(self, rows: Sequence[Row]) -> dict[str, Any]:
        parts = [_parts(row) for row in rows]
        counts = {len(part) for part in parts}
        if len(counts) > 1:
            raise InputError(
                f"{rows[0].source} and others: {sorted(counts)} choices in one batch, expected as many in each row"
            )
        flat = super().inputs([part for each in parts for part in each])
        shape = (len(rows), counts.pop())
        return {
            name: value.unflatten(0, shape) if isinstance(value, Tensor) else value
            for name, value in flat.items()
        }

    def labels(self, rows: Sequence[Row], inputs: dict[str, Any]) -> tuple[dict[str, Tensor], int]:
        return {"labels": torch.tensor([self._answer(row) for row in rows])}, len(rows)

    def _answer(self, row: Row) -> int:
        value = self.columns.of_row(row, "label")
        count = len(_sizes(row))
        try:
            number = int(value)
        except (TypeError, ValueError):
            number = -1
        if not 0 <= number < count:
            raise InputError(
                f"{row.source}: label is {value!r}, expected the number of a choice, 0 … {count - 1}"
            )
        return number

    def predict(self, output: Output, rows: Sequence[Row]) -> list[Any]:
        assert output.logits is not None
        chosen: list[Any] = output.logits.argmax(-1).tolist()
        return chosen

    def measure(self, predictions: Sequence[Any], rows: Sequence[Row]) -> dict[str, float]:
        right = [found == self._answer(row) for found, row in zip(predictions, rows, strict=True)]
        return {"accuracy": sum(right) / max(1, len(right))}


def _sizes(row: Row) -> list[int]:
    sizes: Any = row.fields["sizes"]
    return list(sizes)


def _parts(row: Row) -> list[Row]:
    """A row for each choice."""
    ends = np.cumsum(_sizes(row))
    if ends[-1] != len(row.ids):
        raise InputError(
            f"{row.source}: the choices of a row are cut at data.layout.length: set task.length, which cuts each of them"
        )
    found = []
    for start, end in zip([0, *ends[:-1]], ends, strict=True):
        arrays: dict[str, Any] = {
            name: None if (value := getattr(row, name)) is None else value[start:end]
            for name in ("ids", "special", "words", "token_types", "languages")
        }
        found.append(replace(row, **arrays))
    return found

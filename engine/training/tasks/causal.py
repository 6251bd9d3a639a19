"""A continuation of a prompt: the prompt is read, only the answer is asked."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from engine.kernels.losses import IGNORED
from engine.network.outputs import Output
from engine.training.data.collate import stack
from engine.training.data.rows import Row
from engine.training.tasks.base import Entry, Record, Task, entry_of, per_token


class CausalAnswers(Task):
    """Columns `prompt` and `answer`; the end token is asked after the answer."""

    head = "causal_lm"

    def __call__(self, record: Record) -> Entry:
        prompt, answer = (self.columns.text(record, role) for role in ("prompt", "answer"))
        encoding = self.encode(record, prompt + answer, return_offsets_mapping=True)
        entry = entry_of(encoding)
        asked = [int(stop > len(prompt)) for _, stop in encoding["offset_mapping"]]
        end = self.tokenizer.eos_id
        if end is not None and entry["input_ids"][-1] != end:
            for name, value in entry.items():
                entry[name] = [*value, end if name == "input_ids" else value[-1]]
            asked.append(1)
        return {**entry, "asked": asked}

    def labels(self, rows: Sequence[Row], inputs: dict[str, Any]) -> tuple[dict[str, Tensor], int]:
        assert self.frame is not None
        labels = stack([_following(row) for row in rows], IGNORED, self.frame.side)
        return {"shift_labels": labels}, int((labels != IGNORED).sum())

    def predict(self, output: Output, rows: Sequence[Row]) -> list[Any]:
        losses = output.losses
        assert losses is not None
        return losses.sum(1).tolist()

    def measure(self, predictions: Sequence[Any], rows: Sequence[Row]) -> dict[str, float]:
        return {}


def _following(row: Row) -> Any:
    """The token after each one (i), -100 where it belongs to the prompt."""
    asked = np.array(per_token(row, "asked"), dtype=bool)
    found = np.full(len(row.ids), IGNORED, dtype=np.int64)
    found[:-1] = np.where(asked[1:], row.ids[1:], IGNORED)
    return found

"""A label, several labels or a number for a text or a pair of texts."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from engine.errors import InputError, nearest
from engine.network.outputs import Output
from engine.training.data.rows import Row
from engine.training.tasks.base import Columns, Entry, Record, Task, entry_of
from tokenization import Tokenizer
from tokenization.extras import import_extra

Problem = Literal["single", "multiple", "regression"]
PURPOSE = "Metrics"
PROBLEM_TYPES = {
    "single": "single_label_classification",
    "multiple": "multi_label_classification",
    "regression": "regression",
}


class Classification(Task):
    """Columns `text`, `pair` of a task over pairs, and `label`: a name, a list of names, or a
    number.
    """

    head = "sequence_classification"

    def __init__(
        self,
        tokenizer: Tokenizer,
        columns: Columns,
        length: int | None,
        *,
        problem: Problem,
        names: Sequence[str],
        paired: bool,
    ) -> None:
        super().__init__(tokenizer, columns, length)
        self.problem, self.names, self.paired = problem, tuple(names), paired
        self.ids = {name: number for number, name in enumerate(self.names)}
        kind = PROBLEM_TYPES[problem]
        self.options = {"num_labels": 1, "problem_type": kind}
        if problem != "regression":
            self.options = {**named_labels(self.names), "problem_type": kind}

    @property
    def key(self) -> str:
        return json.dumps([super().key, self.paired])

    def __call__(self, record: Record) -> Entry:
        texts = [self.columns.text(record, "text")]
        if self.paired:
            texts.append(self.columns.text(record, "pair"))
        return entry_of(self.encode(record, *texts))

    def check(self, records: Any) -> None:
        if self.problem != "regression":
            check_known(names_of(records, self.columns, "label"), self.ids)

    def labels(self, rows: Sequence[Row], inputs: dict[str, Any]) -> tuple[dict[str, Tensor], int]:
        return {"labels": self.answers(rows)}, len(rows)

    def answers(self, rows: Sequence[Row]) -> Tensor:
        """Label ids (b), zeros and ones (b n) for several labels, or numbers (b)."""
        given = [self.columns.of_row(row, "label") for row in rows]
        if self.problem == "regression":
            return torch.tensor([_number(v, row) for v, row in zip(given, rows, strict=True)])
        if self.problem == "single":
            ids = [label_id(self.ids, v, row) for v, row in zip(given, rows, strict=True)]
            return torch.tensor(ids)
        table = torch.zeros(len(rows), len(self.names))
        for line, (values, row) in enumerate(zip(given, rows, strict=True)):
            for value in values:
                table[line, label_id(self.ids, value, row)] = 1.0
        return table

    def predict(self, output: Output, rows: Sequence[Row]) -> list[Any]:
        assert output.logits is not None
        logits = output.logits.float()
        if self.problem == "regression":
            numbers: list[Any] = logits.flatten().tolist()
            return numbers
        if self.problem == "single":
            return [self.names[number] for number in logits.argmax(-1).tolist()]
        chosen = (logits > 0).tolist()
        return [[n for n, one in zip(self.names, line, strict=True) if one] for line in chosen]

    def measure(self, predictions: Sequence[Any], rows: Sequence[Row]) -> dict[str, float]:
        functional = import_extra("torchmetrics.functional", "train", PURPOSE)
        wanted = self.answers(rows)
        if self.problem == "regression":
            found = torch.tensor(predictions)
            return {
                "pearson": float(functional.pearson_corrcoef(found, wanted)),
                "spearman": float(functional.spearman_corrcoef(found, wanted)),
                "mean_squared_error": float(functional.mean_squared_error(found, wanted)),
            }
        count = len(self.names)
        if self.problem == "multiple":
            found = torch.zeros_like(wanted)
            for line, names in enumerate(predictions):
                found[line, [self.ids[name] for name in names]] = 1.0
            kinds: dict[str, Any] = {"task": "multilabel", "num_labels": count}
            return {
                "accuracy": float((found == wanted).all(1).float().mean()),
                "f1_macro": float(
                    functional.f1_score(found, wanted.long(), average="macro", **kinds)
                ),
                "f1_micro": float(
                    functional.f1_score(found, wanted.long(), average="micro", **kinds)
                ),
            }
        found = torch.tensor([self.ids[name] for name in predictions])
        kinds = {"task": "multiclass", "num_classes": max(2, count)}
        return {
            "accuracy": float((found == wanted).float().mean()),
            "f1_macro": float(functional.f1_score(found, wanted, average="macro", **kinds)),
            "f1_micro": float(functional.f1_score(found, wanted, average="micro", **kinds)),
            "matthews": float(functional.matthews_corrcoef(found, wanted, **kinds)),
        }


def named_labels(names: Sequence[str]) -> dict[str, Any]:
    """The options of a head whose labels have these names."""
    return {
        "num_labels": len(names),
        "id2label": dict(enumerate(names)),
        "label2id": {name: number for number, name in enumerate(names)},
    }


def names_in(values: Iterable[Any]) -> tuple[str, ...]:
    """The names that occur among labels or lists of them, in order: numbers by size, then words."""
    found: dict[Any, None] = {}
    for value in values:
        parts = value if isinstance(value, list | tuple) else [value]
        found.update(dict.fromkeys(part for part in parts if part is not None))
    numbers = sorted(label for label in found if isinstance(label, int | float))
    words = sorted(str(label) for label in found if not isinstance(label, int | float))
    return tuple(dict.fromkeys([*map(str, numbers), *words]))


def names_of(records: Any, columns: Columns, role: str) -> tuple[str, ...]:
    """The names in a column of all records."""
    return names_in(columns.read(records[number], role) for number in range(len(records)))


def check_known(found: Iterable[str], known: Mapping[str, int]) -> None:
    """Raise InputError for names of held-out examples that training does not have."""
    for name in found:
        if name not in known:
            raise InputError(
                f"the held-out examples have the label '{name}', which the training ones lack"
                f"{nearest(name, known)}"
            )


def label_id(ids: Mapping[str, int], value: Any, row: Row) -> int:
    """The number of a label; raises InputError with file and line for one that is not known."""
    name = str(value)
    if name not in ids:
        raise InputError(
            f"{row.source}: the label '{name}' is none of those learned{nearest(name, ids)}"
        )
    return ids[name]


def _number(value: Any, row: Row) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise InputError(f"{row.source}: label is {value!r}, expected a number") from None

"""A label for each word, as for names of persons and places."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from engine.errors import InputError
from engine.kernels.losses import IGNORED
from engine.network.outputs import Output
from engine.training.data.collate import stack
from engine.training.data.rows import Row
from engine.training.tasks.base import Columns, Entry, Record, Task, entry_of, per_token
from engine.training.tasks.classification import (
    PURPOSE,
    check_known,
    label_id,
    named_labels,
    names_of,
)
from tokenization import Tokenizer
from tokenization.extras import import_extra

OUTSIDE = "O"


class TokenLabels(Task):
    """Columns `words` and `labels`, lists of one length.

    The label of a word stands at its first token, or at all of them, where a beginning (`B-`) goes
    on as an inside (`I-`). Words that are cut off count as outside.
    """

    head = "token_classification"

    def __init__(
        self,
        tokenizer: Tokenizer,
        columns: Columns,
        length: int | None,
        *,
        names: Sequence[str],
        label_on: Literal["first", "all"],
        scheme: Literal["iob2", "none"],
    ) -> None:
        super().__init__(tokenizer, columns, length)
        self.names, self.label_on, self.scheme = tuple(names), label_on, scheme
        self.ids = {name: number for number, name in enumerate(self.names)}
        self.options = named_labels(self.names)
        for name in self.names:
            if scheme == "iob2" and name != OUTSIDE and not name.startswith(("B-", "I-")):
                raise InputError(
                    f"the label '{name}' is not IOB2, where names begin with B- or I- and all else "
                    "is O: set task.scheme to none"
                )

    def __call__(self, record: Record) -> Entry:
        words, labels = (self.columns.read(record, role) for role in ("words", "labels"))
        if not isinstance(words, list) or not isinstance(labels, list):
            raise InputError(
                f"{record.get('source')}: words and labels are lists, one label a word"
            )
        if len(words) != len(labels):
            raise InputError(
                f"{record.get('source')}: {len(words)} words and {len(labels)} labels, expected one a word"
            )
        encoding = self.encode(record, words, is_split_into_words=True)
        of_word = [-1 if word is None else word for word in encoding.word_ids()]
        return entry_of(encoding, of_word=of_word, words=_firsts(of_word))

    def check(self, records: Any) -> None:
        check_known(names_of(records, self.columns, "labels"), self.ids)

    def labels(self, rows: Sequence[Row], inputs: dict[str, Any]) -> tuple[dict[str, Tensor], int]:
        assert self.frame is not None
        side = self.frame.side
        labels = stack([self._row(row).numpy() for row in rows], IGNORED, side)
        return {"labels": labels}, int((labels != IGNORED).sum())

    def _row(self, row: Row) -> Tensor:
        of_word, given = _of_word(row), self._given(row)
        found = torch.full((len(row.ids),), IGNORED)
        for place, first in enumerate(_firsts(of_word)):
            if of_word[place] < 0 or not (first or self.label_on == "all"):
                continue
            name = given[of_word[place]]
            if not first and name.startswith("B-") and f"I-{name[2:]}" in self.ids:
                name = f"I-{name[2:]}"
            found[place] = label_id(self.ids, name, row)
        return found

    def _given(self, row: Row) -> list[str]:
        labels = self.columns.of_row(row, "labels")
        return [str(label) for label in labels]

    def predict(self, output: Output, rows: Sequence[Row]) -> list[Any]:
        assert self.frame is not None
        assert output.logits is not None
        best = output.logits.argmax(-1).tolist()
        predictions = []
        for line, row in zip(best, rows, strict=True):
            start = len(line) - len(row.ids) if self.frame.side == "left" else 0
            of_word = _of_word(row)
            outside = OUTSIDE if OUTSIDE in self.ids else self.names[0]
            words = [outside] * len(self._given(row))
            for place, first in enumerate(_firsts(of_word)):
                if first:
                    words[of_word[place]] = self.names[line[start + place]]
            predictions.append(words)
        return predictions

    def measure(self, predictions: Sequence[Any], rows: Sequence[Row]) -> dict[str, float]:
        wanted = [self._given(row) for row in rows]
        pairs = [(a, b) for x, y in zip(wanted, predictions, strict=True) for a, b in zip(x, y)]
        accuracy = sum(a == b for a, b in pairs) / max(1, len(pairs))
        if self.scheme == "none":
            return {"accuracy": accuracy}
        seqeval = import_extra("seqeval.metrics", "train", PURPOSE)
        scheme = import_extra("seqeval.scheme", "train", PURPOSE)
        how = {"mode": "strict", "scheme": scheme.IOB2, "zero_division": 0}
        found = [list(line) for line in predictions]
        return {
            "f1": float(seqeval.f1_score(wanted, found, **how)),
            "precision": float(seqeval.precision_score(wanted, found, **how)),
            "recall": float(seqeval.recall_score(wanted, found, **how)),
            "accuracy": accuracy,
        }


def _of_word(row: Row) -> list[int]:
    """The word of each token that the row still has, -1 for special tokens."""
    return per_token(row, "of_word")


def _firsts(of_word: Sequence[int]) -> list[bool]:
    """True where the first token of a word stands."""
    seen: set[int] = {-1}
    found = []
    for word in of_word:
        found.append(word not in seen)
        seen.add(word)
    return found

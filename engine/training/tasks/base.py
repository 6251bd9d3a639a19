"""What all tasks share: columns by their role, encoding, batches, predictions and their file."""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from engine.errors import InputError, nearest
from engine.model import Model
from engine.network.head import Head
from engine.network.outputs import Output
from engine.training.data.draws import Draws
from engine.training.data.rows import Row
from engine.training.objectives.base import Batch, Frame, make_frame
from tokenization import Tokenizer
from tokenization.files.staging import write_whole

Record = Mapping[str, Any]
Entry = dict[str, Any]
# Columns that stand beside a prediction in its file.
TOLD = ("id", "label", "labels", "answers", "answer")


@dataclass(frozen=True)
class Columns:
    """Which column of a table holds what; roles that are not named are columns of that name."""

    fields: Mapping[str, str]

    def read(self, record: Record, role: str) -> Any:
        """The value of a role; raises InputError with file and line where it is missing."""
        name = self.fields.get(role, role)
        value = record.get(name)
        if value is None:
            columns = [known for known in record if known != "source"]
            raise InputError(
                f"{record.get('source', 'a record')}: no {role} in the column '{name}'"
                f"{nearest(name, columns)}; say which column it is: fields: {{{role}: …}}"
            )
        return value

    def of_row(self, row: Row, role: str) -> Any:
        """The value of a role in the record that a row was made of."""
        return self.read({"source": row.source, **row.fields}, role)

    def text(self, record: Record, role: str) -> str:
        """The text of a role."""
        value = self.read(record, role)
        if not isinstance(value, str):
            kind = type(value).__name__
            raise InputError(f"{record.get('source')}: {role} is a {kind}, expected a text")
        return value


class Task(ABC):
    """Examples with answers: encoded once, asked in batches, decoded to predictions and metrics.

    `head` is the head that it trains, `options` are what that head is built with. `length` is the
    most tokens of a row.
    """

    head: str
    whole = False
    options: Mapping[str, Any] = {}
    wanted: tuple[str, ...] = ()

    def __init__(self, tokenizer: Tokenizer, columns: Columns, length: int | None) -> None:
        self.tokenizer, self.columns, self.length = tokenizer, columns, length
        self.frame: Frame | None = None
        self.trained: Head | None = None

    def bind(self, model: Model) -> None:
        """Make calls of this model."""
        self.frame, self.trained = make_frame(model.spec, self.tokenizer), model.head

    @property
    def key(self) -> str:
        """What the tokens of an example depend on beside text and tokenizer."""
        return json.dumps([type(self).__name__, dict(self.columns.fields), self.length])

    @abstractmethod
    def __call__(self, record: Record) -> Entry | list[Entry]:
        """The tokens of an example, as `tokenise` takes them."""

    @abstractmethod
    def labels(self, rows: Sequence[Row], inputs: dict[str, Any]) -> tuple[dict[str, Tensor], int]:
        """The labels of rows, by the head's names, and how many targets they are."""

    @abstractmethod
    def predict(self, output: Output, rows: Sequence[Row]) -> list[Any]:
        """One prediction a row."""

    @abstractmethod
    def measure(self, predictions: Sequence[Any], rows: Sequence[Row]) -> dict[str, float]:
        """All metrics by name."""

    def score(self, predictions: Sequence[Any], rows: Sequence[Row]) -> dict[str, float]:
        """The metrics that the recipe asks for, all where it names none."""
        found = self.measure(predictions, rows)
        if self.wanted:
            found = {name: value for name, value in found.items() if name in self.wanted}
        return found

    def lines(self, predictions: Sequence[Any], rows: Sequence[Row]) -> list[dict[str, Any]]:
        """Each prediction with where its row stands and what was wanted."""
        return [
            {
                "source": row.source,
                **{name: row.fields[name] for name in TOLD if name in row.fields},
                "prediction": predicted,
            }
            for predicted, row in zip(predictions, rows, strict=True)
        ]

    def check(self, records: Any) -> None:
        """Raise InputError for held-out examples that the task cannot ask."""
        if not len(records):
            raise InputError("data.held_out holds no examples")

    def inputs(self, rows: Sequence[Row]) -> dict[str, Any]:
        """The rows as arguments of a call, without labels."""
        assert self.frame is not None
        inputs = self.frame.inputs(rows)
        if self.frame.spec.memory.kind != "none":
            inputs["use_memory"] = False
        return inputs

    def batch(self, rows: Sequence[Row], draws: Draws) -> Batch:
        """The rows as one call with labels."""
        inputs = self.inputs(rows)
        labels, targets = self.labels(rows, inputs)
        return Batch({**inputs, **labels}, targets, tuple(range(len(rows))))

    def evaluation(self, rows: Sequence[Row], draws: Draws) -> Batch:
        """As in training: nothing is drawn."""
        return self.batch(rows, draws)

    def encode(self, record: Record, *texts: Any, **settings: Any) -> Any:
        """A call of the tokenizer on the texts of a record, cut at `length`."""
        language = record.get("language")
        if language is not None and self.tokenizer.options.languages:
            settings["lang"] = language
        if self.length is not None:
            settings = {"truncation": True, "max_length": self.length, **settings}
        return self.tokenizer(*texts, return_special_tokens_mask=True, **settings)


def per_token(row: Row, name: str) -> list[Any]:
    """A field with one value for each token of the text, at the tokens that the row still has."""
    values: Any = row.fields[name]
    places: Any = row.fields.get("places")
    if places is None:
        return list(values)
    return [values[place] for place in places]


def entry_of(encoding: Mapping[str, Any], **fields: Any) -> Entry:
    """What of an encoding is kept with a row, and further fields."""
    names = ("input_ids", "token_type_ids", "special_tokens_mask", "langs")
    return {name: encoding[name] for name in names if name in encoding} | fields


def write_predictions(lines: Iterable[Mapping[str, Any]], path: Path) -> None:
    """One JSON object a line."""

    def write(place: Path) -> None:
        with place.open("w", encoding="utf-8") as file:
            for line in lines:
                file.write(json.dumps(line, ensure_ascii=False, default=str) + "\n")

    write_whole(path, write)

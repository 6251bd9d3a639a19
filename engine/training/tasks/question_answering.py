"""The span of a text that answers a question, over overlapping windows (Rajpurkar et al. 2016)."""

import collections
import json
import re
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from engine.errors import InputError
from engine.network.outputs import Output
from engine.training.data.draws import Draws
from engine.training.data.rows import Row
from engine.training.objectives.base import Batch
from engine.training.tasks.base import Columns, Entry, Record, Task, entry_of
from tokenization import Tokenizer

NO_ANSWER = ""


@dataclass(frozen=True)
class Candidate:
    """A span of the context in characters, and its score."""

    start: int
    stop: int
    score: float


class Questions(Task):
    """Columns `question`, `context`, `answers` ({text: […], answer_start: […]}) and `id`.

    A context longer than a row becomes windows that overlap by `stride` tokens; a window without
    the answer asks for the classification token. Of the `best` spans of at most `longest` tokens
    of all windows the likeliest is the answer; with `no_answer`, none where that is likelier.
    """

    def __init__(  # noqa: PLR0913
        self,
        tokenizer: Tokenizer,
        columns: Columns,
        length: int,
        *,
        stride: int,
        best: int,
        longest: int,
        no_answer: bool,
        head: str,
    ) -> None:
        super().__init__(tokenizer, columns, length)
        self.stride, self.best, self.longest, self.no_answer = stride, best, longest, no_answer
        self.head = head

    @property
    def key(self) -> str:
        return json.dumps([super().key, self.stride, self.no_answer])

    def __call__(self, record: Record) -> list[Entry]:
        question, context = (self.columns.text(record, role) for role in ("question", "context"))
        answer = _first_answer(self.columns.read(record, "answers"), context, record)
        if answer is None and not self.no_answer:
            raise InputError(
                f"{record.get('source')}: a question without an answer needs task.no_answer: true"
            )
        encoding = self.encode(
            record,
            question,
            context,
            truncation="only_second",
            stride=self.stride,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
            return_sequence_ids=True,
        )
        windows = [dict(zip(encoding, values)) for values in zip(*encoding.values(), strict=True)]
        return [self._window(window, answer) for window in windows]

    def _window(self, window: Mapping[str, Any], answer: tuple[int, int] | None) -> Entry:
        """One window with the spans of its tokens in the context, (-1, -1) elsewhere."""
        spans = [
            list(span) if sequence == 1 else [-1, -1]
            for span, sequence in zip(window["offset_mapping"], window["sequence_ids"], strict=True)
        ]
        nowhere = _classification_place(self.tokenizer, window["input_ids"])
        start = stop = nowhere
        if answer is not None:
            inside = [
                place
                for place, (first, last) in enumerate(spans)
                if first < answer[1] and last > answer[0] and first >= 0
            ]
            if inside and spans[inside[0]][0] <= answer[0] and spans[inside[-1]][1] >= answer[1]:
                start, stop = inside[0], inside[-1]
        return entry_of(window, spans=spans, start=start, stop=stop, nowhere=nowhere)

    def labels(self, rows: Sequence[Row], inputs: dict[str, Any]) -> tuple[dict[str, Tensor], int]:
        shifts = self._shifts(rows, inputs["input_ids"].shape[1])
        starts = [shift + _number(row, "start") for row, shift in zip(rows, shifts, strict=True)]
        stops = [shift + _number(row, "stop") for row, shift in zip(rows, shifts, strict=True)]
        labels: dict[str, Any] = {
            "start_positions": torch.tensor(starts),
            "end_positions": torch.tensor(stops),
        }
        if self.head == "beam_question_answering":
            assert self.frame is not None
            nowhere = [_number(row, "nowhere") for row in rows]
            places = [shift + place for place, shift in zip(nowhere, shifts, strict=True)]
            labels["cls_index"] = torch.tensor(places)
            none = [float(_number(row, "start") == place) for row, place in zip(rows, nowhere)]
            labels |= {"is_impossible": torch.tensor(none), "output_spans": True}
        return labels, len(rows)

    def batch(self, rows: Sequence[Row], draws: Draws) -> Batch:
        for row in rows:
            if "places" in row.fields:
                raise InputError(
                    f"{row.source}: the windows of a question are cut by task.length and "
                    "task.stride: leave data.layout out"
                )
        return super().batch(rows, draws)

    def _shifts(self, rows: Sequence[Row], length: int) -> list[int]:
        """How many places of padding stand before each row."""
        assert self.frame is not None
        if self.frame.side == "right":
            return [0] * len(rows)
        return [length - len(row.ids) for row in rows]

    def predict(self, output: Output, rows: Sequence[Row]) -> list[Any]:
        """The candidates of each window, best first, and the score of there being none."""
        if output.start_logits is None or output.end_logits is None:
            return self._from_beams(output, rows)
        length = output.start_logits.shape[1]
        shifts = self._shifts(rows, length)
        first = output.start_logits.float().log_softmax(-1).cpu()
        last = output.end_logits.float().log_softmax(-1).cpu()
        return [
            self._candidates(row, first[line, shift:], last[line, shift:])
            for line, (row, shift) in enumerate(zip(rows, shifts, strict=True))
        ]

    def _candidates(self, row: Row, first: Tensor, last: Tensor) -> tuple[list[Candidate], float]:
        spans: Any = row.fields["spans"]
        allowed = torch.tensor([span[0] >= 0 for span in spans])
        count = len(allowed)
        scores = first[:count, None] + last[None, :count]
        place = torch.arange(count)
        wrong = place[:, None] > place[None, :]
        wrong |= place[None, :] - place[:, None] >= self.longest
        wrong |= ~allowed[:, None] | ~allowed[None, :]
        scores = scores.masked_fill(wrong, -torch.inf).flatten()
        values, chosen = scores.topk(min(self.best, count * count))
        found = []
        for value, number in zip(values.tolist(), chosen.tolist(), strict=True):
            if value > -torch.inf:
                start, stop = divmod(number, count)
                found.append(Candidate(spans[start][0], spans[stop][1], value))
        nowhere = _number(row, "nowhere")
        return found, float(first[nowhere] + last[nowhere])

    def _from_beams(self, output: Output, rows: Sequence[Row]) -> list[Any]:
        assert self.frame is not None
        assert output.cls_logits is not None
        none = output.cls_logits.float().tolist()
        width = max(len(row.ids) for row in rows)
        shifts = self._shifts(rows, width)
        found: list[Any] = []
        head: Any = self.trained
        ranked = head.best_spans(output, self.best, self.longest)
        for row, shift, best, missing in zip(rows, shifts, ranked, none, strict=True):
            spans: Any = row.fields["spans"]
            inside = [
                Candidate(spans[one.start - shift][0], spans[one.end - shift][1], one.score)
                for one in best
                if shift <= one.start
                and one.end - shift < len(spans)
                and spans[one.start - shift][0] >= 0
                and spans[one.end - shift][0] >= 0
            ]
            found.append((inside, missing))
        return found

    def answers(self, predictions: Sequence[Any], rows: Sequence[Row]) -> dict[str, str]:
        """The answer to each question, by its id, from the windows of its context."""
        best: dict[str, tuple[float, str]] = {}
        none: dict[str, float] = {}
        for (candidates, missing), row in zip(predictions, rows, strict=True):
            name, context = self._name(row), str(self.columns.of_row(row, "context"))
            none[name] = min(missing, none.get(name, missing))
            best.setdefault(name, (-torch.inf, NO_ANSWER))
            for one in candidates[:1]:
                if one.score > best[name][0]:
                    best[name] = (one.score, context[one.start : one.stop])
        found = {}
        for name, (score, text) in best.items():
            likelier = none[name] > (0.0 if self.head == "beam_question_answering" else score)
            found[name] = NO_ANSWER if self.no_answer and likelier else text
        return found

    def measure(self, predictions: Sequence[Any], rows: Sequence[Row]) -> dict[str, float]:
        found = self.answers(predictions, rows)
        exact, overlap = 0.0, 0.0
        wanted = {self._name(row): self.columns.of_row(row, "answers") for row in rows}
        for name, answers in wanted.items():
            texts = list(answers["text"]) or [NO_ANSWER]
            exact += max(_normal(found[name]) == _normal(text) for text in texts)
            overlap += max(_overlap(found[name], text) for text in texts)
        return {"f1": overlap / max(1, len(wanted)), "exact_match": exact / max(1, len(wanted))}

    def lines(self, predictions: Sequence[Any], rows: Sequence[Row]) -> list[dict[str, Any]]:
        wanted = {self._name(row): self.columns.of_row(row, "answers")["text"] for row in rows}
        found = self.answers(predictions, rows)
        return [
            {"id": name, "answers": list(wanted[name]), "prediction": text}
            for name, text in found.items()
        ]

    def _name(self, row: Row) -> str:
        name = self.columns.fields.get("id", "id")
        return str(row.fields.get(name, row.source))


def _first_answer(answers: Any, context: str, record: Record) -> tuple[int, int] | None:
    """The first answer's place in the context in characters (None: there is none)."""
    try:
        texts, starts = list(answers["text"]), list(answers["answer_start"])
    except (KeyError, TypeError):
        raise InputError(
            f"{record.get('source')}: answers are {{text: [...], answer_start: [...]}}"
        ) from None
    if not texts:
        return None
    start, stop = int(starts[0]), int(starts[0]) + len(texts[0])
    if context[start:stop] != texts[0]:
        raise InputError(
            f"{record.get('source')}: the answer {texts[0]!r} does not stand at {start} of the context"
        )
    return start, stop


def _classification_place(tokenizer: Tokenizer, ids: Sequence[int]) -> int:
    """Where a window asks for no answer: its classification token, or else its first place."""
    token = tokenizer.cls_id
    if token is None or token not in ids:
        return 0
    return list(ids).index(token)


def _number(row: Row, name: str) -> int:
    value: Any = row.fields[name]
    return int(value)


def _normal(text: str) -> str:
    """Lower-case words without punctuation and articles, as SQuAD compares answers."""
    kept = "".join(char for char in text.lower() if char not in set(string.punctuation))
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", kept).split())


def _overlap(found: str, wanted: str) -> float:
    """F1 over the words that two answers share."""
    first, second = _normal(found).split(), _normal(wanted).split()
    if not first or not second:
        return float(first == second)
    same = sum((collections.Counter(first) & collections.Counter(second)).values())
    if not same:
        return 0.0
    precision, recall = same / len(first), same / len(second)
    return 2 * precision * recall / (precision + recall)

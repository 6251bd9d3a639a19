"""What all objectives share: the batch that they give, their random draws, rows made equally long."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from engine.errors import InputError
from engine.kernels.losses import IGNORED
from engine.spec import Spec
from engine.training.data.rows import Row
from tokenization import Tokenizer

Side = Literal["left", "right"]
LABELS = ("labels", "shift_labels")
EVALUATION = -1


@dataclass(frozen=True)
class Batch:
    """One call of the model: its keyword arguments with labels, and how many targets it has.

    The head's mean loss is over `targets`, so the sum of losses is loss · targets.
    """

    inputs: dict[str, Any]
    targets: int
    places: tuple[int, ...]
    """Which of the given rows each row of the call is."""

    def cut(self, start: int, stop: int) -> "Batch":
        """The part of a batch that holds the given rows `start` … `stop`, drawn as they were."""
        kept = [row for row, place in enumerate(self.places) if start <= place < stop]
        inputs = {
            name: value[kept] if isinstance(value, Tensor) else value
            for name, value in self.inputs.items()
        }
        return make_batch(inputs, [self.places[row] - start for row in kept])


def make_batch(inputs: dict[str, Any], places: Sequence[int]) -> Batch:
    """A batch whose targets are counted: the labels that are not -100."""
    labels = next(inputs[name] for name in LABELS if name in inputs)
    return Batch(inputs, int((labels != IGNORED).sum()), tuple(places))


@dataclass(frozen=True)
class Draws:
    """The random numbers of one step: generators on the processor, pure functions of their numbers."""

    seed: int
    step: int

    def row(self, number: int) -> Generator:
        """The generator of one row, whichever rows stand beside it."""
        return _generator(self.seed, self.step, number)

    def whole(self) -> Generator:
        """The generator of what is drawn over all rows of the step."""
        return _generator(self.seed, self.step)


def _generator(*numbers: int) -> Generator:
    # Negative numbers, such as the step of an evaluation, are no entropy for numpy.
    entropy = [number % 2**64 for number in numbers]
    state = np.random.SeedSequence(entropy).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0]) % 2**63)


class Objective(Protocol):
    """Turns rows into a call of the model with labels.

    `head` is the head that it trains. Where `whole` is true, `batch` must be given all rows of the
    step, and `Batch.cut` gives the parts; else any rows of the step give what they give together.
    """

    head: str
    whole: bool

    def batch(self, rows: Sequence[Row], draws: Draws) -> Batch:
        """The rows as one call."""
        ...

    def evaluation(self, rows: Sequence[Row], draws: Draws) -> Batch:
        """The same of held-out rows, always drawn row by row."""
        ...


@dataclass(frozen=True)
class Frame:
    """How rows become the tensors that the network of a spec takes."""

    spec: Spec
    padding: int
    side: Side
    plain: int
    """How many ids the tokenizer has: random tokens are drawn below it."""

    def inputs(self, rows: Sequence[Row], side: Side | None = None) -> dict[str, Any]:
        """`input_ids` (b i), with `attention_mask`, `token_type_ids` and `langs` where they say
        something that the network reads.
        """
        side = side or self.side
        inputs: dict[str, Any] = {
            "input_ids": arrange([row.ids for row in rows], self.padding, side)
        }
        lengths = {len(row.ids) for row in rows}
        if len(lengths) > 1:
            real = [np.ones(len(row.ids), dtype=np.int64) for row in rows]
            inputs["attention_mask"] = arrange(real, 0, side)
        if self._reads_types():
            types = [row.token_types for row in rows]
            if all(given is not None for given in types):
                inputs["token_type_ids"] = arrange([t for t in types if t is not None], 0, side)
        languages = self.spec.embeddings.tables.languages
        if languages is not None and languages.embed and languages.count > 1:
            inputs["langs"] = arrange([languages_of(row) for row in rows], None, side)
        return inputs

    def _reads_types(self) -> bool:
        """Whether token types are more to the network than rows of its token table."""
        segments = self.spec.embeddings.tables.segments
        table = segments is not None and segments.source == "table" and segments.count != 1
        return table or "segment" in self.spec.attention.score


def make_frame(spec: Spec, tokenizer: Tokenizer) -> Frame:
    """The frame of a spec and its tokenizer; a spec without a padding token pads with id 0."""
    padding = tokenizer.pad_id
    if padding is None:
        padding = spec.tokens.padding or 0
    plain = min(len(tokenizer), spec.dims.vocab)
    return Frame(spec, padding, tokenizer.options.padding_side, plain)


def languages_of(row: Row) -> NDArray[Any]:
    """The languages of a row; raises InputError where its source gives none."""
    if row.languages is None:
        raise InputError(
            f"{row.source or 'a row'} has no language, which the network embeds: name `language` "
            "in its source"
        )
    return row.languages


def arrange(arrays: Sequence[NDArray[Any]], fill: int | None, side: Side) -> Tensor:
    """Arrays (i) of rows as one tensor (b i), filled up at a side; None repeats the edge."""
    longest = max(len(array) for array in arrays)
    table = torch.zeros(len(arrays), longest, dtype=torch.int64)
    if arrays[0].dtype == np.bool_:
        table = table.bool()
    for line, array in zip(table, arrays, strict=True):
        start = longest - len(array)
        if side == "right":
            start = 0
        edge = fill
        if edge is None:
            edge = _edge(array, side)
        line.fill_(edge)
        line[start : start + len(array)] = torch.from_numpy(np.ascontiguousarray(array))
    return table


def _edge(array: NDArray[Any], side: Side) -> int:
    """The value at a side of an array, 0 where it is empty."""
    if not len(array):
        return 0
    if side == "right":
        return int(array[-1])
    return int(array[0])

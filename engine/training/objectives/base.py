"""What all objectives share: the batch that they give, and rows made equally long."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from numpy.typing import NDArray
from torch import Tensor

from engine.kernels.losses import IGNORED
from engine.network.positions import build_position
from engine.spec import Spec
from engine.training.data.collate import Side, Takes, pad, stack, takes
from engine.training.data.draws import Draws
from engine.training.data.rows import Row
from tokenization import Tokenizer

LABELS = ("labels", "shift_labels")


@dataclass(frozen=True)
class Batch:
    """One call of the model: its keyword arguments with labels, and how many targets it has.

    The head's mean loss is over `targets`, so the sum of losses is loss · targets.
    """

    inputs: dict[str, Any]
    targets: int
    places: tuple[int, ...]
    """Which of the given rows each row of the call is."""

    @property
    def labels(self) -> Tensor:
        """What is asked: ids, -100 where nothing is."""
        return next(self.inputs[name] for name in LABELS if name in self.inputs)

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
    padding_type: int
    side: Side
    plain: int
    """How many ids the tokenizer has: random tokens are drawn below it."""
    arguments: Takes

    def inputs(self, rows: Sequence[Row], side: Side | None = None) -> dict[str, Any]:
        """`input_ids` (b i), with `attention_mask`, `token_type_ids` and `langs` where they say
        something that the network reads.
        """
        return dict(
            pad(
                rows,
                padding=self.padding,
                side=side or self.side,
                padding_type=self.padding_type,
                arguments=self.arguments,
            )
        )

    def lay(
        self, arrays: Sequence[NDArray[Any]], fill: int | bool, side: Side | None = None
    ) -> Tensor:
        """Arrays (i) of rows as one tensor (b i), place by place on their ids."""
        longest = max(1, *(len(array) for array in arrays))
        return stack(arrays, fill, side or self.side, longest)


def make_frame(spec: Spec, tokenizer: Tokenizer) -> Frame:
    """The frame of a spec and its tokenizer; where there is no padding token, id 0 is padding."""
    padding = tokenizer.pad_id
    if padding is None:
        padding = spec.tokens.padding or 0
    segments = spec.embeddings.tables.segments
    # Types that are rows of the token table (XLM) are no part of the published objectives.
    table = segments is not None and segments.source == "table" and segments.count != 1
    types = table or "segment" in spec.attention.score
    options = tokenizer.options
    return Frame(
        spec,
        padding,
        options.padding_type,
        options.padding_side,
        plain=min(len(tokenizer), spec.dims.vocab),
        arguments=replace(takes(spec, build_position(spec)), token_type_ids=types),
    )

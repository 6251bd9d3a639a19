"""Causal language modelling of streams whose memory is carried (Dai et al. 2019, 3.2)."""

from collections.abc import Iterator, Sequence

from torch import Tensor

from engine.arguments import check_count, read_device, read_ids
from engine.errors import InputError
from engine.kernels.losses import IGNORED
from engine.training.data.draws import Draws
from engine.training.data.rows import Row
from engine.training.objectives.base import Batch, Frame, make_batch
from engine.training.objectives.causal import next_tokens


class Recurrent:
    """The next token of a stream at every place, over the end of a segment too.

    `evaluation_memory` is how many tokens evaluation remembers (None: as in training).
    """

    head = "causal_lm"
    whole = False

    def __init__(self, frame: Frame, evaluation_memory: int | None = None) -> None:
        self.frame, self.evaluation_memory = frame, evaluation_memory
        if frame.spec.memory.kind != "recurrent":
            raise InputError(
                f"the objective recurrent carries memory from segment to segment: memory.kind is "
                f"{frame.spec.memory.kind}, it must be recurrent"
            )

    def batch(self, rows: Sequence[Row], draws: Draws) -> Batch:
        """A segment of each stream; the ragged last one is filled up behind its end."""
        inputs = self.frame.inputs(rows, side="right")
        inputs["shift_labels"] = self.frame.lay(
            [next_tokens(row) for row in rows], IGNORED, "right"
        )
        inputs["use_memory"] = True
        return make_batch(inputs, range(len(rows)))

    def evaluation(self, rows: Sequence[Row], draws: Draws) -> Batch:
        """As in training: nothing is drawn."""
        return self.batch(rows, draws)


def stream(ids: Tensor, rows: int, length: int) -> Iterator[Tensor]:
    """A text of ids (n) as segments (rows, up to `length`), each row of which goes on where the
    last segment ended.

    So a memory carried from segment to segment is the row's own past (Dai et al. 2019, 3.2). The
    tokens left when n is divided by `rows` are dropped. Raises InputError for a text shorter than
    two tokens a row, and for what is no such text.
    """
    ids = read_ids("ids", ids, read_device(None))
    if ids.dim() != 1:
        raise InputError(f"ids has shape {tuple(ids.shape)}, expected one row of tokens (n)")
    check_count("rows", rows)
    check_count("length", length)
    each = ids.shape[0] // rows
    if each < 2:
        raise InputError(f"{ids.shape[0]} tokens are too few for {rows} rows of at least two")
    table = ids[: rows * each].view(rows, each)
    for start in range(0, each, length):
        yield table[:, start : start + length]

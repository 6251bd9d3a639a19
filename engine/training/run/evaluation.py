"""Scores over held-out texts, weighted by tokens, in constant memory."""

import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from engine.kernels.losses import IGNORED
from engine.memory import Memory, memory_policy
from engine.model import Model
from engine.training.data.rows import Row
from engine.training.distribute import Processes
from engine.training.objectives.base import Batch
from engine.training.run.feed import Feed, Portion
from engine.training.run.step import Precision, forward


class Decoder(Protocol):
    """What a task adds to an objective: predictions and their metrics."""

    def predict(self, outputs: Any, rows: Sequence[Row]) -> Any:
        """Predictions of rows."""

    def score(self, predictions: Sequence[Any], rows: Sequence[Row]) -> dict[str, float]:
        """Metrics by name."""

    def lines(self, predictions: Sequence[Any], rows: Sequence[Row]) -> list[dict[str, Any]]:
        """What is written of each prediction."""


@dataclass(frozen=True)
class HeldOut:
    """Rows to evaluate on, all of them in `steps` steps."""

    feed: Feed
    steps: int
    carries: bool = False
    """Whether each step goes on with the memory of the one before."""
    memory: int | None = None
    """How many tokens a recurrent network remembers here; None: as in training."""
    decoder: Decoder | None = None


@dataclass(frozen=True)
class Evaluated:
    """What an evaluation gave."""

    metrics: dict[str, float]
    predictions: tuple[Any, ...] = ()
    rows: tuple[Row, ...] = ()


def evaluate(
    model: Model, held_out: HeldOut, processes: Processes, precision: Precision = "float32"
) -> Evaluated:
    """Mean loss over all targets and a task's metrics; where tokens are predicted, perplexity and
    the loss as a share of the targets' unigram entropy.

    Rows are shared by the processes; where a task decodes them, each process reads all rows.
    """
    readers = processes
    if held_out.decoder is not None:
        readers = Processes(device=processes.device)
    losses, targets = 0.0, 0
    predictions: list[Any] = []
    read: list[Row] = []
    memories: list[Memory | None] = []
    asked = torch.zeros(model.spec.dims.vocab, dtype=torch.long)
    predicts = model.head is not None and "logits_to_keep" in model.head.inputs
    training = model.training
    model.eval()
    with torch.no_grad(), remembering(model, held_out.memory):
        for step in range(held_out.steps):
            portions = held_out.feed.at(step, readers)
            if held_out.carries:
                portions = carry(model, portions, memories, readers)
            memories = []
            for portion in portions:
                batch = portion.batch
                output = forward(
                    model,
                    batch,
                    precision,
                    of=max(1, batch.targets),
                    logits=held_out.decoder is not None,
                )
                assert output.loss is not None
                losses += float(output.loss) * max(1, batch.targets)
                targets += batch.targets
                if predicts and batch.targets:
                    asked += count_targets(batch, len(asked))
                memories.append(output.memory)
                if held_out.decoder is not None:
                    predictions += held_out.decoder.predict(output, portion.rows)
                    read += portion.rows
    processes.settle(model)
    model.train(training)
    total, count = readers.sum(losses, targets)
    loss = total / max(1.0, count)
    metrics = {"loss": loss}
    if predicts:
        metrics["perplexity"] = math.exp(min(loss, 700.0))
        entropy = unigram_entropy(readers.sum(*asked.tolist()))
        if entropy > 0:
            metrics["share_of_unigram"] = loss / entropy
    if held_out.decoder is not None:
        metrics |= held_out.decoder.score(predictions, read)
    return Evaluated(metrics, tuple(predictions), tuple(read))


def count_targets(batch: Batch, vocab: int) -> Tensor:
    """How often each id (v) is asked."""
    labels = batch.labels.cpu()
    return labels[labels != IGNORED].bincount(minlength=vocab)


def unigram_entropy(counts: Sequence[float]) -> float:
    """The lowest mean loss over targets with these counts (v) that is possible without context."""
    shares = torch.tensor(counts, dtype=torch.float64) / max(1.0, sum(counts))
    return float(torch.special.entr(shares).sum())


def carry(
    model: Model,
    portions: Sequence[Portion],
    memories: Sequence[Memory | None],
    processes: Processes,
) -> list[Portion]:
    """Portions that go on with the memory of those before; rows that begin anew remember nothing.

    Where all rows of all processes begin, so does memory.
    """
    fresh = [portion.fresh for portion in portions]
    anew = not memories or processes.all_true(all(all(rows) for rows in fresh))
    carried = []
    for number, portion in enumerate(portions):
        memory = None if anew else memories[number]
        if memory is not None and any(fresh[number]):
            memory = model.reset_memory(memory, torch.tensor(fresh[number]))
        inputs = {**portion.batch.inputs, "memory": memory, "use_memory": True}
        carried.append(portion.with_inputs(inputs))
    return carried


@contextlib.contextmanager
def remembering(model: Model, length: int | None) -> Iterator[None]:
    """Inside, a recurrent network remembers `length` tokens."""
    if length is None:
        yield
        return
    spec, policy = model.spec, model.memory_policy
    longer = spec.memory.model_copy(update={"length": length})
    model.spec = spec.model_copy(update={"memory": longer})
    model.memory_policy = memory_policy(model.spec)
    try:
        yield
    finally:
        model.spec, model.memory_policy = spec, policy

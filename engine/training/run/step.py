"""One step of training: gradients of a global batch, checks, and the update."""

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from engine.errors import TrainingError
from engine.memory import Memory
from engine.model import Model
from engine.network.outputs import Output
from engine.training.distribute import Processes
from engine.training.objectives.base import Batch

Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class StepResult:
    """What a step gave."""

    loss: float
    """Σ losses / Σ targets over the global batch."""
    targets: int
    norm: float
    """The length of the gradient before it is clipped."""
    memories: tuple[Memory | None, ...] = ()
    """What each micro-batch leaves behind."""


class Step:
    """Updates the weights by the mean loss of a global batch, however it is split.

    Dropout is drawn by (seed, step, process, micro-batch).
    """

    def __init__(
        self,
        model: Model,
        optimizer: Optimizer,
        processes: Processes | None = None,
        *,
        clip: float | None = None,
        precision: Precision = "float32",
        seed: int = 0,
    ) -> None:
        self.model, self.optimizer = model, optimizer
        self.processes = processes or Processes()
        self.clip, self.precision, self.seed = clip, precision, seed
        self.parameters = [p for group in optimizer.param_groups for p in group["params"]]

    def __call__(
        self,
        micro: Sequence[Batch],
        rate: float,
        *,
        step: int = 0,
        sources: Sequence[Sequence[str]] = (),
        meanwhile: Callable[[], None] | None = None,
    ) -> StepResult:
        """One update at `rate` from the micro-batches of this process.

        `sources` name the rows of each micro-batch; `meanwhile` begins work for another thread once
        gradients are computed, which leaves it Python's lock. Raises TrainingError where the loss
        or the gradient is not finite on some process; the weights are then those before the step.
        """
        targets = int(self.processes.sum(sum(batch.targets for batch in micro))[0])
        losses: list[Tensor] = []
        memories: list[Memory | None] = []
        for number, batch in enumerate(micro):
            torch.manual_seed(mixed_seed(self.seed, step, self.processes.rank, number))
            output = forward(self.model, batch, self.precision, of=max(1, targets))
            assert output.loss is not None
            if meanwhile is not None and number == len(micro) - 1:
                meanwhile()
            (output.loss * self.processes.loss_factor).backward()
            losses.append(output.loss.detach())
            memories.append(None if output.memory is None else output.memory.detach())
        self.processes.sum_gradients(self.model, self.parameters)
        here = torch.stack(losses).tolist()
        loss, norm = (
            self.processes.sum(sum(here))[0],
            self.processes.norm(self.model, self.parameters),
        )
        if not (math.isfinite(loss) and math.isfinite(norm)):
            reason = self._broken(step, here, loss, norm, sources)
            self.optimizer.zero_grad()
            raise TrainingError(reason)
        if self.clip is not None:
            length = torch.tensor(norm, device=self.processes.device)
            nn.utils.clip_grads_with_norm_(self.parameters, self.clip, length)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group.get("share", 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return StepResult(loss, targets, norm, tuple(memories))

    def _broken(
        self,
        step: int,
        losses: Sequence[float],
        loss: float,
        norm: float,
        sources: Sequence[Sequence[str]],
    ) -> str:
        """What is not finite, and where it came from."""
        what = f"step {step + 1}: the gradient's length is {norm}"
        if not math.isfinite(loss):
            what = f"step {step + 1}: the loss is {loss}"
        rows: list[str] = []
        for value, names in zip(losses, sources):
            if not math.isfinite(value):
                rows += [name for name in names if name]
        if rows:
            more = f" and {len(rows) - 8} more" if len(rows) > 8 else ""
            what += f", in a batch of the rows {', '.join(rows[:8])}{more}"
        for name, parameter in self.model.named_parameters():
            if not _finite(parameter):
                what += f"; the parameter {name} is not finite"
                break
            if parameter.grad is not None and not _finite(parameter.grad):
                what += f"; the first gradient that is not finite is that of {name}"
                break
        return (
            f"{what}. The weights are those before this step: lower optimizer.rate, or see the rows"
        )


def forward(
    model: Model, batch: Batch, precision: Precision, *, of: int, logits: bool = False
) -> Output:
    """One call whose loss is the sum of its losses over `of` targets."""
    device = model.device
    inputs = {name: _placed(value, device) for name, value in batch.inputs.items()}
    taken = frozenset() if model.head is None else model.head.inputs
    if "output_logits" in taken:
        inputs = {"output_logits": logits, **inputs}
    if "num_items_in_batch" in taken:
        inputs["num_items_in_batch"] = of
    with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        output: Output = model(**inputs)
    if output.loss is None:
        raise TrainingError("this call gave no loss: the batch has no labels that the head takes")
    if "num_items_in_batch" not in taken:
        output.loss = output.loss * (batch.targets / of)
    elif batch.targets == 0:
        output.loss = output.loss * 0.0
    return output


def mixed_seed(*numbers: int) -> int:
    """A seed from several numbers, another one for each choice of them."""
    text = ",".join(str(number) for number in numbers)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def _placed(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        return value.to(device, non_blocking=True)
    return value


def _finite(tensor: Tensor) -> bool:
    local = getattr(tensor, "_local_tensor", tensor)
    return bool(local.detach().isfinite().all())

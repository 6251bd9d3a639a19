"""A small training loop: AdamW, warm-up, decay, clipped gradients, a seed."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from engine.arguments import (
    check_callable,
    check_count,
    check_flag,
    check_number,
    check_seed,
)
from engine.errors import InputError, TrainingError
from engine.memory import Memory
from engine.model import Model
from engine.training.optimizers import make_optimizer
from engine.training.recipe.sections import Optimizer

Progress = Callable[[int, float], None]
_RANGES = {
    "learning_rate": "it must be above 0",
    "warm_up": "it is a share of the steps, from 0 to below 1",
    "clip": "it must be above 0",
    "weight_decay": "it must not be below 0",
}
_KINDS = {
    "model": "a network, as build_model gives it",
    "options": "TrainingOptions",
    "batches": "an iterable of the arguments of calls",
}


@dataclass(frozen=True)
class TrainingOptions:
    """How weights move: the rate rises over `warm_up` of the steps, then falls along half a cosine
    to a tenth.
    """

    learning_rate: float = 3e-3
    warm_up: float = 0.1
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = 0.01
    clip: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in _RANGES:
            check_number(name, getattr(self, name))
        check_seed(self.seed)
        _check_betas(self.betas)
        for name, right in (
            ("learning_rate", self.learning_rate > 0),
            ("warm_up", 0 <= self.warm_up < 1),
            ("clip", self.clip > 0),
            ("weight_decay", self.weight_decay >= 0),
        ):
            if not right:
                raise InputError(f"{name} is {getattr(self, name)}: {_RANGES[name]}")

    def rate(self, step: int, steps: int) -> float:
        """The share of the learning rate at a step, counted from 0."""
        rising = max(1, round(self.warm_up * steps))
        if step < rising:
            return (step + 1) / rising
        done = (step - rising) / max(1, steps - rising)
        return 0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * done))


def train(
    model: Model,
    batches: Iterable[Mapping[str, Any]],
    steps: int,
    options: TrainingOptions | None = None,
    *,
    carry_memory: bool = False,
    progress: Progress | None = None,
) -> list[float]:
    """Train on `steps` batches, each the keyword arguments of one call with its labels;
    returns all losses.

    With `carry_memory` each batch goes on where the one before it ended, and sees its memory.
    `progress` hears of every step and its loss. The global random state is left as it was, and the
    model in eval mode. Raises TrainingError for a loss that is not finite, before its step, and
    InputError for a batch without labels and for fewer batches than steps.
    """
    options = TrainingOptions() if options is None else options
    _check_call(model, batches, steps, options)
    check_flag("carry_memory", carry_memory)
    if carry_memory and model.spec.memory.kind != "recurrent":
        raise InputError("carry_memory needs memory.kind recurrent: other memory is for decoding")
    check_callable("progress", progress)
    section = Optimizer(rate=options.learning_rate, betas=options.betas, decay=options.weight_decay)
    optimizer = make_optimizer(model, section)
    takes = model.head is not None and "output_logits" in model.head.inputs
    unread = {"output_logits": False} if takes else {}
    losses: list[float] = []
    memory: Memory | None = None
    model.train()
    with torch.random.fork_rng():
        torch.manual_seed(options.seed)
        for step, batch in zip(range(steps), batches):
            for group in optimizer.param_groups:
                group["lr"] = options.learning_rate * options.rate(step, steps)
            batch = {**unread, **_named(batch, step)}
            if carry_memory:
                batch = {**batch, "memory": memory, "use_memory": True}
            out = model(**batch)
            memory = out.memory
            losses.append(_check_loss(out.loss, step))
            out.loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), options.clip)
            optimizer.step()
            optimizer.zero_grad()
            if progress is not None:
                progress(step, losses[-1])
    model.eval()
    if len(losses) < steps:
        raise InputError(
            f"{len(losses)} batches were given for {steps} steps: give as many, or fewer steps"
        )
    return losses


def _check_betas(given: object) -> None:
    pair = given if isinstance(given, tuple | list) else ()
    for number, beta in enumerate(pair):
        check_number(f"betas[{number}]", beta)
    if len(pair) != 2 or not all(0 <= beta < 1 for beta in pair):
        raise InputError(f"betas is {given!r:.60}: it is two shares, each from 0 to below 1")


def _check_call(model: object, batches: object, steps: object, options: object) -> None:
    fits = {
        "model": (model, isinstance(model, nn.Module) and hasattr(model, "head")),
        "options": (options, isinstance(options, TrainingOptions)),
        "batches": (batches, isinstance(batches, Iterable) and not isinstance(batches, Tensor)),
    }
    for name, (given, right) in fits.items():
        if not right:
            raise InputError(f"{name} is a {type(given).__name__}, expected {_KINDS[name]}")
    check_count("steps", steps, 0)


def _named(batch: object, step: int) -> Mapping[str, Any]:
    if isinstance(batch, Mapping) and all(isinstance(name, str) for name in batch):
        return batch
    raise InputError(
        f"batch {step + 1} is a {type(batch).__name__}, expected the arguments of a call by name"
    )


def _check_loss(loss: Tensor | None, step: int) -> float:
    """A loss that a step may follow, as a number."""
    if loss is None:
        raise InputError(f"batch {step + 1} gave no loss: give it labels that the head takes")
    value = loss.item()
    if not math.isfinite(value):
        raise TrainingError(
            f"the loss is {value} at step {step}, and the weights are those before it: lower the "
            "learning rate"
        )
    return value

"""A small training loop: AdamW, warm-up, decay, clipped gradients, a seed."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from engine.memory import Memory
from engine.model import Model

Progress = Callable[[int, float], None]


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
    """Train on at most `steps` batches, each the keyword arguments of one call with its labels;
    returns all losses.

    With `carry_memory` each batch goes on where the one before it ended, and sees its memory.
    `progress` hears of every step and its loss. The global random state is left as it was, and the
    model in eval mode. Raises RuntimeError for a loss that is not finite.
    """
    options = options or TrainingOptions()
    optimizer = torch.optim.AdamW(
        _groups(model, options.weight_decay), lr=options.learning_rate, betas=options.betas
    )
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
            batch = {**unread, **batch}
            if carry_memory:
                batch = {**batch, "memory": memory, "use_memory": True}
            out = model(**batch)
            memory = out.memory
            out.loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), options.clip)
            optimizer.step()
            optimizer.zero_grad()
            losses.append(out.loss.item())
            if not math.isfinite(losses[-1]):
                raise RuntimeError(
                    f"the loss is {losses[-1]} at step {step}: lower the learning rate"
                )
            if progress is not None:
                progress(step, losses[-1])
    model.eval()
    return losses


def _groups(model: Model, decay: float) -> list[dict[str, Any]]:
    """Weights decay; biases and norms, which are vectors, do not."""
    matrices = [weight for weight in model.parameters() if weight.dim() > 1]
    vectors = [weight for weight in model.parameters() if weight.dim() <= 1]
    return [{"params": matrices, "weight_decay": decay}, {"params": vectors, "weight_decay": 0.0}]

"""A run from its first step to its last, or on from where it was saved."""

import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

from engine.errors import TrainingError
from engine.memory import Memory
from engine.model import Model
from engine.training.adapters import Adapter
from engine.training.distribute import Processes
from engine.training.optimizers import freeze, make_optimizer
from engine.training.recipe.metrics import SMALLER_IS_BETTER
from engine.training.recipe.sections import Devices, Evaluate, Optimizer, Save, Schedule
from engine.training.run.ahead import Ahead
from engine.training.run.checkpoint import RunFolder, Saved, read_memories, read_state, restore
from engine.training.run.evaluation import HeldOut, carry, evaluate
from engine.training.run.feed import Feed, Portion, Turns
from engine.training.run.signals import Stop
from engine.training.run.step import Precision, Step, forward
from engine.training.run.watch import Bar, Board, Log, Watch, Watcher, on_terminal, peak_memory
from engine.training.schedules import rate_at

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything that a run needs, with no choice left open."""

    model: Model
    feed: Feed | Turns
    steps: int
    output: Path
    carries: bool = False
    """Whether each step goes on with the memory of the one before."""
    probes: tuple[Portion, ...] = ()
    """Micro-batches of the pre-flight pass, the longest among them."""
    held_out: HeldOut | None = None
    optimizer: Optimizer = field(default_factory=Optimizer)
    schedule: Schedule = field(default_factory=Schedule)
    evaluate: Evaluate = field(default_factory=Evaluate)
    save: Save = field(default_factory=Save)
    devices: Devices = field(default_factory=Devices)
    precision: Precision = "float32"
    seed: int = 0
    log_every: int = 1
    tensorboard: bool = False
    about: Mapping[str, Any] = field(default_factory=dict)
    """What state.json says besides: versions and hashes."""
    beside: Callable[[Path], None] | None = None
    """Writes further files into each checkpoint, such as the tokenizer's and the recipe."""
    adapter: Adapter | None = None
    """What learns in place of the network's own weights."""


@dataclass(frozen=True)
class Result:
    """How a run ended."""

    step: int
    metrics: dict[str, float]
    best: dict[str, float]
    """The metrics of the best evaluation."""
    stopped: str | None = None
    """Why it ended before its last step: `signal` or `patience`."""


@dataclass
class Progress:
    """What of a run changes from step to step, beside its weights."""

    step: int = 0
    metrics: dict[str, float] = field(default_factory=dict)
    best: dict[str, float] = field(default_factory=dict)
    best_step: int = 0
    evaluated: int = -1
    """The step of the last evaluation."""
    without_better: int = 0


def run(
    plan: Plan, *, resume: bool = False, processes: Processes | None = None, say: Say = print
) -> Result:
    """Train to the last step, SIGTERM, SIGINT or the end of patience; the end is always saved.

    With `resume` the run goes on from `last`, to the last bit as if it had never stopped. `say`
    gets the lines that a person reads. Raises TrainingError for what stops it; what was saved
    before stays.
    """
    processes = processes or Processes()
    with torch.random.fork_rng(), Stop() as stop:
        running = Run(plan, processes, resume, say)
        with running.watch, closing(running.batches):
            return running.go(stop)


class Run:
    """A plan under way."""

    def __init__(self, plan: Plan, processes: Processes, resume: bool, say: Say) -> None:
        self.plan, self.processes = plan, processes
        self.folder = RunFolder(plan.output, processes)
        if not resume and self.folder.pointed("last") is not None:
            raise TrainingError(
                f"{plan.output} holds a run already: go on with it, or name another"
            )
        self.model = plan.model.to(processes.device)
        self.model.gradient_checkpointing = plan.devices.checkpoint_activations
        processes.cut_layers(self.model)
        if plan.devices.shard == "all":
            processes.shard(self.model)
        self.model.train()
        freeze(self.model, plan.optimizer.frozen)
        if plan.probes:
            self._preflight(say if processes.first else _silent)
        self.optimizer = make_optimizer(self.model, plan.optimizer)
        self.step = Step(
            self.model,
            self.optimizer,
            processes,
            clip=plan.optimizer.clip,
            precision=plan.precision,
            seed=plan.seed,
        )
        self.batches = Ahead(plan.feed, processes, plan.steps)
        self.progress = Progress()
        self.memories: list[Memory | None] = []
        self.portions: list[Portion] = []
        if resume:
            self._restore()
        self.watch = self._watch()

    def go(self, stop: Stop) -> Result:
        """All steps that are left."""
        plan, progress = self.plan, self.progress
        stopped = None
        if progress.step >= plan.steps:
            self.model.eval()
            return Result(progress.step, progress.metrics, progress.best)
        while progress.step < plan.steps and stopped is None:
            try:
                self._advance()
            except TrainingError:
                self._save(best=False)
                raise
            if self.processes.any_true(stop.asked):
                stopped = "signal"
            last = progress.step == plan.steps
            better = False
            if _due(plan.evaluate.every, progress.step) or (last and stopped is None):
                better = self._evaluate()
            patience = plan.evaluate.patience
            if patience is not None and progress.without_better >= patience:
                stopped = stopped or "patience"
            ending = last or stopped is not None
            if better or ending or _due(plan.save.every, progress.step):
                self._save(best=better)
        self.model.eval()
        return Result(progress.step, progress.metrics, progress.best, stopped)

    def _advance(self) -> None:
        """One step."""
        plan, number = self.plan, self.progress.step
        began = time.perf_counter()
        portions = self.batches.at(number)
        if plan.carries:
            portions = carry(self.model, portions, self.memories, self.processes)
        share = rate_at(plan.schedule, number, plan.steps)
        result = self.step(
            [portion.batch for portion in portions],
            share * plan.optimizer.rate,
            step=number,
            sources=[portion.sources for portion in portions],
            meanwhile=partial(self.batches.begin, number + 1),
        )
        if plan.carries:
            self.memories = list(result.memories)
            self.portions = portions
        self.progress.step = number + 1
        self.watch.step(
            {
                "step": number + 1,
                "loss": result.loss,
                "rate": share * plan.optimizer.rate,
                "norm": result.norm,
                "targets": result.targets,
                "tokens": int(self.processes.sum(sum(p.tokens for p in portions))[0]),
                "seconds": time.perf_counter() - began,
            }
        )

    def _evaluate(self) -> bool:
        """Score the held-out rows; returns whether they are better than ever."""
        plan, progress = self.plan, self.progress
        if plan.held_out is None:
            return False
        found = evaluate(self.model, plan.held_out, self.processes, plan.precision).metrics
        progress.metrics, progress.evaluated = found, progress.step
        self.watch.evaluation(progress.step, found)
        better = _better(found, progress.best, plan.evaluate.best)
        progress.without_better += 1
        if better:
            progress.best, progress.best_step, progress.without_better = found, progress.step, 0
        return better

    def _save(self, best: bool) -> None:
        memories = {
            portion.first: portion.in_row_order(memory)
            for portion, memory in zip(self.portions, self.memories, strict=True)
            if memory is not None and self.processes.leads
        }
        state = {**vars(self.progress), "processes": self.processes.total, **self.plan.about}
        self.folder.save(
            self.progress.step,
            Saved(self.model, self.optimizer, memories, state, self.plan.beside, self.plan.adapter),
            best=best,
            keep=self.plan.save.keep,
        )

    def _restore(self) -> None:
        """Go on from `last`, if there is one."""
        last = self.folder.pointed("last")
        if last is None:
            return
        state = read_state(last)
        for name, now in self.plan.about.items():
            if name in state and state[name] != now:
                raise TrainingError(
                    f"{name} were {state[name]} when the run was saved and are {now} now: it goes on "
                    "with the same texts, tokenizer and loaded weights, or begins anew in another folder"
                )
        self.progress = Progress(**{name: state[name] for name in vars(Progress())})
        restore(last, self.model, self.optimizer, self.processes, self.plan.adapter)
        if self.plan.carries and self.progress.step < self.plan.steps:
            portions = self.batches.at(self.progress.step)
            runs = [(portion.first, len(portion.rows)) for portion in portions]
            read = read_memories(last, runs, self.processes.device)
            self.memories = [
                None if memory is None else portion.in_call_order(memory)
                for portion, memory in zip(portions, read, strict=True)
            ]
            self.portions = portions

    def _preflight(self, say: Say) -> None:
        """Pass over the longest batch and back: its peak memory, and what learns nothing."""
        self._probe()
        if self.model.spec.block.layer_drop > 0:  # no block is left out in evaluation
            self.model.eval()
            self._probe()
            self.model.train()
        learning = {n: p for n, p in self.model.named_parameters() if p.requires_grad}
        reached = self.processes.sum(*(float(p.grad is not None) for p in learning.values()))
        still = [name for name, count in zip(learning, reached, strict=True) if not count]
        self.model.zero_grad()
        longest = max(len(row.ids) for portion in self.plan.probes for row in portion.rows)
        say(
            f"longest batch: rows of {longest:,} tokens, peak memory "
            f"{peak_memory() / 2**30:.2f} GiB a process before the optimizer's moments"
        )
        if still:
            freeze(self.model, tuple(still))
            say(f"no gradient reaches {', '.join(still)}: frozen")

    def _probe(self) -> None:
        for portion in self.plan.probes:
            batch = portion.batch
            output = forward(self.model, batch, self.plan.precision, of=max(1, batch.targets))
            assert output.loss is not None
            output.loss.backward()

    def _watch(self) -> Watch:
        watchers: list[Watcher] = []
        if self.processes.first:
            done = self.progress.step
            watchers.append(Log(self.plan.output, done, self.plan.log_every))
            if self.plan.tensorboard:
                watchers.append(Board(self.plan.output, done))
            if on_terminal():
                watchers.append(Bar(self.plan.steps, done))
        return Watch(*watchers)


def _better(found: Mapping[str, float], best: Mapping[str, float], by: str) -> bool:
    """Whether metrics are better than the best so far by one of them."""
    if by not in found:
        raise TrainingError(f"evaluate.best is '{by}', and the evaluation gives {', '.join(found)}")
    if not best:
        return True
    if by in SMALLER_IS_BETTER:
        return found[by] < best[by]
    return found[by] > best[by]


def _due(every: int | None, step: int) -> bool:
    return every is not None and step % every == 0


def _silent(_: str) -> None:
    """Only the first process speaks."""

"""What each step reads: the rows of a global batch, cut into micro-batches of each process."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch

from engine.memory import Memory
from engine.training.data.rows import Row, Rows
from engine.training.distribute import Processes
from engine.training.objectives.base import Batch, Objective


class Order(Protocol):
    """Which rows a step reads."""

    def at(self, step: int) -> tuple[int, list[int]]:
        """The epoch, and the numbers of its rows."""


@dataclass(frozen=True)
class Portion:
    """A micro-batch of one process, with what the loop has to know of its rows."""

    batch: Batch
    rows: tuple[Row, ...]
    first: int
    """Where in the global batch the first row stands."""

    @property
    def sources(self) -> tuple[str, ...]:
        """File and line of each row."""
        return tuple(row.source for row in self.rows)

    def with_inputs(self, inputs: dict[str, Any]) -> "Portion":
        """The same rows called with other inputs."""
        return replace(self, batch=replace(self.batch, inputs=inputs))

    def in_row_order(self, memory: Memory) -> Memory:
        """A memory of the call's rows as one of the portion's rows, in their order."""
        return _selected(memory, np.argsort(self.batch.places).tolist())

    def in_call_order(self, memory: Memory) -> Memory:
        """The inverse."""
        return _selected(memory, list(self.batch.places))

    @property
    def fresh(self) -> list[bool]:
        """Which rows of the call remember nothing."""
        return [self.rows[place].fresh for place in self.batch.places]

    @property
    def tokens(self) -> int:
        """Tokens that are no padding; 0 where the rows stand in for none."""
        if self.batch.targets == 0:
            return 0
        return sum(len(row.ids) for row in self.rows)


@dataclass(frozen=True)
class Feed:
    """Micro-batches of each step, a pure function of the step and the process."""

    rows: Rows
    order: Order
    objective: Objective
    draws: Callable[[int], Any]
    """The random draws of a step's rows."""
    split: int | None = None
    """How many rows a process computes at a time; None: all of its own."""

    def at(self, step: int, processes: Processes) -> list[Portion]:
        """This process's micro-batches: as many on every process, with rows of no weight where a
        process has fewer.
        """
        epoch, numbers = self.order.at(step)
        own = processes.share(len(numbers))
        most = processes.largest_share(len(numbers))
        split = self.split or most
        runs = [own[start : start + split] for start in range(0, most, split)]
        draws = self.draws(step)
        if self.objective.whole:
            rows = [self.rows.row(number, epoch) for number in numbers]
            whole = self.objective.batch(rows, draws)
            return [_cut(whole, rows, run) for run in runs]
        return [self._portion(epoch, numbers, run, draws) for run in runs]

    def _portion(self, epoch: int, numbers: list[int], run: range, draws: Any) -> Portion:
        # Objectives that read every second row backwards take no odd number of rows.
        places = run or range(min(2, len(numbers)))
        rows = [self.rows.row(numbers[place], epoch) for place in places]
        batch = self.objective.batch(rows, draws)
        if not run:
            batch = replace(batch, targets=0)
        return Portion(batch, tuple(rows), run.start)

    def longest(self, processes: Processes, rows: int) -> Portion:
        """A micro-batch of the longest rows, `rows` of them in the global batch."""
        count = processes.largest_share(rows)
        count = min(count, self.split or count, len(self.rows))
        numbers = np.argsort(self.rows.lengths, kind="stable")[-count:]
        chosen = [self.rows.row(int(number), 0) for number in numbers]
        return Portion(self.objective.batch(chosen, self.draws(0)), tuple(chosen), 0)


class Turns:
    """Several feeds, one of them a step, each of which goes on where its own last turn ended."""

    def __init__(self, feeds: Sequence[Feed], part: Callable[[int], int]) -> None:
        self.feeds, self.part = feeds, part
        self._turns: list[tuple[int, int]] = []
        self._counts = [0] * len(feeds)

    def turn(self, step: int) -> tuple[int, int]:
        """Which feed a step reads, and how many steps before read the same."""
        while len(self._turns) <= step:
            part = self.part(len(self._turns))
            self._turns.append((part, self._counts[part]))
            self._counts[part] += 1
        return self._turns[step]

    def at(self, step: int, processes: Processes) -> list[Portion]:
        """The micro-batches of the feed whose turn it is."""
        part, turn = self.turn(step)
        return self.feeds[part].at(turn, processes)


class InTurn:
    """All rows once: streams as they lie, others by length so that little is padded."""

    def __init__(self, rows: Rows, count: int) -> None:
        self.numbers = np.arange(len(rows))
        if not rows.ordered:
            self.numbers = np.argsort(rows.lengths, kind="stable")
        self.count = count

    def __len__(self) -> int:
        return math.ceil(len(self.numbers) / self.count)

    def at(self, step: int) -> tuple[int, list[int]]:
        """Epoch 0, and `count` rows."""
        start = step * self.count
        return 0, self.numbers[start : start + self.count].tolist()


def _cut(whole: Batch, rows: Sequence[Row], run: range) -> Portion:
    """The rows `run` of a batch; where there are none, its first two without weight."""
    if not run:
        filler = whole.cut(0, 2)
        return Portion(replace(filler, targets=0), tuple(rows[:2]), run.start)
    return Portion(whole.cut(run.start, run.stop), tuple(rows[run.start : run.stop]), run.start)


def _selected(memory: Memory, places: list[int]) -> Memory:
    if places == list(range(memory.batch)):
        return memory
    return memory.select(torch.tensor(places))

"""The batches of a run as training sees them, in a file that other programs can check."""

import json
from pathlib import Path
from typing import Any

from torch import Tensor

from engine.training.distribute import Processes
from engine.training.run.feed import Portion
from engine.training.run.loop import Plan
from tokenization.files.staging import write_whole


def dump_batches(plan: Plan, steps: int, processes: Processes) -> Path:
    """Write the batches of the first `steps` steps into the run's folder; returns the file.

    One JSON object a micro-batch of this process: `step` (from 1), `first` (where in the global
    batch its rows begin), `targets` (0 where its rows stand in for none), and for each row of the
    call its `sources`, `numbers` and `fresh` (nothing before it may be remembered); `inputs` are
    the arguments of the call, tensors as nested lists. Each of several processes has a file of its
    own, and a team that shares its rows has one. Raises OSError where it cannot be written.
    """
    name = "batches.jsonl"
    if processes.count > 1:
        name = f"batches-{processes.rank}.jsonl"
    path = plan.output / name
    plan.output.mkdir(parents=True, exist_ok=True)

    def write(new: Path) -> None:
        with new.open("w", encoding="utf-8") as file:
            for step in range(min(steps, plan.steps)):
                for portion in plan.feed.at(step, processes):
                    file.write(json.dumps({"step": step + 1, **described(portion)}) + "\n")

    if processes.leads:
        write_whole(path, write)
    return path


def described(portion: Portion) -> dict[str, Any]:
    """A micro-batch as plain data; its rows stand in the order of the call."""
    rows = [portion.rows[place] for place in portion.batch.places]
    return {
        "first": portion.first,
        "targets": portion.batch.targets,
        "sources": [row.source for row in rows],
        "numbers": [row.number for row in rows],
        "fresh": portion.fresh,
        "inputs": {name: _plain(value) for name, value in portion.batch.inputs.items()},
    }


def _plain(value: Any) -> Any:
    if not isinstance(value, Tensor):
        return value
    if value.is_floating_point() and not bool((value % 1).any()):  # masks of zeros and ones
        value = value.long()
    return value.tolist()

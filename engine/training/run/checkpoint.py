"""Checkpoints of a run: folders `step-N` that are complete or invisible, `last` and `best`.

A folder holds the model as `load_model` opens it, the optimizer's moments by the names of their
parameters, the memory of stream rows, and state.json; all tensors are safetensors.
"""

import contextlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.optim import Optimizer

from engine.checkpoint.files import Weights, read_json, save_tensors
from engine.errors import CheckpointError, InputError, TrainingError
from engine.memory import Memory
from engine.model import Model
from engine.training.adapters import Adapter
from engine.training.distribute import Processes
from tokenization.files.plain_yaml import write_yaml

SHARD_BYTES = 5 * 10**9
STATE = "state.json"
_MOMENTS = ("exp_avg", "exp_avg_sq", "step")
_FAILURES = (OSError, SafetensorError, InputError, CheckpointError)


@dataclass(frozen=True)
class Saved:
    """The weights and moments of a run at a step, and what goes with them."""

    model: Model
    optimizer: Optimizer
    memories: Mapping[int, Memory]
    """Of this process's stream rows, by the number of the first row of each micro-batch."""
    state: Mapping[str, Any]
    beside: Callable[[Path], None] | None = None
    """Writes further files, such as the tokenizer's."""
    adapter: Adapter | None = None
    """What of the model is learned, where its own weights are frozen."""


class RunFolder:
    """The checkpoints of one run, which all processes save and read together."""

    def __init__(self, folder: Path, processes: Processes) -> None:
        self.folder, self.processes = folder, processes

    def pointed(self, pointer: str) -> Path | None:
        """The checkpoint that `last` or `best` names, if any."""
        link = self.folder / pointer
        return link.resolve() if link.is_dir() else None

    def save(self, step: int, saved: Saved, *, best: bool, keep: int) -> None:
        """Write `step-N`, make it `last` (and `best`), and drop older ones but `keep`.

        Raises TrainingError on all processes where one cannot write; what was saved before stays.
        """
        name = f"step-{step}"
        if self._is_last(name):
            self._together(lambda: self._point("best", name) if best else None, name)
            return
        stage = self.folder / f".saving-{name}"
        self._together(lambda: self._begin(stage), name)
        failure = self._write(stage, saved)
        self._agree(failure, stage, name)
        self._together(lambda: self._publish(stage, name, best, keep), name)

    def _is_last(self, name: str) -> bool:
        last = self.pointed("last")
        return self.processes.all_true(last is not None and last.name == name)

    def _begin(self, stage: Path) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        for left in self.folder.glob(".*-step-*"):
            shutil.rmtree(left, ignore_errors=True)
        stage.mkdir()

    def _write(self, stage: Path, saved: Saved) -> BaseException | None:
        """Fill a stage; returns what this process could not write."""
        failures = []
        description = {"spec.yaml": write_yaml(saved.model.spec.to_dict())}
        weights = self._gathered(saved.model.named_parameters())
        adapter = saved.adapter
        if adapter is not None:
            weights = adapter.merged(self.processes.whole)
        failures.append(
            self._write_gathered(
                weights, lambda tensors: save_tensors(tensors, stage, SHARD_BYTES, description)
            )
        )
        if adapter is not None:
            learned = adapter.learned(self.processes.whole)
            failures.append(
                self._write_gathered(learned, lambda tensors: adapter.save(tensors, stage))
            )
        moments = self._gathered(_moments(saved.model, saved.optimizer))
        failures.append(
            self._write_gathered(moments, lambda tensors: _save_moments(tensors, stage))
        )
        try:
            for first, memory in saved.memories.items():
                memory.save(stage / f"memory-{first:08}.safetensors")
            if self.processes.first:
                if saved.beside is not None:
                    saved.beside(stage)
                text = json.dumps(saved.state, indent=2) + "\n"
                (stage / STATE).write_text(text, encoding="utf-8")
        except _FAILURES as error:
            failures.append(error)
        return next((failure for failure in failures if failure is not None), None)

    def _gathered(self, tensors: Iterable[tuple[str, Tensor]]) -> Iterator[tuple[str, Tensor]]:
        for name, tensor in tensors:
            yield name, self.processes.whole(tensor, _parameter(name))

    def _write_gathered(
        self,
        tensors: Iterator[tuple[str, Tensor]],
        write: Callable[[Iterator[tuple[str, Tensor]]], None],
    ) -> BaseException | None:
        """Write on the first process what all of them gather; returns what went wrong."""
        failure = None
        try:
            if self.processes.first:
                write(tensors)
        except _FAILURES as error:
            failure = error
        for _ in tensors:
            pass  # the others wait for no process that has stopped to gather
        return failure

    def _publish(self, stage: Path, name: str, best: bool, keep: int) -> None:
        target = self.folder / name
        for path in [*stage.rglob("*"), stage]:
            _sync(path)
        if target.exists():  # saved, but never made `last`
            target.rename(self.folder / f".old-{name}")
        stage.rename(target)
        _sync(self.folder)
        self._point("last", name)
        if best:
            self._point("best", name)
        self._prune(keep)

    def _point(self, pointer: str, name: str) -> None:
        new = self.folder / f".{pointer}.new"
        new.unlink(missing_ok=True)
        new.symlink_to(name)
        new.replace(self.folder / pointer)
        _sync(self.folder)

    def _prune(self, keep: int) -> None:
        pointed = {self.pointed("last"), self.pointed("best")}
        steps = sorted(self.folder.glob("step-*"), key=_number)
        older = [path for path in steps if path.resolve() not in pointed]
        for path in older[: max(0, len(older) - keep)]:
            gone = self.folder / f".old-{path.name}"
            path.rename(gone)
            shutil.rmtree(gone, ignore_errors=True)

    def _together(self, act: Callable[[], None], name: str) -> None:
        """Do something on the first process, and let all know whether it went well."""
        failure = None
        try:
            if self.processes.first:
                act()
        except OSError as error:
            failure = error
        self._agree(failure, None, name)

    def _agree(self, failure: BaseException | None, stage: Path | None, name: str) -> None:
        if self.processes.all_true(failure is None):
            return
        if stage is not None and self.processes.first:
            shutil.rmtree(stage, ignore_errors=True)
        last = self.pointed("last")
        kept = "nothing was saved before" if last is None else f"{last.name} is as it was"
        reason = "another process could not write" if failure is None else failure
        raise TrainingError(
            f"{self.folder / name} cannot be written: {reason}; {kept}"
        ) from failure


def read_state(folder: Path) -> dict[str, Any]:
    """state.json of a checkpoint; raises CheckpointError where it is missing or damaged."""
    return read_json(folder / STATE)


def restore(
    folder: Path,
    model: Model,
    optimizer: Optimizer,
    processes: Processes,
    adapter: Adapter | None = None,
) -> None:
    """Fill a model, or what an adapter learns of it, and its optimizer with what a checkpoint holds.

    Raises CheckpointError for tensors that are missing or of another shape.
    """
    slots = {name: name for name, _ in model.named_parameters()}
    if adapter is None:
        weights = Weights(folder)
    else:
        weights, slots = adapter.open(folder), adapter.files
    held = set(weights.names())
    moments = _read_moments(folder)
    for name, stored in slots.items():
        parameter = model.get_parameter(name)
        if stored not in held or weights.shape(stored) != processes.whole_shape(parameter, name):
            raise CheckpointError(
                f"{folder}: {stored} {tuple(parameter.shape)} is missing or of another shape; was "
                "the run begun with another model?"
            )
        with torch.no_grad():
            parameter.copy_(processes.cut_like(weights.read(stored), parameter, name))
        if f"{name}.step" not in moments:
            continue
        optimizer.state[parameter] = {
            "step": moments[f"{name}.step"].to(parameter.device, copy=True),
            "exp_avg": processes.cut_like(moments[f"{name}.exp_avg"], parameter, name),
            "exp_avg_sq": processes.cut_like(moments[f"{name}.exp_avg_sq"], parameter, name),
        }


def read_memories(
    folder: Path, runs: Sequence[tuple[int, int]], device: torch.device
) -> list[Memory | None]:
    """The memory of each run of stream rows (first row, how many), whichever runs were saved."""
    files = {
        int(path.stem.rpartition("-")[2]): path for path in folder.glob("memory-*.safetensors")
    }
    if not files:
        return [None for _ in runs]
    parts = {first: Memory.load(files[first], device) for first in sorted(files)}
    if all(first in parts and parts[first].batch == count for first, count in runs):
        return [parts[first] for first, _ in runs]
    everything = Memory.concatenate(list(parts.values()))
    if any(first + count > everything.batch for first, count in runs):
        raise CheckpointError(f"{folder} remembers {everything.batch} rows, too few for this batch")
    return [everything.select(torch.arange(first, first + count)) for first, count in runs]


def _moments(model: Model, optimizer: Optimizer) -> Iterator[tuple[str, Tensor]]:
    for name, parameter in model.named_parameters():
        state = optimizer.state.get(parameter, {})
        for moment in _MOMENTS:
            if moment in state:
                yield f"{name}.{moment}", state[moment]


def _save_moments(tensors: Iterable[tuple[str, Tensor]], folder: Path) -> None:
    shard: dict[str, Tensor] = {}
    number = filled = 0
    for name, tensor in tensors:
        if shard and filled + tensor.nbytes > SHARD_BYTES:
            save_file(shard, folder / f"optimizer-{number:05}.safetensors")
            shard, number, filled = {}, number + 1, 0
        shard[name] = tensor.detach().cpu().contiguous()
        filled += tensor.nbytes
    save_file(shard, folder / f"optimizer-{number:05}.safetensors")


def _read_moments(folder: Path) -> dict[str, Tensor]:
    """The moments that a checkpoint holds, on pages of its files."""
    found: dict[str, Tensor] = {}
    for path in sorted(folder.glob("optimizer-*.safetensors")):
        try:
            with safe_open(path, framework="pt") as file:
                found.update({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
        except (OSError, SafetensorError) as error:
            raise CheckpointError(f"{path} is damaged: {error}") from None
    return found


def _parameter(name: str) -> str:
    """The parameter to which a stored tensor belongs: itself, or one of its moments."""
    owner, _, last = name.rpartition(".")
    return owner if last in _MOMENTS else name


def _number(path: Path) -> int:
    found = re.fullmatch(r"step-(\d+)", path.name)
    return int(found[1]) if found else -1


def _sync(path: Path) -> None:
    with contextlib.suppress(PermissionError):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

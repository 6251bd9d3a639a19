"""What a person sees of a run: a log of JSON lines, a progress bar, a curve, TensorBoard."""

import json
import resource
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import torch

from engine.errors import TrainingError
from engine.training.run.curve import Curve
from tokenization.extras import import_extra
from tokenization.files.staging import write_whole

Record = Mapping[str, Any]


class Watcher(Protocol):
    """Something that follows a run."""

    def step(self, record: Record) -> None:
        """After each step: step, loss, rate, norm, targets, tokens, seconds."""

    def evaluation(self, step: int, metrics: Mapping[str, float]) -> None:
        """After each evaluation."""

    def close(self) -> None:
        """At the end."""


class Log:
    """`log.jsonl`, one line a step or evaluation, and `losses.svg`.

    A run that goes on from a step takes what was logged after it out first.
    """

    def __init__(self, folder: Path, done: int, every: int = 1) -> None:
        self.path, self.picture, self.every = folder / "log.jsonl", folder / "losses.svg", every
        self.curve = Curve()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            kept = [line for line in _lines(self.path) if line["step"] <= done]
            write_whole(self.path, lambda new: _write(new, kept))
            for line in kept:
                self._draw(line)
            self._file = self.path.open("a", encoding="utf-8")
        except OSError as error:
            raise self._failure(error) from error

    def step(self, record: Record) -> None:
        """One line, on disk when this returns to the system's care."""
        self._draw(record)
        if record["step"] % self.every == 0:
            self._line(record)

    def evaluation(self, step: int, metrics: Mapping[str, float]) -> None:
        """One line, and the curve drawn anew."""
        record = {"step": step, "evaluation": dict(metrics)}
        self._draw(record)
        self._line(record)
        self.draw()

    def draw(self) -> None:
        """Write `losses.svg`."""
        try:
            write_whole(self.picture, lambda new: _write_text(new, self.curve.svg()))
        except OSError as error:
            raise self._failure(error) from error

    def close(self) -> None:
        """Draw the curve a last time."""
        self._file.close()
        self.draw()

    def _draw(self, record: Record) -> None:
        if "evaluation" in record:
            self.curve.add_held_out(record["step"], record["evaluation"].get("loss"))
        else:
            self.curve.add(record["step"], record["loss"])

    def _line(self, record: Record) -> None:
        try:
            self._file.write(json.dumps(record) + "\n")
            self._file.flush()
        except OSError as error:
            raise self._failure(error) from error

    def _failure(self, error: OSError) -> TrainingError:
        return TrainingError(f"{self.path} cannot be written: {error.strerror or error}")


class Bar:
    """A progress bar with loss, tokens a second, time left and memory, on a terminal alone."""

    def __init__(self, steps: int, done: int) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self.progress = Progress(
            TextColumn("step {task.completed:,.0f}/{task.total:,.0f}"),
            BarColumn(),
            TextColumn("loss {task.fields[loss]:.4f}  {task.fields[speed]:,.0f} tokens/s"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[memory]}"),
        )
        self.task = self.progress.add_task(
            "training", total=steps, completed=done, loss=float("nan"), speed=0.0, memory=""
        )
        self.progress.start()

    def step(self, record: Record) -> None:
        """Move the bar."""
        self.progress.update(
            self.task,
            completed=record["step"],
            loss=record["loss"],
            speed=record["tokens"] / max(record["seconds"], 1e-9),
            memory=f"{peak_memory() / 2**30:.1f} GiB",
        )

    def evaluation(self, step: int, metrics: Mapping[str, float]) -> None:
        """One line above the bar."""
        told = ", ".join(f"{name} {value:.4f}" for name, value in metrics.items())
        self.progress.console.print(f"step {step:,}: {told}")

    def close(self) -> None:
        """Leave the terminal as it was."""
        self.progress.stop()


class Board:
    """TensorBoard's files, where it is asked for."""

    def __init__(self, folder: Path, done: int) -> None:
        import_extra("tensorboard", "tensorboard", "a TensorBoard log")
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(str(folder / "tensorboard"), purge_step=done + 1)

    def step(self, record: Record) -> None:
        """Loss, rate and norm."""
        for name in ("loss", "rate", "norm"):
            self.writer.add_scalar(f"train/{name}", record[name], record["step"])

    def evaluation(self, step: int, metrics: Mapping[str, float]) -> None:
        """All metrics."""
        for name, value in metrics.items():
            self.writer.add_scalar(f"held_out/{name}", value, step)

    def close(self) -> None:
        """Write what is left."""
        self.writer.close()


class Watch:
    """All that follow a run, as one."""

    def __init__(self, *watchers: Watcher) -> None:
        self.watchers = watchers

    def __enter__(self) -> "Watch":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for watcher in self.watchers:
            try:
                watcher.close()
            except TrainingError:
                if error is None:
                    raise

    def step(self, record: Record) -> None:
        """After each step."""
        for watcher in self.watchers:
            watcher.step(record)

    def evaluation(self, step: int, metrics: Mapping[str, float]) -> None:
        """After each evaluation."""
        for watcher in self.watchers:
            watcher.evaluation(step, metrics)


def on_terminal() -> bool:
    """Whether a progress bar can be shown."""
    return sys.stdout.isatty()


def peak_memory() -> int:
    """The most bytes that this process has held so far: of its accelerator, else of the machine."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        return torch.cuda.max_memory_allocated()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if sys.platform == "darwin":
        return peak
    return peak * 1024


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """The whole lines of a log; the last may have been cut short."""
    if not path.exists():
        return
    with path.open(encoding="utf-8", errors="replace") as file:
        for text in file:
            try:
                line = json.loads(text)
            except ValueError:
                continue
            if isinstance(line, dict) and isinstance(line.get("step"), int):
                yield line


def _write(path: Path, lines: list[dict[str, Any]]) -> None:
    _write_text(path, "".join(json.dumps(line) + "\n" for line in lines))


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")

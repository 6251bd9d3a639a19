"""One workload on all sides: the same weights, answers compared first, then turns."""

import os
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from safetensors.torch import load_file

from benchmarks.sides import Process, SideError, own, peer
from benchmarks.workloads import ENGINE, PREPACKED, Workload

TOLERANCE = {"float32": 1e-4, "bfloat16": 5e-2}


@dataclass
class Result:
    """What one workload gave: seconds of each side by round, peak bytes above its weights, and
    distances of answers.

    `load` is the system's load average of the minute before: above the threads of a side, others
    disturbed the times. `prepacks` is whether this machine prepacks weights of that precision.
    """

    name: str
    date: str
    weights: int = 0
    operations: dict[str, float | None] = field(default_factory=dict)
    seconds: dict[str, list[float]] = field(default_factory=dict)
    peak: dict[str, int] = field(default_factory=dict)
    rates: list[float] = field(default_factory=list)
    distances: dict[str, float] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    load: float = 0.0
    prepacks: bool = True

    @property
    def peers(self) -> list[str]:
        """The sides that are not the engine's."""
        return [name for name in self.seconds if name not in (ENGINE, PREPACKED)]

    @property
    def fastest_peer(self) -> str | None:
        """The peer with the least median."""
        return min(self.peers, key=lambda name: median(self.seconds[name]), default=None)

    def ratios(self, side: str = ENGINE) -> list[float]:
        """Time of the fastest peer over the engine's, by round; none where one of them did not run."""
        times, own = self.seconds.get(self.fastest_peer or "", []), self.seconds.get(side, [])
        return [a / b for a, b in zip(times, own)]

    def share(self, side: str = ENGINE) -> float | None:
        """Share of the measured matrix-product rate that the engine's whole call reaches."""
        operations = self.operations.get(side)
        if operations is None or not self.rates or not self.seconds.get(side):
            return None
        return operations / median(self.seconds[side]) / median(self.rates)


def spread(values: Sequence[float]) -> tuple[float, float, float]:
    """Lower quartile, median, upper quartile."""
    if len(values) == 1:
        return values[0], values[0], values[0]
    low, middle, high = quantiles(values, n=4, method="inclusive")
    return low, middle, high


def measure(
    work: Workload,
    pythons: Sequence[str],
    threads: int,
    rounds: int,
    on_turn: Callable[[str], None] = lambda _: None,
) -> Result:
    """Measure one workload against the interpreters that can run it; `on_turn` hears what happens
    now.

    Raises SideError where the engine fails, or where the answers of two sides differ.
    """
    result = Result(
        work.name, datetime.now(timezone.utc).strftime("%Y-%m-%d"), load=os.getloadavg()[0]
    )
    rounds = min(rounds, work.rounds or rounds)
    with tempfile.TemporaryDirectory() as folder:
        on_turn("weights")
        with own(threads) as writer:
            written = writer.ask("write", work=asdict(work), folder=folder)
        result.weights, result.operations = written["weights"], written["operations"]
        result.prepacks = written["prepacks"]
        turns = _open_each_round if work.call == "opening" else _take_turns
        turns(work, folder, pythons, threads, rounds, result, on_turn)
    return result


def _offered(work: Workload, python: str, threads: int, result: Result) -> Process | None:
    """A peer's process where its release is one that counts for this workload."""
    process = peer(python, threads)
    try:
        found = process.ask("offers", name=work.peer_class)
    except SideError as error:
        result.left_out.append(str(error))
        process.__exit__(None, None, None)
        return None
    if found["has"] and found["version"].split()[-1].startswith(work.releases):
        return process
    process.__exit__(None, None, None)
    return None


def _take_turns(
    work: Workload,
    folder: str,
    pythons: Sequence[str],
    threads: int,
    rounds: int,
    result: Result,
    on_turn: Any,
) -> None:
    with ExitStack() as stack:
        # A process of its own: its products count to nobody's memory.
        meter = stack.enter_context(own(threads))
        engine = stack.enter_context(own(threads))
        sides = {ENGINE: engine}
        bases = {
            ENGINE: engine.ask("load", work=asdict(work), folder=folder, threads=threads)[
                "resident"
            ]
        }
        on_turn(f"{ENGINE} answers")
        answers = {ENGINE: _answer(engine, folder)} if work.releases else {}
        if work.serves and result.prepacks:
            packed = sides[PREPACKED] = stack.enter_context(own(threads))
            loaded = packed.ask(
                "load", work=asdict(replace(work, prepacked=True)), folder=folder, threads=threads
            )
            bases[PREPACKED] = loaded["resident"]
            on_turn(f"{PREPACKED} answers")
            answers[PREPACKED] = _answer(packed, folder)
        for python in pythons if work.releases else ():
            process = _offered(work, python, threads, result)
            if process is None:
                continue
            stack.enter_context(process)
            on_turn(f"{python} answers")
            try:
                loaded = process.ask("load", work=asdict(work), folder=folder, threads=threads)
                answers[loaded["version"]] = _answer(process, folder)
            except SideError as error:
                result.left_out.append(str(error))
                continue
            sides[loaded["version"]], bases[loaded["version"]] = process, loaded["resident"]
        _compare(work, folder, threads, answers, result)
        for number in range(rounds):
            order = list(sides)[number % len(sides) :] + list(sides)[: number % len(sides)]
            result.rates.append(meter.ask("rate", dtype=work.dtype, threads=threads)["rate"])
            for name in order:
                on_turn(f"{name}, round {number + 1} of {rounds}")
                told = sides[name].ask("time")
                result.seconds.setdefault(name, []).append(told["seconds"])
                result.peak[name] = max(result.peak.get(name, 0), told["peak"] - bases[name])


def _open_each_round(
    work: Workload,
    folder: str,
    pythons: Sequence[str],
    threads: int,
    rounds: int,
    result: Result,
    on_turn: Any,
) -> None:
    """A fresh process for each time: its memory counts, and nothing is left of the time before."""
    answers = {}
    for number in range(rounds + 1):
        for python in (None, *pythons):
            process = own(threads) if python is None else _offered(work, python, threads, result)
            if process is None:
                continue
            with process:
                process.ask("offers", name=work.spec if python is None else work.peer_class)
                on_turn(f"{python or ENGINE}, round {number} of {rounds}")
                told = process.ask("load", work=asdict(work), folder=folder, threads=threads)
                if number == 0:  # also brings the file into the system's cache
                    answers[told["version"]] = _answer(process, folder)
                    continue
                result.seconds.setdefault(told["version"], []).append(told["seconds"])
                result.peak[told["version"]] = max(
                    result.peak.get(told["version"], 0), told["peak"]
                )
        if number == 0:
            _compare(work, folder, threads, answers, result)
    result.left_out = sorted(set(result.left_out))


def _answer(process: Process, folder: str) -> Any:
    path = Path(folder) / "answer.safetensors"
    process.ask("answer", path=str(path))
    tensor = load_file(path)["answer"].clone()
    path.unlink()
    return tensor


def _compare(
    work: Workload, folder: str, threads: int, answers: dict[str, Any], result: Result
) -> None:
    """Distances of all answers from the engine's in float32, relative to its largest magnitude."""
    if not answers:
        return
    reference = answers[ENGINE]
    if work.dtype != "float32":
        with own(threads) as process:
            process.ask(
                "load", work=asdict(replace(work, dtype="float32")), folder=folder, threads=threads
            )
            reference = _answer(process, folder)
    for name, answer in answers.items():
        if name == ENGINE and work.dtype == "float32":
            continue
        if answer.shape != reference.shape:
            raise SideError(
                f"{work.name}: {name} answers {tuple(answer.shape)}, the engine {tuple(reference.shape)}"
            )
        distance = float((answer - reference).abs().max() / reference.abs().max())
        result.distances[name] = distance
        if not distance < TOLERANCE[work.dtype]:
            raise SideError(
                f"{work.name}: the answers of {name} and the engine differ by {distance:.1e} of the largest"
            )

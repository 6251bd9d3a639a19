"""A table of its own on the benchmarks page, and what the modules that make one share."""

import argparse
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from statistics import median

DOCS = Path(__file__).parents[1] / "docs"


def today() -> str:
    """The date, as the page writes it."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%d")


@dataclass
class Section:
    """A title, what was measured, and rows of cells under columns; `load` as in Result."""

    title: str
    text: str
    columns: list[str]
    rows: list[list[str]] = field(default_factory=list)
    date: str = field(default_factory=today)
    load: float = field(default_factory=lambda: os.getloadavg()[0])

    def __str__(self) -> str:
        table = [self.columns, ["---"] * len(self.columns), *self.rows]
        lines = "\n".join(f"| {' | '.join(cells)} |" for cells in table)
        return f"## {self.title}\n\n{self.text}\n\n{lines}"


def settings(name: str, description: str | None, arguments: list[str]) -> argparse.Namespace:
    """Rounds, threads, and whether to renew the page."""
    parser = argparse.ArgumentParser(
        f"benchmarks {name}", description=description, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5, help="turns of each side (5)")
    parser.add_argument("--threads", type=int, default=2, help="threads (2)")
    parser.add_argument(
        "--write", action="store_true", help="renew the section in docs/benchmarks.md"
    )
    given = parser.parse_args(arguments)
    if given.rounds < 1 or given.threads < 1:
        parser.error("--rounds and --threads count from 1")
    return given


def seconds_of(call: Callable[[], object]) -> float:
    """How long a call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def in_turns(sides: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """What each side gives in each round; who begins a round changes."""
    found: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds):
        names = list(sides)[:: -1 if number % 2 else 1]
        for name in names:
            found[name].append(sides[name]())
    return found


def median_ratio(above: list[float], below: list[float]) -> float:
    """The median over the rounds of one side's time over the other's."""
    return median(a / b for a, b in zip(above, below, strict=True))

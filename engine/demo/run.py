"""The demonstration: all families, as many at once as there are processors, each shown as soon as
it is ready.
"""

import multiprocessing
import os
import queue
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from engine.demo.corpus import LOCALES, Corpus, make_corpus, sentence
from engine.demo.lesson import Finding
from engine.demo.teach import Taught, teach

FAMILIES = ("xlnet", "xlm", "xlm-roberta-xl", "transformer-xl", "xglm")
SPARKS = "▁▂▃▄▅▆▇█"


def run(
    families: Sequence[str] = FAMILIES,
    *,
    seed: int = 0,
    quick: bool = False,
    folder: Path | None = None,
) -> None:
    """Train and show the tiny network of each family; with `folder`, leave it there with its
    tokenizer.
    """
    console = Console(highlight=False)
    begun = time.perf_counter()
    corpus = make_corpus(seed)
    console.print(
        f"{len(corpus.train)} facts, {len(corpus.held_out)} held out, said in {len(LOCALES)} languages as CLDR has it:"
    )
    for locale in ("en", "el", "tr"):
        console.print(f"  [dim]{locale}[/dim] {sentence(corpus.held_out[0], locale)}")
    with Bars(console, families) as bars:
        for taught in teach_all(
            families, corpus, bars, {"seed": seed, "quick": quick, "folder": folder}
        ):
            show(taught, console)
    console.print(f"\n{time.perf_counter() - begun:.0f} s in all.")
    if folder is not None:
        console.print(
            f"The networks are in {folder}: try [bold]engine describe {folder / families[-1]}[/bold]"
        )


def teach_all(
    families: Sequence[str], corpus: Corpus, bars: "Bars", settings: dict[str, Any]
) -> Iterator[Taught]:
    """Each family's result in the order given, each on one thread, in this process or in several.

    Small networks gain little from more threads, and the same numbers come out however many
    families are shown.
    """
    processors = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    if min(processors, len(families)) == 1:
        for family in families:
            with one_thread():
                taught = teach(family, corpus, advance=bars.advance, **settings)
            yield taught
        return
    context = multiprocessing.get_context("spawn")
    news = context.Queue()
    with ProcessPoolExecutor(min(processors, len(families)), context, _begin, (news,)) as pool:
        futures = [pool.submit(_teach_apart, family, corpus, settings) for family in families]
        for future in futures:
            while not future.done():
                bars.follow(news)
            yield future.result()


@contextmanager
def one_thread() -> Iterator[None]:
    """Sums are taken in another order on several threads, so that last bits of a loss depend on
    their number.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


_news: Any = None


def _begin(news: Any) -> None:
    global _news
    _news = news
    torch.set_num_threads(1)


def _teach_apart(family: str, corpus: Corpus, settings: dict[str, Any]) -> Taught:
    return teach(family, corpus, advance=lambda *step: _news.put(step), **settings)


class Bars:
    """One progress bar a family while output is a terminal, nothing otherwise."""

    def __init__(self, console: Console, families: Sequence[str]) -> None:
        loss = TextColumn("loss {task.fields[loss]:.2f}")
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            loss,
            TimeElapsedColumn(),
        )
        self.progress = Progress(
            *columns, console=console, transient=True, disable=not console.is_terminal
        )
        self.tasks = {
            family: self.progress.add_task(family, start=False, total=None, loss=0.0)
            for family in families
        }

    def __enter__(self) -> "Bars":
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def advance(self, family: str, done: int, steps: int, loss: float) -> None:
        """A family has done some of its steps; a bar that is full goes."""
        task = self.tasks[family]
        if done == 1:
            self.progress.start_task(task)
        self.progress.update(task, completed=done, total=steps, loss=loss, visible=done < steps)

    def follow(self, news: Any) -> None:
        """Hear for a moment of steps done elsewhere."""
        try:
            self.advance(*news.get(timeout=0.1))
        except queue.Empty:
            return


def show(taught: Taught, console: Console) -> None:
    """What a family has learned."""
    console.rule(f"[bold]{taught.family}[/bold] {taught.purpose}")
    console.print(f"{taught.parameters:,} parameters, {taught.vocabulary}")
    first, last = mean(taught.losses[:5]), mean(taught.losses[-10:])
    console.print(
        f"loss {first:.2f} {sparkline(taught.losses)} {last:.2f}   {taught.seconds:.0f} s"
    )
    console.print(f"[bold]{taught.finding.headline}[/bold]")
    console.print(as_table(taught.finding))


def sparkline(values: Sequence[float], width: int = 40) -> str:
    """The values drawn in one line, from the smallest to the largest of their means over `width`
    stretches.
    """
    width = min(width, len(values))
    means = [
        mean(values[len(values) * i // width : len(values) * (i + 1) // width])
        for i in range(width)
    ]
    low, span = min(means), max(means) - min(means) or 1.0
    return "".join(SPARKS[int((value - low) / span * (len(SPARKS) - 1))] for value in means)


def mean(values: Sequence[float]) -> float:
    """The arithmetic mean."""
    return sum(values) / len(values)


def as_table(finding: Finding) -> Table:
    """The examples of a finding, without frames."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in finding.columns:
        table.add_column(column, overflow="fold")
    for example in finding.examples:
        table.add_row(*example)
    return table

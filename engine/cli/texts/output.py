"""Where the lines of a command go: to standard output or, whole or not at all, into a file."""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import typer

from engine.cli.texts.team import Team
from tokenization.files.staging import whole_file

Write = Callable[[list[str], int], None]


def write_lines(
    team: Team,
    texts: Iterator[str],
    size: int,
    work: Callable[[int, list[str]], list[str]],
    *,
    file: Path | None,
    output: Path | None,
) -> None:
    """Lines of all texts from the first process, with a progress bar over `file` on a terminal."""
    with ExitStack() as stack:
        first = team.processes.first
        write = team.together(lambda: stack.enter_context(_writing(output)) if first else _nothing)
        if first and file is not None and _shows_bar(output):
            write = stack.enter_context(_with_bar(write, file.stat().st_size))
        team.work_through(texts, size, work, write)
        team.together(stack.close)


@contextmanager
def _writing(output: Path | None) -> Iterator[Write]:
    """Lines on standard output, or in a file that takes its place when the block ends well."""
    if output is None:
        yield lambda lines, _: _show(lines)
        return
    with whole_file(output) as place, place.open("w", encoding="utf-8") as file:
        yield lambda lines, _: file.writelines(f"{line}\n" for line in lines)


def _show(lines: list[str]) -> None:
    for line in lines:
        typer.echo(line)


def _nothing(lines: list[str], _: int) -> None:
    """The first process writes for all."""


def _shows_bar(output: Path | None) -> bool:
    """Whether a bar has a terminal of its own."""
    return sys.stderr.isatty() and (output is not None or not sys.stdout.isatty())


@contextmanager
def _with_bar(write: Write, total: int) -> Iterator[Write]:
    """The same, and a bar of how many of `total` bytes were read."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TimeRemainingColumn

    columns = BarColumn(), TaskProgressColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=total)

        def advance(lines: list[str], size: int) -> None:
            write(lines, size)
            progress.advance(task, size)

        yield advance

"""Work on many texts, shared out among the processes of a launcher such as torchrun: each takes
whole batches, the first one writes all lines in the order of the texts.
"""

import json
import secrets
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import islice
from typing import NoReturn, TypeVar

import typer

from engine.cli.failures import CUT_OFF, EXPECTED, told
from engine.errors import InputError
from engine.training.distribute import Processes, close_processes, open_processes

T = TypeVar("T")
Chunk = tuple[int, "list[str] | BaseException"]
"""The number of the first text, and texts, or why they cannot be read."""
AHEAD = 4  # batches that each process finishes between two exchanges
UNKNOWN, EXPECTED_ERROR, CUT = 1, 2, 3
EXIT_CODES = {UNKNOWN: 1, EXPECTED_ERROR: 2, CUT: 0}


class Team:
    """The processes that answer one command; what ends one of them ends all, and is told once."""

    def __init__(self, processes: Processes) -> None:
        self.processes = processes

    @property
    def alone(self) -> bool:
        """Whether this is the only process."""
        return self.processes.count == 1

    def together(self, act: Callable[[], T]) -> T:
        """What `act` gives on each process; where it fails on one, all end."""
        failed, found = None, None
        try:
            found = act()
        except (Exception, SystemExit) as error:
            failed = (0, error)
        _, ending = self._exchange({}, failed)
        if ending is not None:
            self._end(ending)
        return found  # type: ignore[return-value]

    def work_through(
        self,
        texts: Iterator[str],
        size: int,
        work: Callable[[int, list[str]], list[str]],
        write: Callable[[list[str], int], None],
    ) -> None:
        """Give each batch of `size` texts, with the number of its first, to `work` on one process.

        `write` gets the lines of all on the first process, in order, none on the others, and how
        many bytes were read.
        Raises InputError where processes read different texts.
        """
        own, count = self.processes.rank, self.processes.count
        for chunks in self._rounds(texts, size):
            size_read = self._same(chunks)
            lines: dict[int, list[str]] = {}
            failed = None
            for number in range(own, len(chunks), count):
                try:
                    lines[number] = _worked(work, chunks[number])
                except (Exception, SystemExit) as error:
                    failed = (number, error)
                    break
            ready, ending = self._exchange(lines, failed)
            self.together(partial(write, ready, size_read))
            if ending is not None:
                self._end(ending)

    def _rounds(self, texts: Iterator[str], size: int) -> Iterator[list[Chunk]]:
        """The batches between two exchanges; the last list, which is empty, is seen by all."""
        start, chunks = 0, [(0, [])]  # type: tuple[int, list[Chunk]]
        # A lone process shows each batch when it is done.
        most = 1 if self.alone else AHEAD * self.processes.count
        while chunks:
            chunks = []
            while len(chunks) < most:
                chunk = _read(texts, size)
                if not chunk:
                    break
                chunks.append((start, chunk))
                if isinstance(chunk, BaseException):
                    break
                start += len(chunk)
            yield chunks

    def _same(self, chunks: list[Chunk]) -> int:
        """How many bytes the texts have, which must be the same on all processes."""
        read = [text for _, chunk in chunks if isinstance(chunk, list) for text in chunk]
        data = "".join(f"{text}\n" for text in read).encode("utf-8", "surrogatepass")
        found = self._each(zlib.crc32(data) + len(chunks))
        if len(set(found)) > 1:
            self.together(_differ)
        return len(data)

    def _exchange(
        self, lines: dict[int, list[str]], failed: tuple[int, BaseException] | None
    ) -> tuple[list[str], BaseException | None]:
        """The lines of all batches before the first that failed, on the first process; and with what
        this process has to end.
        """
        code, number, message = 0, 0, ""
        if failed is not None:
            number, error = failed
            code, message = _kind(error), told(error)
        codes, numbers = self._each(code), self._each(number)
        parts = [json.loads(part) for part in self.processes.gather(json.dumps([lines, message]))]
        done = {int(place): each for part, _ in parts for place, each in part.items()}
        failures = sorted(
            (numbers[rank], rank) for rank in range(self.processes.count) if codes[rank]
        )
        if not failures:
            return [line for place in sorted(done) for line in done[place]], None
        first, rank = failures[0]
        ready = [line for place in sorted(done) if place < first for line in done[place]]
        if failed is not None and rank == self.processes.rank:
            if code != EXPECTED_ERROR or self.processes.first:
                return ready, failed[1]
        if self.processes.first and codes[rank] == EXPECTED_ERROR:
            return ready, InputError(parts[rank][1])
        return ready, typer.Exit(EXIT_CODES[codes[rank]])

    def _end(self, ending: BaseException) -> NoReturn:
        """End with all others: a launcher stops the rest when the first one has gone, and the
        message has to be told before.
        """
        if self.alone:
            raise ending
        if _kind(ending) == EXPECTED_ERROR:
            typer.echo(told(ending), err=True)
            ending = typer.Exit(EXIT_CODES[EXPECTED_ERROR])
        self.processes.wait()
        raise ending

    def common_seed(self) -> int:
        """A random seed, the same on all processes."""
        return self._each(secrets.randbits(32))[0]

    def _each(self, number: int) -> list[int]:
        """A whole number of each process, on all of them."""
        own = self.processes.rank
        slots = (number * (rank == own) for rank in range(self.processes.count))
        return [int(found) for found in self.processes.sum(*slots)]


@contextmanager
def open_team(compute: str = "auto") -> Iterator[Team]:
    """The processes that a launcher started, or this one alone; `compute` as in a recipe's
    `devices`.
    """
    from engine.training.recipe.sections import Devices

    processes = open_processes(Devices.model_validate({"compute": compute}))
    try:
        yield Team(processes)
    finally:
        close_processes(processes)


def _worked(work: Callable[[int, list[str]], list[str]], chunk: Chunk) -> list[str]:
    start, texts = chunk
    if isinstance(texts, BaseException):
        raise texts
    return work(start, texts)


def _read(texts: Iterator[str], size: int) -> "list[str] | BaseException":
    try:
        return list(islice(texts, size))
    except EXPECTED as error:
        return error


def _differ() -> None:
    raise InputError(
        "the processes read different texts: --file has to be the same for all of them"
    )


def _kind(error: BaseException) -> int:
    if isinstance(error, CUT_OFF):
        return CUT
    if isinstance(error, EXPECTED):
        return EXPECTED_ERROR
    return UNKNOWN

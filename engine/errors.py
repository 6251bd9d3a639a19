"""Errors that users meet, each with what is wrong, where, and what would be right."""

from collections.abc import Iterable
from dataclasses import dataclass

from tokenization.errors import nearest as nearest
from tokenization.errors import shortened as shortened


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong in a spec or recipe: where it stands and what would be right."""

    path: str
    message: str
    source: str = "spec"
    line: int | None = None
    column: int | None = None
    noun: str = "spec"
    """What the file is called, where no key of it is named."""

    def __str__(self) -> str:
        place = self.source if self.line is None else f"{self.source}:{self.line}:{self.column}"
        return f"{place}: {shortened(self.path or self.noun)}: {shortened(self.message)}"


class SpecError(ValueError):
    """All problems of one spec at once."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class RecipeError(SpecError):
    """All problems of one recipe at once."""


class InputError(ValueError):
    """An argument of a call that the network cannot honour."""

    def __init__(self, message: str) -> None:
        super().__init__(shortened(message, 1_000))


class CheckpointError(RuntimeError):
    """A checkpoint that is missing, damaged, or not of the network that is being loaded."""

    def __init__(self, message: str) -> None:
        super().__init__(shortened(message, 3_000))


class TrainingError(RuntimeError):
    """What stops a training run: numbers that are not finite, a disk that takes no more.

    The weights in memory and on disk are those of the last whole step.
    """

    def __init__(self, message: str) -> None:
        super().__init__(shortened(message, 3_000))

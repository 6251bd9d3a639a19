"""Several objectives in turn, drawn a step by their weights."""

from collections.abc import Sequence
from itertools import accumulate

from engine.errors import InputError
from engine.training.data.draws import Draws, shuffler
from engine.training.data.rows import Row
from engine.training.objectives.base import Batch, Objective


class Mix:
    """One of several objectives a step, the same for all rows of the step.

    Which one is a function of seed and step alone: `part` says it, for those who bring its data.
    """

    def __init__(self, parts: Sequence[Objective], weights: Sequence[float]) -> None:
        self.parts, self.weights = tuple(parts), tuple(weights)
        heads = {part.head for part in parts}
        if len(heads) > 1:
            raise InputError(
                f"the objectives of a mix train one head, found {', '.join(sorted(heads))}"
            )
        self.head = heads.pop()
        self.whole = any(part.whole for part in parts)

    def part(self, draws: Draws) -> int:
        """Which objective is drawn for a step, counted from 0."""
        chance = shuffler(draws.seed, "mix", draws.step).random()
        bounds = [share / sum(self.weights) for share in accumulate(self.weights)]
        return sum(chance >= bound for bound in bounds[:-1])

    def batch(self, rows: Sequence[Row], draws: Draws) -> Batch:
        """The rows as the objective of the step asks about them."""
        return self.parts[self.part(draws)].batch(rows, draws)

    def evaluation(self, rows: Sequence[Row], draws: Draws) -> Batch:
        """The rows as the first objective asks about them."""
        return self.parts[0].evaluation(rows, draws)

"""Rows that go to some of many experts: each expert runs once, over all of its rows.

n rows, a experts of a row, e experts, d model width.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from engine.kernels import watched


class Choice(NamedTuple):
    """Which experts rows go to."""

    experts: Tensor
    """(n a): their numbers."""
    weights: Tensor
    """(n a): what is multiplied with what each gives."""


# An expert by its number, over rows (n d).
Run = Callable[[int, Tensor], Tensor]
# All experts (e), each over all rows (n d): (e n d).
RunAll = Callable[[Tensor], Tensor]


def mix_experts(states: Tensor, choice: Choice, run: Run, run_all: RunAll, count: int) -> Tensor:
    """What the experts of each row (n d) give, weighted and summed: (n d).

    Which expert has how many rows is read off the choice, which compilers, exporters and transforms
    cannot follow: for these every expert runs over all rows.
    """
    if watched.transformed() or states.is_meta or not watched.plain(states):
        return plain(states, choice, run_all, count)
    return grouped(states, choice, run, count)


def plain(states: Tensor, choice: Choice, run_all: RunAll, count: int) -> Tensor:
    """The definition: every expert over every row, weighted by zero where a row goes elsewhere."""
    weights = states.new_zeros(states.shape[0], count).scatter(1, choice.experts, choice.weights)
    return torch.einsum("ne,end->nd", weights, run_all(states))


def grouped(states: Tensor, choice: Choice, run: Run, count: int) -> Tensor:
    """Rows sorted by expert, each expert over its own, and back into the order of rows."""
    rows, active = choice.experts.shape
    numbers = choice.experts.flatten()
    order = numbers.argsort(stable=True)
    sizes = numbers.bincount(minlength=count).tolist()
    entered = states.index_select(0, order // active).split(sizes)
    found = torch.cat([run(number, part) for number, part in enumerate(entered) if len(part)])
    back = torch.empty_like(order).scatter_(0, order, torch.arange(len(order), device=order.device))
    by_row = found.index_select(0, back).view(rows, active, -1)
    return (by_row * choice.weights[..., None]).sum(1)

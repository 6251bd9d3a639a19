"""Permutation language modelling (Yang et al. 2019, arXiv:1906.08237): orders, masks and targets
for any length.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Generator, Tensor

from engine.errors import InputError
from engine.kernels.losses import IGNORED
from engine.spec import Spec
from engine.training.data.rows import Flags, Integers
from engine.training.objectives.spans import SpanDraw


@dataclass(frozen=True)
class Factorization:
    """An order in which tokens are predicted.

    `rank` (b i): a token sees those of lower rank. `targets` (b i) is True where a token is
    predicted; the others are context, and see context of their own rank too.
    """

    rank: Tensor
    targets: Tensor


def _check_factorization(given: object) -> None:
    if not isinstance(given, Factorization):
        raise InputError(
            f"factorization is a {type(given).__name__}, expected what draw_factorization gives"
        )


def permutation_mask(factorization: Factorization) -> Tensor:
    """`perm_mask` (b i i), 1 where token i may not see token j. A token that is predicted never
    sees itself.
    """
    _check_factorization(factorization)
    rank, targets = factorization.rank, factorization.targets
    own, other = rank[:, :, None], rank[:, None, :]
    return ((other > own) | ((other == own) & targets[:, None, :])).float()


def target_mapping(targets: Tensor) -> Tensor:
    """One-hot rows (b p i) that ask for the `targets` (b i) left to right; all zero where a row has
    fewer than others.
    """
    asked = int(targets.sum(1).max())
    place = targets.long().cumsum(1) - 1
    wanted = torch.arange(max(asked, 1), device=targets.device)[:, None]
    return ((place[:, None, :] == wanted) & targets[:, None, :]).float()


def permutation_targets(input_ids: Tensor, factorization: Factorization) -> dict[str, Tensor]:
    """`perm_mask`, `target_mapping` and `labels` (b p, -100 where no token is asked) of one batch,
    for the model's call.
    """
    _check_factorization(factorization)
    mapping = target_mapping(factorization.targets)
    labels = input_ids.gather(1, mapping.argmax(-1))
    return {
        "perm_mask": permutation_mask(factorization),
        "target_mapping": mapping,
        "labels": labels.masked_fill(mapping.sum(-1) == 0, IGNORED),
    }


def draw_factorization(
    real: Tensor,
    generator: Generator,
    *,
    context: int = 6,
    longest_span: int = 5,
    words: Tensor | None = None,
    predict: int | None = None,
    spec: Spec | None = None,
) -> Factorization:
    """A random order for rows of any length; `real` (b i) is True for tokens that may be predicted.

    Spans of 1 … `longest_span` tokens are predicted, of which n has a probability as 1/n, each among
    `context` times as many others (sections 2.3, A.4 of the paper), in an order drawn at random;
    all other tokens are context. Spans begin where `words` (b i) do (None: anywhere), and
    `predict` tokens a row are predicted exactly (None: as the spans fall). The tokens that enter
    the memory of a `spec`, the first `memory.reuse`, are ordered apart and never see what follows.
    A row with real tokens has at least one target.
    """
    spans = SpanDraw(context, longest_span, tail="even")
    if words is None:
        words = torch.ones_like(real)
    reuse = reused(spec, real.shape[1])
    orders = [
        draw_order(Line(*line), spans, generator, reuse=reuse, predict=predict)
        for line in zip(real.cpu().bool().numpy(), words.cpu().bool().numpy(), strict=True)
    ]
    return Factorization(
        torch.from_numpy(np.stack([order.rank for order in orders])).to(real.device),
        torch.from_numpy(np.stack([order.targets for order in orders])).to(real.device),
    )


def reused(spec: Spec | None, length: int) -> int:
    """How many of `length` tokens enter the memory before the others: 0 where all do, or none."""
    if spec is None or spec.memory.kind != "recurrent":
        return 0
    reuse: int = spec.memory.reuse or 0
    return min(reuse, length)


@dataclass(frozen=True)
class Line:
    """One row: which tokens (i) may be predicted, which begin a word, and which have a rank of
    their own without being predicted.

    `backwards` says that the row holds its text from the end on, so that words end where they begin.
    """

    plain: Flags
    words: Flags
    ordered: Flags | None = None
    backwards: bool = False


class Drawn(NamedTuple):
    """The order of one row, as `Factorization` says it of several: (i) each."""

    rank: Integers
    targets: Flags


def draw_order(
    line: Line,
    spans: SpanDraw,
    generator: Generator,
    *,
    reuse: int = 0,
    predict: int | None = None,
) -> Drawn:
    """The order of one row, its first `reuse` tokens apart from the rest."""
    count = len(line.plain)
    rank, targets = np.zeros(count, np.int64), np.zeros(count, bool)
    before, goal = 0, predict
    for start, stop in ((0, reuse), (reuse, count)):
        if start == stop:
            continue
        if predict is not None:
            # As many as the part's share of the row, rounded up in the first.
            goal = -(-predict * stop // count) + (-predict * start // count)
        part = slice(start, stop)
        targets[part][line.plain[part]] = _predicted(line, part, spans, generator, goal)
        ranked = targets[part]
        if line.ordered is not None:
            ranked = ranked | line.ordered[part]
        places = start + np.flatnonzero(ranked)
        rank[part] = before
        rank[places] = before + 1 + torch.randperm(len(places), generator=generator).numpy()
        before += len(places) + 1
    return Drawn(rank, targets)


def _predicted(
    line: Line, part: slice, spans: SpanDraw, generator: Generator, goal: int | None
) -> Flags:
    """True for the predicted ones among the plain tokens of a part, in its order."""
    starts = line.words[part][line.plain[part]]
    if line.backwards:
        return spans.draw(starts[::-1].tolist(), generator, goal)[::-1]
    return spans.draw(starts.tolist(), generator, goal)


def show_visibility(factorization: Factorization, row: int = 0) -> str:
    """Who sees whom in one row, drawn: a line a token, `x` where it sees the token of that column,
    `?` if predicted.
    """
    mask, targets = permutation_mask(factorization)[row], factorization.targets[row]
    lines = ["".join(" ." if hidden else " x" for hidden in line) for line in mask.tolist()]
    return "\n".join(
        f"{'?' if asked else ' '}{line}"
        for line, asked in zip(lines, targets.tolist(), strict=True)
    )

"""Permutation language modelling (Yang et al. 2019, arXiv:1906.08237): orders, masks and targets
for any length.
"""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from engine.errors import InputError
from engine.kernels.losses import IGNORED


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
    wanted = torch.arange(max(asked, 1))[:, None]
    return ((place[:, None, :] == wanted) & targets[:, None, :]).float()


def permutation_targets(input_ids: Tensor, factorization: Factorization) -> dict[str, Tensor]:
    """`perm_mask`, `target_mapping` and `labels` (b p, -100 where no token is asked) of one batch,
    for the model's call.
    """
    _check_factorization(factorization)
    mapping = target_mapping(factorization.targets)
    labels = (mapping.long() @ input_ids[..., None]).squeeze(-1)
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
    reuse: int = 0,
) -> Factorization:
    """A random order for rows of any length; `real` (b i) is True for tokens that may be predicted.

    Spans of 1 … `longest_span` tokens are predicted, one in each stretch of `context` times its
    length (sections 2.3, 3.1 of the paper), in an order drawn at random; all other tokens are
    context. The first `reuse` tokens, which enter the memory, are ordered apart and never see what
    follows. A row with real tokens has at least one target.
    """
    if context < 1 or longest_span < 1:
        raise InputError(
            f"context and longest_span are at least 1, found {context} and {longest_span}"
        )
    rank, targets = (
        torch.zeros(real.shape, dtype=torch.long),
        torch.zeros(real.shape, dtype=torch.bool),
    )
    for row in range(real.shape[0]):
        before = 0
        for start, stop in ((0, reuse), (reuse, real.shape[1])):
            if start == stop:
                continue
            places = start + real[row, start:stop].nonzero().squeeze(1)
            spans = _draw_spans(places, context, longest_span, generator)
            rank[row, start:stop] = before
            rank[row, spans] = before + 1 + torch.randperm(len(spans), generator=generator)
            targets[row, spans] = True
            before = int(rank[row].max()) + 1
    return Factorization(rank, targets)


def _draw_spans(places: Tensor, context: int, longest: int, generator: Generator) -> Tensor:
    """The places (n) that are predicted, out of those given."""
    chosen, start = [places[:0]], 0
    while start < len(places):
        span = int(torch.randint(1, min(longest, len(places) - start) + 1, (), generator=generator))
        stretch = min(span * context, len(places) - start)
        first = start + int(torch.randint(stretch - span + 1, (), generator=generator))
        chosen.append(places[first : first + span])
        start += stretch
    return torch.cat(chosen)


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

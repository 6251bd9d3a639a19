"""Sampling: temperature, the bounds that leave candidates out, and the draw.

b texts, c candidates.
"""

import random

import torch
from torch import Tensor

from engine.generation.options import GenerationOptions

ROUNDING = 2.0**-21  # sums of float32 probabilities this near to a bound count as the bound
COLDEST, HOTTEST = 1e-30, 1e30  # temperatures that float32 can divide by


def apply_temperature(scores: Tensor, temperature: float) -> Tensor:
    """Scores (b c) divided by a temperature, the best of each row at 0.

    A temperature near 0 gives all probability to the best.
    """
    if temperature == 1.0:
        return scores
    best = scores.amax(-1, keepdim=True)
    return (scores - best) / min(max(temperature, COLDEST), HOTTEST)


def filter_candidates(scores: Tensor, options: GenerationOptions) -> Tensor:
    """Scores (b c) with -inf for candidates that top-p, min-p and typical sampling leave out, in
    this order.

    Holtzman et al. (2020), Nguyen et al. (2024), Meister et al. (2023). Top-p and typical sampling
    keep the smallest set whose probabilities sum to the bound or more. The best candidate always
    stays.
    """
    if options.top_p is not None and options.top_p < 1.0:
        ordered, order = scores.sort(dim=-1, descending=True)
        sums = ordered.double().softmax(-1).cumsum(-1)
        out = torch.nn.functional.pad(_reaches(sums, options.top_p)[:, :-1], (1, 0), value=False)
        scores = scores.masked_fill(out.scatter(1, order, out), -torch.inf)
    if options.min_p is not None:
        shares = scores.softmax(-1)
        least = options.min_p * (1 - ROUNDING) * shares.amax(-1, keepdim=True)
        scores = scores.masked_fill(shares < least, -torch.inf)
    if options.typical_p is not None and options.typical_p < 1.0:
        logs = scores.log_softmax(-1)
        entropy = -(logs * logs.exp()).nansum(-1, keepdim=True)
        surprise = (-logs - entropy).abs()
        ordered, order = surprise.sort(dim=-1)
        before = ~_reaches(logs.double().gather(1, order).exp().cumsum(-1), options.typical_p)
        last = before.sum(-1, keepdim=True).clamp(max=scores.shape[1] - 1)
        scores = scores.masked_fill(surprise > ordered.gather(1, last), -torch.inf)
    return scores


def _reaches(sums: Tensor, bound: float) -> Tensor:
    return sums >= bound - ROUNDING


class Sampler:
    """A random generator a text, so that neither other rows nor finished ones change a draw."""

    def __init__(self, seed: int | None, texts: int, before: int = 0) -> None:
        if seed is None:
            seed = int(torch.randint(2**62, ()))
        numbers = range(before, before + texts)
        self.generators = [random.Random(f"{seed}/{number}") for number in numbers]

    def draw(self, scores: Tensor, texts: list[int]) -> Tensor:
        """A candidate (b) of each row of scores (b c); `texts` numbers the text of each row."""
        drawn = [[self.generators[text].random()] for text in texts]
        numbers = torch.tensor(drawn, dtype=torch.float64)
        sums = scores.double().softmax(-1).cumsum(-1)
        heights = numbers.to(scores.device) * sums[:, -1:]
        places = torch.searchsorted(sums, heights, right=True).squeeze(1)
        return places.clamp(max=scores.shape[1] - 1)

"""How texts are scored, and what comes back."""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from engine.errors import InputError

Method = Literal["left_to_right", "pseudo", "orders"]
METHODS: tuple[str, ...] = get_args(Method)
Carry = Literal["memory", "window"]
CARRIES: tuple[str, ...] = get_args(Carry)


@dataclass(frozen=True)
class ScoreOptions:
    """How texts are scored; see `Model.score`."""

    method: Method | None = None
    orders: Tensor | None = None
    samples: int = 1
    seed: int = 0
    mask_token_id: int | None = None
    window: int | None = None
    stride: int | None = None
    carry: Carry | None = None
    batch_size: int = 16
    greedy: bool = False


@dataclass(frozen=True)
class Scores:
    """The scores of a batch of texts."""

    log_probs: Tensor
    """(b n): natural log-probabilities of the tokens, 0 where `counted` is False."""
    counted: Tensor
    """(b n): False for padding, for tokens that are no targets, and for the first token of a text
    or order, which nothing stands before.
    """
    greedy: Tensor | None = None
    """(b n), where the options say so: True for counted tokens that are the best at their place."""

    @property
    def is_greedy(self) -> Tensor:
        """Whether (b) every counted token of a text is the best at its place.

        Raises InputError where the options do not say `greedy`.
        """
        if self.greedy is None:
            raise InputError(
                "score(..., greedy=True) looks whether each token is the best at its place"
            )
        return (self.greedy | ~self.counted).all(1)

    @property
    def sums(self) -> Tensor:
        """Log-likelihood (b) of each text."""
        return self.log_probs.sum(1)

    @property
    def perplexities(self) -> Tensor:
        """Exponential of the mean negative log-probability of a token, (b)."""
        return torch.exp(-self.sums / self.counted.sum(1))

    @property
    def perplexity(self) -> float:
        """The same over all texts together."""
        return float(torch.exp(-self.log_probs.sum() / self.counted.sum()))

"""Small networks of every family that can be continued, and prompts for them."""

from typing import Any

import torch
from torch import Tensor

from engine import Model
from tests.strategies import built, family

CONTINUED: dict[str, dict[str, Any]] = {
    "xlnet": {"memory.length": None},
    "xlm": {"attention.mask": ["causal"], "memory": {"kind": "keys_values"}},
    "xlm-roberta-xl": {"attention.mask": ["padding", "causal"], "memory": {"kind": "keys_values"}},
    "transformer-xl": {},
    "xglm": {},
}
BOTH_WAYS = ("xlm", "xlm-roberta-xl")


def network(name: str, seed: int = 0, /, **settled: Any) -> Model:
    """A family that reads left to right (or in an order), at toy size, float64, every parameter
    random.
    """
    return built(family(name, **{**CONTINUED[name], **settled}), seed=seed)


def masked(name: str) -> Model:
    """A family that attends both ways."""
    return built(family(name), seed=1)


def ids(batch: int = 3, length: int = 7, seed: int = 0) -> Tensor:
    """Tokens that are neither padding nor special."""
    return torch.randint(6, 40, (batch, length), generator=torch.Generator().manual_seed(seed))


def unequal() -> Tensor:
    """A mask of (3 7): padding on the left, none, and on the right."""
    mask = torch.ones(3, 7, dtype=torch.long)
    mask[0, :3], mask[2, 4:] = 0, 0
    return mask


def alone(texts: Tensor, mask: Tensor) -> list[Tensor]:
    """Each row (1 n) without its padding."""
    return [row[keep > 0][None] for row, keep in zip(texts, mask, strict=True)]

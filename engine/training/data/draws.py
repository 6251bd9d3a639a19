"""Random numbers that depend on a seed and on what they are for, never on what was drawn before."""

import hashlib
from dataclasses import dataclass

import numpy as np
import torch


def numbered(*parts: int | str) -> int:
    """63 bits hashed from numbers and words: near numbers give unlike bits."""
    text = "\0".join(str(part) for part in parts)
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def draw(seed: int, step: int, row: int) -> torch.Generator:
    """What an objective draws from for one row of one step."""
    return torch.Generator().manual_seed(numbered("row", seed, step, row))


def draw_batch(seed: int, step: int) -> torch.Generator:
    """What an objective draws from for all rows of one step together."""
    return torch.Generator().manual_seed(numbered("batch", seed, step))


def shuffler(seed: int, *parts: int | str) -> np.random.Generator:
    """What an order or a layout draws from, such as the shuffle of an epoch."""
    return np.random.default_rng(numbered("order", seed, *parts))


@dataclass(frozen=True)
class Draws:
    """The generators of one step."""

    seed: int
    step: int

    def row(self, number: int) -> torch.Generator:
        """For one row, by its number."""
        return draw(self.seed, self.step, number)

    def whole(self) -> torch.Generator:
        """For all rows together."""
        return draw_batch(self.seed, self.step)

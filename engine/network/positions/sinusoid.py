"""Sines and cosines of positions."""

import math

import torch
from torch import Tensor


def sinusoid(positions: Tensor, width: int, basis: str) -> Tensor:
    """Sines and cosines of positions (...) as (... width), float32 (Vaswani et al. 2017, 3.5).

    `interleaved` alternates sine and cosine; `half_split` puts all sines first; `tensor2tensor`
    does so with frequencies spread to the last one.
    """
    half = width // 2
    steps = torch.arange(half, dtype=torch.float32, device=positions.device)
    if basis == "tensor2tensor":
        frequencies = torch.exp(steps * -(math.log(10000) / (half - 1)))
    else:
        frequencies = 1 / torch.pow(10000, 2 * steps / width)
    angles = positions.float()[..., None] * frequencies
    if basis == "interleaved":
        return torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(-2)
    return torch.cat((angles.sin(), angles.cos()), dim=-1)

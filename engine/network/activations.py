"""The functions between and behind linear maps, by the names that specs give them."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from engine.spec.axes import Activation


def quick_gelu(states: Tensor) -> Tensor:
    """x σ(1.702 x): the first approximation of Hendrycks and Gimpel (2016)."""
    return states * torch.sigmoid(1.702 * states)


def gelu_10(states: Tensor) -> Tensor:
    """GELU cut off below -10 and above 10 (Wu et al. 2020, arXiv:2004.09602)."""
    return functional.gelu(states).clamp(-10.0, 10.0)


def relu2(states: Tensor) -> Tensor:
    """The square of ReLU (So et al. 2021, arXiv:2109.08668)."""
    return functional.relu(states).square()


def laplace(states: Tensor) -> Tensor:
    """A squared ReLU with bounds (Ma et al. 2022, arXiv:2209.10655): the distribution function of
    a normal variable of mean √½ and variance 1/4π.
    """
    return torch.special.ndtr((states - 0.707107) / 0.282095)


def linear(states: Tensor) -> Tensor:
    """The states themselves."""
    return states


ACTIVATIONS: dict[Activation, Callable[[Tensor], Tensor]] = {
    "gelu": functional.gelu,
    "gelu_tanh": partial(functional.gelu, approximate="tanh"),
    "gelu_10": gelu_10,
    "quick_gelu": quick_gelu,
    "relu": functional.relu,
    "relu2": relu2,
    "relu6": functional.relu6,
    "leaky_relu": functional.leaky_relu,
    "silu": functional.silu,
    "mish": functional.mish,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "laplace": laplace,
    "linear": linear,
}

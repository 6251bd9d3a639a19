"""Norms made of few operators where no gradient is asked for."""

import torch
from torch import Tensor
from torch.nn import functional

from engine.kernels.watched import learns, plain, watched


def rms_norm(states: Tensor, weight: Tensor | None, eps: float) -> Tensor:
    """States (... d) over the root of their mean square, times weight (d).

    On a processor torch's own operator takes five to ten times as long: its mean of squares is slow.
    """
    if not _may_be_lean(states, weight):
        return functional.rms_norm(states, states.shape[-1:], weight, eps)
    length = torch.linalg.vector_norm(states, dim=-1, keepdim=True)
    found = states * length.square_().div_(states.shape[-1]).add_(eps).rsqrt_()
    return found if weight is None else found.mul_(weight)


def _may_be_lean(states: Tensor, weight: Tensor | None) -> bool:
    """Whether plain tensors of full precision on a processor meet, and nobody watches or learns."""
    if not states.is_cpu or states.dtype not in (torch.float32, torch.float64):
        return False
    given = (states,) if weight is None else (states, weight)
    if not plain(*given) or any(one.dtype != states.dtype for one in given):
        return False
    return not (learns(*given) or watched())

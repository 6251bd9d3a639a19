"""Who watches or transforms the operators of a call, or learns from it, so that a kernel must be
made of PyTorch's own.
"""

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

_PLAIN = (Tensor, nn.Parameter)


def plain(*tensors: Tensor) -> bool:
    """Whether all are tensors of torch itself: no other library stands behind them."""
    return all(type(tensor) in _PLAIN for tensor in tensors)


def learns(*tensors: Tensor | None) -> bool:
    """Whether gradients of what is made of these are asked for."""
    if not torch.is_grad_enabled():
        return False
    return any(tensor is not None and tensor.requires_grad for tensor in tensors)


def transformed() -> bool:
    """Whether operators are compiled, exported, traced or under torch.func or forward-mode
    gradients.
    """
    if torch.compiler.is_compiling():  # first: what follows cannot be compiled
        return True
    return (
        torch._C._are_functorch_transforms_active()
        or torch._C._get_tracing_state() is not None
        or forward_ad._current_level >= 0
    )


def watched() -> bool:
    """Whether operators are transformed, or counted and replaced by a mode of torch's dispatcher."""
    return transformed() or torch._C._len_torch_dispatch_stack() > 0

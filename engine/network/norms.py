"""Norms, and the slot that holds one."""

from torch import nn

from engine.spec.axes import Norm


def build_norm(spec: Norm, width: int) -> nn.Module:
    """A layer norm (Ba et al. 2016) or root-mean-square norm (Zhang and Sennrich 2019) over the
    last axis of `width`.
    """
    if spec.kind == "rms":
        return nn.RMSNorm(width, eps=spec.eps)
    return nn.LayerNorm(width, eps=spec.eps, bias=spec.bias)

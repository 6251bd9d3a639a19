"""Norms, and the slot that holds one."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.kernels.norms import rms_norm
from engine.spec.axes import HeadNorm, Norm, NormPlace


class RMSNorm(nn.RMSNorm):
    """A root-mean-square norm (Zhang and Sennrich 2019)."""

    eps: float

    def forward(self, x: Tensor) -> Tensor:
        return rms_norm(x, self.weight, self.eps)


class ShiftedRMSNorm(RMSNorm):
    """A root-mean-square norm whose weight is stored without an `offset`, and in single precision
    at least, where the two are added (Gemma).
    """

    def __init__(self, width: int, offset: float, **options: Any) -> None:
        super().__init__(width, **options)
        self.offset = offset

    def forward(self, x: Tensor) -> Tensor:
        kind = torch.promote_types(x.dtype, torch.float32)
        weight = self.weight.to(kind) + self.offset
        return rms_norm(x.to(kind), weight, self.eps).to(x.dtype)


class ShiftedLayerNorm(nn.LayerNorm):
    """The same of a layer norm (Nemotron)."""

    def __init__(self, width: int, offset: float, **options: Any) -> None:
        super().__init__(width, **options)
        self.offset = offset

    def forward(self, input: Tensor) -> Tensor:
        kind = torch.promote_types(input.dtype, torch.float32)
        weight = self.weight.to(kind) + self.offset
        bias = None if self.bias is None else self.bias.to(kind)
        normed = functional.layer_norm(
            input.to(kind), self.normalized_shape, weight, bias, self.eps
        )
        return normed.to(input.dtype)


class HeadsNorm(nn.Module):
    """A norm of queries or keys (b h i k): over each head, with one weight (k) for all or one a
    head (h k), or over all heads together, with a flat weight (h k).
    """

    def __init__(self, spec: HeadNorm, norm: Norm, heads: int, width: int) -> None:
        super().__init__()
        self.together = spec.over == "all"
        self.kind, self.eps = spec.kind, norm.eps_at("heads")
        self.offset = norm.offset
        self.heads = heads
        shape: tuple[int, ...] = (width,)
        if self.together:
            shape = (heads * width,)
        elif spec.own:
            shape = (heads, width)
        self.weight = nn.Parameter(torch.empty(shape)) if spec.weight else None
        self.bias = nn.Parameter(torch.empty(shape)) if spec.bias else None

    def forward(self, states: Tensor) -> Tensor:
        kind = torch.promote_types(states.dtype, torch.float32)
        axes = (1, 3) if self.together else (3,)
        wide = states.to(kind)
        if self.kind == "layer":
            wide = wide - wide.mean(axes, keepdim=True)
        wide = wide * torch.rsqrt(wide.square().mean(axes, keepdim=True) + self.eps)
        if self.weight is not None:
            wide = wide * (self._by_head(self.weight).to(kind) + self.offset)
        if self.bias is not None:
            wide = wide + self._by_head(self.bias).to(kind)
        return wide.to(states.dtype)

    def _by_head(self, values: Tensor) -> Tensor:
        """(k), (h k) or a flat (h k) as they meet (b h i k)."""
        if self.together:
            values = values.view(self.heads, -1)
        return values if values.dim() == 1 else values[:, None]


def build_norm(spec: Norm, width: int, place: NormPlace) -> nn.Module:
    """A layer norm (Ba et al. 2016) or root-mean-square norm (Zhang and Sennrich 2019) over the
    last axis of `width`.
    """
    options: dict[str, Any] = {"eps": spec.eps_at(place), "elementwise_affine": spec.weight}
    if spec.kind == "rms":
        return (
            ShiftedRMSNorm(width, spec.offset, **options)
            if spec.offset
            else RMSNorm(width, **options)
        )
    options["bias"] = spec.bias
    return (
        ShiftedLayerNorm(width, spec.offset, **options)
        if spec.offset
        else nn.LayerNorm(width, **options)
    )


def normed(norm: nn.Module | None, states: Tensor) -> Tensor:
    """States behind a slot; an empty one leaves them as they are."""
    if norm is None:
        return states
    found: Tensor = norm(states)
    return found


def unnormed(norm: nn.Module | None, states: Tensor) -> Tensor:
    """States at a place where no norm stands."""
    return states

"""Matrix products with weights: one linear layer for the whole network, on the processor's fastest kernel."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

# oneDNN's product outruns the default one on many processors (by a tenth to a fifth where measured), reads plain
# weights, and applies the exact GELU on the way out.
_ONEDNN = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
_PLAIN = (Tensor, nn.Parameter)


class Linear(nn.Linear):
    """y = x Wᵀ + b on (... inputs) to (... outputs), like torch.nn.Linear, with an optional exact GELU fused in."""

    def forward(self, states: Tensor, gelu: bool = False) -> Tensor:
        return linear(states, self.weight, self.bias, gelu)


def linear(states: Tensor, weight: Tensor, bias: Tensor | None = None, gelu: bool = False) -> Tensor:
    """x Wᵀ + b for states (... i), weight (o i), bias (o), then the exact GELU where asked for."""
    if not _fast(states, weight):
        product = functional.linear(states, weight, bias)
        return functional.gelu(product) if gelu else product
    if torch.is_grad_enabled() and (states.requires_grad or weight.requires_grad):
        product = _Product.apply(states, weight, bias)
        return functional.gelu(product) if gelu else product
    return _onednn(states, weight, bias, gelu)


def _fast(states: Tensor, weight: Tensor) -> bool:
    """Whether oneDNN's plain operator may be called: eager, on the processor, in float32, with ordinary weights."""
    return (
        _ONEDNN
        and not torch.compiler.is_compiling()
        and states.device.type == "cpu"
        and states.dtype == weight.dtype == torch.float32
        and type(weight) in _PLAIN
        and type(states) in _PLAIN
        and not torch.is_autocast_enabled("cpu")
    )


def _onednn(states: Tensor, weight: Tensor, bias: Tensor | None, gelu: bool = False) -> Tensor:
    outputs, inputs = weight.shape
    if outputs >= inputs and 0 < states.numel() == 2 * inputs:
        # Two rows, as in each step of two-stream decoding, go a third faster from the other side.
        product = (weight @ states.reshape(2, inputs).t()).t().contiguous().view(*states.shape[:-1], outputs)
        product = product if bias is None else product + bias
        return functional.gelu(product) if gelu else product
    activation, algorithm = ("gelu", "none") if gelu else ("none", "")
    return torch.ops.mkldnn._linear_pointwise(states, weight, bias, activation, [], algorithm)


class _Product(torch.autograd.Function):
    """The same product with gradients; they can be differentiated again."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(states, weight)
        ctx.biased = bias is not None
        return _onednn(states, weight, bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        (gradient,) = gradients
        states, weight = ctx.saved_tensors
        for_states = for_weight = for_bias = None
        if ctx.needs_input_grad[0]:
            again = torch.is_grad_enabled()
            for_states = gradient @ weight if again else _onednn(gradient, weight.t(), None)
        rows = gradient.flatten(0, -2)
        if ctx.needs_input_grad[1]:
            entered = states.flatten(0, -2)
            again = torch.is_grad_enabled() or not len(entered)  # oneDNN refuses a sum over no rows
            for_weight = rows.t() @ entered if again else _onednn(rows.t(), entered.t(), None)
        if ctx.biased and ctx.needs_input_grad[2]:
            for_bias = rows.sum(0)
        return for_states, for_weight, for_bias

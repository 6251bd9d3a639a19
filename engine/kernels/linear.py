"""Matrix products with weights: one linear layer for the whole network, on the processor's fastest kernel."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.errors import InputError
from engine.kernels.int8 import Int8Weight
from engine.kernels.reordered import forget, reordered
from engine.kernels.tuning import tuning

# oneDNN's product outruns the default one on many processors (by a tenth to a fifth where measured), reads plain
# weights, and applies the exact GELU on the way out.
_ONEDNN = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
_PLAIN = (Tensor, nn.Parameter)
_KINDS = {torch.float32} if _ONEDNN else set()
if _ONEDNN and torch.ops.mkldnn._is_mkldnn_bf16_supported():
    _KINDS.add(torch.bfloat16)


class Linear(nn.Linear):
    """y = x Wᵀ + b on (... inputs) to (... outputs), like torch.nn.Linear, with an optional exact GELU fused in."""

    def reset_parameters(self) -> None:
        """Draws nothing: `engine.init` fills every parameter of a model, or a checkpoint does."""

    def forward(self, states: Tensor, gelu: bool = False) -> Tensor:
        return linear(states, self.weight, self.bias, gelu)


def make_contiguous(module: nn.Module) -> None:
    """Copy weights that lie transposed on the pages of their file into rows of their own, in place.

    Products of few rows then read them a third faster; sums round in another order. Who holds a parameter keeps it.
    """
    for parameter in module.parameters():
        if not isinstance(parameter, Int8Weight) and not parameter.is_contiguous():
            parameter.data = parameter.data.contiguous()


def check_reorderable(weight: Tensor) -> None:
    """Raises InputError for a weight that oneDNN's products do not read here, so that it has no blocks."""
    if isinstance(weight, Int8Weight):
        raise InputError("8-bit weights have no blocks to prepack: load the model without weights='int8'")
    if not (weight.is_cpu and weight.dtype in _KINDS):
        able = " or ".join(sorted(str(kind).removeprefix("torch.") for kind in _KINDS)) or "nothing"
        kind = str(weight.dtype).removeprefix("torch.")
        raise InputError(
            f"weights of {kind} on {weight.device} cannot be prepacked; oneDNN here takes {able} on the cpu"
        )
    if weight.is_inference():
        raise InputError(
            "weights made under torch.inference_mode() keep no count of their changes: build or load the model outside it"
        )


def linear(states: Tensor, weight: Tensor, bias: Tensor | None = None, gelu: bool = False) -> Tensor:
    """x Wᵀ + b for states (... i), weight (o i), bias (o), then the exact GELU where asked for."""
    learns = torch.is_grad_enabled() and _learns(states, weight, bias)
    if learns and weight.requires_grad and not torch.compiler.is_compiling():
        forget([weight])  # what learns is about to change, and fused optimizers leave no trace of it
    if not _fast(states, weight):
        if isinstance(weight, Int8Weight):
            product = _int8_product(states, weight, bias)
        else:
            product = functional.linear(states, weight, bias)
        return functional.gelu(product) if gelu else product
    if learns:
        product = _Product.apply(states, weight, bias)
        return functional.gelu(product) if gelu else product
    return _onednn(states, weight, bias, gelu)


def _int8_product(states: Tensor, weight: Int8Weight, bias: Tensor | None) -> Tensor:
    """x Wᵀ + b (... o) for states (... i) and 8-bit integers (o i), of which a part is widened at a time."""
    rows = states.reshape(-1, states.shape[-1])
    if rows.dtype == torch.bfloat16 and rows.device.type == "cpu" and 0 < len(rows) <= tuning().int8_product_rows:
        product = torch._weight_int8pack_mm(rows, weight.integers, rows.new_ones(len(weight)))
        product = (product * weight.scale).to(states.dtype).view(*states.shape[:-1], len(weight))
    else:
        product = torch.cat([_part(states, part) for part in weight.parts()], dim=-1)
    return product if bias is None else product + bias


def _part(states: Tensor, weight: Int8Weight) -> Tensor:
    if states.dtype == torch.float16:  # its range is too small for sums over the integers
        return linear(states, weight.dequantize().half())
    return (linear(states, weight.integers.to(states.dtype)) * weight.scale).to(states.dtype)


def _fast(states: Tensor, weight: Tensor) -> bool:
    """Whether oneDNN's plain operator may be called: eager, on the processor, in a precision it has, with plain weights."""
    kind = states.dtype
    return (
        states.is_cpu
        and kind in _KINDS
        and kind == weight.dtype
        and type(weight) in _PLAIN
        and type(states) in _PLAIN
        and not torch.compiler.is_compiling()
        and not torch.is_autocast_enabled("cpu")
    )


def _learns(*tensors: Tensor | None) -> bool:
    return any(tensor is not None and tensor.requires_grad for tensor in tensors)


def _onednn(states: Tensor, weight: Tensor, bias: Tensor | None, gelu: bool = False) -> Tensor:
    inputs = weight.shape[1]
    if 0 < states.numel() == 2 * inputs and inputs <= weight.shape[0] and weight.is_contiguous():
        # Two rows, as in each step of two-stream decoding, go up to a third faster from the other side, unless they narrow.
        pair = states.reshape(2, -1).t()
        product = torch.mm(weight, pair) if bias is None else torch.addmm(bias[:, None], weight, pair)
        product = product.t().contiguous().view(*states.shape[:-1], -1)
        return functional.gelu(product) if gelu else product
    activation, algorithm = ("gelu", "none") if gelu else ("none", "")
    if states.numel() > inputs or states.dtype != torch.float32:  # plain rows are faster for one row in float32
        ready = reordered(weight)
        weight = weight if ready is None else ready.blocks
    return torch.ops.mkldnn._linear_pointwise.default(states, weight, bias, activation, [], algorithm)


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
        rows = gradient.reshape(-1, gradient.shape[-1])
        if ctx.needs_input_grad[1]:
            entered = states.reshape(-1, states.shape[-1])
            # oneDNN copies the transposed gradient, which pays where that is narrow, and refuses a sum over no rows.
            narrow = rows.dtype == torch.float32 and 0 < weight.shape[0] < weight.shape[1] and len(rows) > 0
            again = torch.is_grad_enabled() or not narrow
            for_weight = rows.t() @ entered if again else _onednn(rows.t(), entered.t(), None)
        if ctx.biased and ctx.needs_input_grad[2]:
            for_bias = rows.sum(0)
        return for_states, for_weight, for_bias

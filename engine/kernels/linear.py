"""Products with weights: linear layers of torch.nn, on the processor's fastest kernel where nothing
interferes.
"""

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules import module as modules

from engine.errors import InputError
from engine.kernels.int8 import Int8Weight, int8_product
from engine.kernels.reordered import forget, reordered
from engine.kernels.tuning import instruction_set, tuning
from engine.kernels.watched import learns, plain, transformed, watched


class _Undrawn(nn.Linear):
    def reset_parameters(self) -> None:
        pass


def build_linear(inputs: int, outputs: int, bias: bool = True) -> nn.Linear:
    """A torch.nn.Linear whose parameters are not drawn: `engine.parameters.init` or a checkpoint
    fills them.
    """
    layer = _Undrawn(inputs, outputs, bias=bias)
    layer.__class__ = nn.Linear  # type: ignore[assignment]  # exactly: torch's quantization replaces layers by their very class
    return layer


def linear(layer: nn.Module, states: Tensor) -> Tensor:
    """What `layer(states)` gives, states (... f) to (... o), on the fastest kernel if it is a plain
    linear layer.
    """
    if not is_plain(layer):
        found: Tensor = layer(states)
        return found
    return product(states, layer.weight, layer.bias)  # type: ignore[arg-type]


def linear_gelu(layer: nn.Module, states: Tensor) -> Tensor:
    """The exact GELU of `layer(states)`, in one kernel where the processor has a fast one."""
    if not watched() and tuning().fused_gelu and is_plain(layer):
        weight, bias = layer.weight, layer.bias
        if not learns(states, weight, bias) and _suits_onednn(states, weight):  # type: ignore[arg-type]
            return _onednn_product(states, weight, bias, gelu=True)  # type: ignore[arg-type]
    return functional.gelu(linear(layer, states))


def is_plain(layer: nn.Module) -> bool:
    """Whether a call of the layer is W x + b and nothing else: no wrapper, hook or other forward
    stands in between.
    """
    return type(layer) is nn.Linear and not (
        layer._forward_hooks
        or layer._forward_pre_hooks
        or layer._backward_hooks
        or layer._backward_pre_hooks
        or "forward" in layer.__dict__
        or modules._global_forward_hooks
        or modules._global_forward_pre_hooks
        or modules._global_backward_hooks
        or modules._global_backward_pre_hooks
    )


def leading_rows(states: Tensor, count: int) -> Tensor:
    """The first `count` rows of states (b j d), or one more where that costs less.

    A lone row takes the row behind it along: two rows go through a product faster than one.
    """
    if not transformed() and states.shape[:2] == (1, 2):
        return states
    return states[:, :count]


def steady(layer: nn.Module) -> bool:
    """Whether a layer gives the same for the same states again, but for a change of its weight."""
    if torch.is_grad_enabled() or torch.is_autocast_enabled("cpu") or watched():
        return False
    return is_plain(layer)


def product(states: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x Wᵀ + b (... o) for states (... f), weight (o f), bias (o)."""
    if isinstance(weight, Int8Weight):
        return int8_product(states, weight, bias)
    learning = learns(states, weight, bias)
    if learning and weight.requires_grad and not torch.compiler.is_compiling():
        forget([weight])  # it is about to change, and fused optimizers leave no trace of it
    if not _suits_onednn(states, weight):
        return functional.linear(states, weight, bias)
    if learning:
        return _Product.apply(states, weight, bias)
    return _onednn_product(states, weight, bias)


def make_contiguous(module: nn.Module) -> None:
    """Copy weights that lie transposed on the pages of their file into rows of their own, in place.

    Products of few rows then read them a third faster; sums round in another order. Who holds a
    parameter keeps it.
    """
    for parameter in module.parameters():
        if not isinstance(parameter, Int8Weight) and not parameter.is_contiguous():
            parameter.data = parameter.data.contiguous()


def check_reorderable(weight: Tensor) -> None:
    """Raises InputError for a weight that oneDNN's products do not read here, so that it has no
    blocks.
    """
    if isinstance(weight, Int8Weight):
        raise InputError(
            "8-bit weights have no blocks to prepack: load the model without weights='int8'"
        )
    if not plain(weight) or type(weight.data) is not Tensor:
        raise InputError(
            f"a {type(weight.data).__name__} of another library has no blocks to prepack"
        )
    able = [kind for kind in (torch.bfloat16, torch.float32) if takes_blocks(kind)]
    if not (weight.is_cpu and weight.dtype in able):
        names = " or ".join(str(kind).removeprefix("torch.") for kind in able) or "nothing"
        kind = str(weight.dtype).removeprefix("torch.")
        raise InputError(
            f"weights of {kind} on {weight.device} cannot be prepacked; "
            f"oneDNN here takes {names} on the cpu"
        )
    if weight.is_inference():
        raise InputError(
            "weights made under torch.inference_mode() keep no count of their changes: "
            "build or load the model outside it"
        )


@cache
def onednn_forms(dtype: torch.dtype) -> frozenset[str]:
    """Which of oneDNN's products run here in this precision: plain, gelu, reordered.

    Each is tried once, on a tiny product: what a build and a processor can do is known to the
    operator alone.
    """
    if not torch.backends.mkldnn.is_available() or dtype not in (torch.float32, torch.bfloat16):
        return frozenset()
    operators, forms = torch.ops.mkldnn, set()
    with torch.no_grad():
        states = torch.ones(2, 16, dtype=dtype, device="cpu")
        weight = torch.ones(16, 16, dtype=dtype, device="cpu")
        tries = {
            "plain": lambda: operators._linear_pointwise(states, weight, None, "none", [], ""),
            "gelu": lambda: operators._linear_pointwise(states, weight, None, "gelu", [], "none"),
            "reordered": lambda: operators._linear_pointwise(
                states, operators._reorder_linear_weight(weight, None), None, "none", [], ""
            ),
        }
        for form, attempt in tries.items():
            try:
                attempt()
            except (RuntimeError, AttributeError):  # refused, or not in this build
                continue
            forms.add(form)
    return frozenset(forms)


def takes_blocks(dtype: torch.dtype) -> bool:
    """Whether oneDNN's product reads blocks of this precision here, so that weights can be
    prepacked.
    """
    return {"plain", "reordered"} <= onednn_forms(dtype)


def describe_products() -> dict[str, str]:
    """What was chosen for this processor, as `engine describe --machine` prints it."""
    now = tuning()
    few = f"from {now.onednn_multiplications:,} multiplications"
    if now.onednn_rows:
        few += f" up to {now.onednn_rows} rows"
    if now.onednn_rows_with_one_thread:
        few += f", with one thread up to {now.onednn_rows_with_one_thread} rows"
    told = {"instruction set": instruction_set(), "threads": str(torch.get_num_threads())}
    for kind in (torch.float32, torch.bfloat16):
        forms, name = onednn_forms(kind), str(kind).removeprefix("torch.")
        chosen = f"oneDNN {few}" if now.onednn and "plain" in forms else "torch's own"
        told[f"products in {name}"] = chosen
        told[f"GELU in {name}"] = (
            "in the product" if now.fused_gelu and "gelu" in forms else "after the product"
        )
        told[f"prepack in {name}"] = "yes" if takes_blocks(kind) else "no"
    return told


def _suits_onednn(states: Tensor, weight: Tensor) -> bool:
    """Whether oneDNN's operator pays and may be called: eager, plain tensors, in a precision that
    it has.
    """
    if not plain(weight, states) or watched():
        return False
    now = tuning()
    if not now.onednn or not (states.is_cpu and states.dtype == weight.dtype):
        return False
    if states.dtype == torch.float32:
        least, most = now.onednn_multiplications, now.onednn_rows
        if torch.get_num_threads() == 1:
            least = now.onednn_multiplications_with_one_thread
            most = now.onednn_rows_with_one_thread
        if states.numel() * weight.shape[0] < least:
            return False
        if most and states.numel() > most * weight.shape[1]:
            return False
    return "plain" in onednn_forms(states.dtype) and not torch.is_autocast_enabled("cpu")


def _onednn_product(
    states: Tensor, weight: Tensor, bias: Tensor | None, gelu: bool = False
) -> Tensor:
    inputs = weight.shape[1]
    if 0 < states.numel() == 2 * inputs and inputs <= weight.shape[0] and weight.is_contiguous():
        # Two rows, as in each step of two-stream decoding, go up to a third faster from the other
        # side, unless the product narrows.
        pair = states.reshape(2, -1).t()
        found = torch.mm(weight, pair) if bias is None else torch.addmm(bias[:, None], weight, pair)
        found = found.t().contiguous().view(*states.shape[:-1], -1)
        return functional.gelu(found) if gelu else found
    fused = gelu and "gelu" in onednn_forms(states.dtype)
    activation, algorithm = ("gelu", "none") if fused else ("none", "")
    # One row in float32 reads plain rows faster.
    if states.numel() > inputs or states.dtype != torch.float32:
        ready = reordered(weight)
        weight = weight if ready is None else ready.blocks
    found = torch.ops.mkldnn._linear_pointwise.default(
        states, weight, bias, activation, [], algorithm
    )
    return functional.gelu(found) if gelu and not fused else found


class _Product(torch.autograd.Function):
    """The same product with gradients; they can be differentiated again."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(states, weight)
        ctx.biased = bias is not None
        return _onednn_product(states, weight, bias)

    @staticmethod
    def backward(
        ctx: Any, *gradients: Tensor
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        (gradient,) = gradients
        states, weight = ctx.saved_tensors
        for_states = for_weight = for_bias = None
        own = torch.is_grad_enabled() or watched()  # gradients of gradients, or batches of them
        if ctx.needs_input_grad[0]:
            for_states = gradient @ weight if own else _onednn_product(gradient, weight.t(), None)
        rows = gradient.reshape(-1, gradient.shape[-1])
        if ctx.needs_input_grad[1]:
            entered = states.reshape(-1, states.shape[-1])
            # oneDNN copies the transposed gradient, which pays where that is narrow, and refuses a
            # sum over no rows.
            narrow = (
                rows.dtype == torch.float32
                and 0 < weight.shape[0] < weight.shape[1]
                and len(rows) > 0
            )
            if own or not narrow:
                for_weight = rows.t() @ entered
            else:
                for_weight = _onednn_product(rows.t(), entered.t(), None)
        if ctx.biased and ctx.needs_input_grad[2]:
            for_bias = rows.sum(0)
        return for_states, for_weight, for_bias

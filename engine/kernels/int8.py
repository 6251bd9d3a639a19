"""Weights of 8 bits, for inference: integers with a scale a row, in the place of a parameter."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.errors import InputError
from engine.kernels.tuning import tuning
from engine.kernels.watched import watched

_aten = torch.ops.aten


class Int8Weight(Tensor):
    """A matrix (r w) as 8-bit integers `integers` (r w) with a float32 `scale` (r): an entry is its
    integer times its scale. Or several matrices (e r w) with scales (e r).

    It takes the place of a parameter of the `dtype` in which it is read.
    `torch.nn.functional.linear` multiplies with it, `torch.nn.functional.embedding` reads rows of
    it; it can be moved, cast, copied, cut into rows and joined along them. Anything else raises
    InputError.
    """

    integers: Tensor
    scale: Tensor

    @staticmethod
    def __new__(cls, integers: Tensor, scale: Tensor, dtype: torch.dtype) -> "Int8Weight":
        return Tensor._make_wrapper_subclass(
            cls, integers.shape, dtype=dtype, device=integers.device
        )

    def __init__(self, integers: Tensor, scale: Tensor, dtype: torch.dtype) -> None:
        self.integers, self.scale = integers, scale

    @classmethod
    def of(cls, weight: Tensor, dtype: torch.dtype) -> "Int8Weight":
        """The nearest to a weight (r w), to be read in `dtype`."""
        made = cls.empty(weight.shape, dtype, weight.device)
        made.quantize_rows(0, weight)
        return made

    @classmethod
    def empty(
        cls, shape: Sequence[int], dtype: torch.dtype, device: torch.device | str
    ) -> "Int8Weight":
        """One whose rows are still to be quantized."""
        integers = torch.empty(*shape, dtype=torch.int8, device=device)
        scale = torch.empty(*shape[:-1], dtype=torch.float32, device=device)
        return cls(integers, scale, dtype)

    def quantize_rows(self, start: int, weight: Tensor) -> None:
        """Quantize a weight (n w), or matrices (n r w), into the rows or matrices from `start` on; a
        row's largest magnitude becomes 127.
        """
        place = slice(start, start + len(weight))
        weight, integers = (
            tensor.flatten(0, -2) for tensor in (weight.detach(), self.integers[place])
        )
        scale, size = self.scale[place].flatten(), _rows_in(weight, tuning().quantized_entries)
        wide = torch.empty(size, weight.shape[1], dtype=torch.float32, device=weight.device)
        parts = (tensor.split(size) for tensor in (weight, integers, scale))
        for given, integers, scales in zip(*parts, strict=True):
            part = wide[: len(given)].copy_(given)
            largest = torch.maximum(part.amax(dim=1), -part.amin(dim=1))
            scales.copy_(largest.clamp_(min=torch.finfo(torch.float32).tiny) / 127)
            integers.copy_(part.div_(scales[:, None]).round_())

    def dequantize(self, ids: Tensor | None = None) -> Tensor:
        """The matrix itself (r w), or rows of it (... w) that ids (...) name."""
        integers, scale = self.integers, self.scale
        if ids is not None:
            integers, scale = integers[ids], scale[ids]
        return (integers * scale[..., None]).to(self.dtype)

    def parts(self) -> Sequence["Int8Weight"]:
        """Runs of rows, small enough to dequantize one at a time."""
        size = _rows_in(self, tuning().dequantized_entries)
        both = zip(self.integers.split(size), self.scale.split(size), strict=True)
        return [Int8Weight(integers, scale, self.dtype) for integers, scale in both]

    @property
    def nbytes(self) -> int:  # type: ignore[override]
        """Bytes that it holds."""
        return self.integers.nbytes + self.scale.nbytes

    def __repr__(self, **_: object) -> str:  # type: ignore[override]
        return f"Int8Weight({tuple(self.shape)}, dtype={self.dtype}, device='{self.device}')"

    def __tensor_flatten__(self) -> tuple[list[str], torch.dtype]:
        return ["integers", "scale"], self.dtype

    @staticmethod
    def __tensor_unflatten__(
        inner: dict[str, Tensor], dtype: torch.dtype, *_: object
    ) -> "Int8Weight":
        return Int8Weight(inner["integers"], inner["scale"], dtype)

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Multiplies as one operation; other results are plain tensors."""
        if func is functional.linear:
            return int8_product(*args, **(kwargs or {}))
        return torch._C._disabled_torch_function_impl(func, types, args, kwargs or {})

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if func not in _OPERATORS:
            raise InputError(
                f"8-bit weights serve inference only, and {func} is more: load the model without weights='int8'"
            )
        return _OPERATORS[func](*args, **(kwargs or {}))


def int8_product(states: Tensor, weight: Int8Weight, bias: Tensor | None = None) -> Tensor:
    """x Wᵀ + b (... o) for states (... f) and 8-bit integers (o f), a part of which is dequantized
    at a time.
    """
    rows = states.reshape(-1, states.shape[-1])
    # torch's product reads whole vectors of numbers, past the end of a row that is none of them.
    whole = rows.shape[-1] % 32 == 0
    few = whole and 0 < len(rows) <= tuning().int8_product_rows
    if few and rows.dtype == torch.bfloat16 and rows.device.type == "cpu" and not watched():
        found = torch._weight_int8pack_mm(rows, weight.integers, rows.new_ones(len(weight)))
        found = (found * weight.scale).to(states.dtype).view(*states.shape[:-1], len(weight))
    else:
        found = torch.cat([_part_product(states, part) for part in weight.parts()], dim=-1)
    return found if bias is None else found + bias


def _part_product(states: Tensor, weight: Int8Weight) -> Tensor:
    if states.dtype == torch.float16:  # its range is too small for sums over the integers
        return functional.linear(states, weight.dequantize().half())
    return (functional.linear(states, weight.integers.to(states.dtype)) * weight.scale).to(
        states.dtype
    )


def holds_int8(module: nn.Module) -> bool:
    """Whether a module has weights of 8 bits."""
    return any(isinstance(parameter, Int8Weight) for parameter in module.parameters())


def _rows_in(weight: Tensor, entries: int) -> int:
    return max(1, entries // max(1, weight.shape[-1]))


def _convert(
    weight: Int8Weight, *, dtype: torch.dtype | None = None, device: Any = None, **_: Any
) -> Int8Weight:
    integers, scale = (
        part.to(device=device, copy=True) for part in (weight.integers, weight.scale)
    )
    return Int8Weight(integers, scale, dtype or weight.dtype)


def _cut(
    weight: Int8Weight,
    axis: int = 0,
    start: int | None = None,
    end: int | None = None,
    step: int = 1,
) -> Int8Weight:
    if axis != 0:
        raise InputError("8-bit weights are cut into rows only: a row shares its scale")
    return Int8Weight(weight.integers[start:end:step], weight.scale[start:end:step], weight.dtype)


def _unbind(weight: Int8Weight, axis: int = 0) -> list[Int8Weight]:
    if axis != 0 or weight.dim() < 3:
        raise InputError("8-bit weights come apart into matrices only: a row shares its scale")
    parts = zip(weight.integers.unbind(), weight.scale.unbind(), strict=True)
    return [Int8Weight(integers, scale, weight.dtype) for integers, scale in parts]


def _join(weights: Sequence[Tensor], axis: int = 0) -> Int8Weight:
    if axis != 0:
        raise InputError("8-bit weights are joined along their rows only: a row shares its scale")
    (dtype,) = {weight.dtype for weight in weights}
    quantized = [
        weight if isinstance(weight, Int8Weight) else Int8Weight.of(weight, dtype)
        for weight in weights
    ]
    return Int8Weight(
        torch.cat([one.integers for one in quantized]),
        torch.cat([one.scale for one in quantized]),
        dtype,
    )


_OPERATORS: dict[Any, Callable[..., Any]] = {
    _aten.detach.default: lambda weight: Int8Weight(weight.integers, weight.scale, weight.dtype),
    _aten.clone.default: lambda weight, **_: _convert(weight),
    _aten._to_copy.default: _convert,
    _aten.slice.Tensor: _cut,
    _aten.unbind.int: _unbind,
    _aten.cat.default: _join,
    _aten.embedding.default: lambda weight, ids, *_: weight.dequantize(ids),
}

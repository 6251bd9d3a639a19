"""Weights of 8 bits, for inference: integers with a scale a row, in the place of a parameter."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from engine.errors import InputError

WIDENED = 2**21  # entries that are widened at a time
ROUNDED = 2**16  # entries that are rounded at a time, in one place: no holes are left between what stays in memory
_aten = torch.ops.aten


class Narrow(Tensor):
    """A matrix (r w) as 8-bit integers `whole` (r w) with a float32 `scale` (r): an entry is its integer times its scale.

    It takes the place of a parameter of the `dtype` in which it is read. `engine.linear.linear` multiplies with it,
    `torch.nn.functional.embedding` reads rows of it; it can be moved, cast, copied, cut into rows and joined along them.
    Anything else raises InputError.
    """

    whole: Tensor
    scale: Tensor

    @staticmethod
    def __new__(cls, whole: Tensor, scale: Tensor, dtype: torch.dtype) -> "Narrow":
        return Tensor._make_wrapper_subclass(cls, whole.shape, dtype=dtype, device=whole.device)

    def __init__(self, whole: Tensor, scale: Tensor, dtype: torch.dtype) -> None:
        self.whole, self.scale = whole, scale

    @classmethod
    def of(cls, weight: Tensor, dtype: torch.dtype) -> "Narrow":
        """The nearest to a weight (r w), to be read in `dtype`."""
        made = cls.blank(weight.shape, dtype, weight.device)
        made.round_rows(0, weight)
        return made

    @classmethod
    def blank(cls, shape: Sequence[int], dtype: torch.dtype, device: torch.device | str) -> "Narrow":
        """One whose rows are still to be taken."""
        whole = torch.empty(*shape, dtype=torch.int8, device=device)
        return cls(whole, torch.empty(shape[0], dtype=torch.float32, device=device), dtype)

    def round_rows(self, start: int, weight: Tensor) -> None:
        """Round a weight (n w) into the rows from `start` on: the largest magnitude of each row becomes 127."""
        weight, size, rows = weight.detach(), _rows_in(weight, ROUNDED), slice(start, start + len(weight))
        wide = torch.empty(size, weight.shape[1], dtype=torch.float32, device=weight.device)
        parts = (tensor.split(size) for tensor in (weight, self.whole[rows], self.scale[rows]))
        for given, integers, scales in zip(*parts, strict=True):
            part = wide[: len(given)].copy_(given)
            largest = torch.maximum(part.amax(dim=1), -part.amin(dim=1))
            scales.copy_(largest.clamp_(min=torch.finfo(torch.float32).tiny) / 127)
            integers.copy_(part.div_(scales[:, None]).round_())

    def wide(self, ids: Tensor | None = None) -> Tensor:
        """The matrix itself (r w), or rows of it (... w) that ids (...) name."""
        whole, scale = (self.whole, self.scale) if ids is None else (self.whole[ids], self.scale[ids])
        return (whole * scale[..., None]).to(self.dtype)

    def parts(self) -> Sequence["Narrow"]:
        """Runs of rows, each of at most WIDENED entries or one row."""
        size = _rows_in(self, WIDENED)
        both = zip(self.whole.split(size), self.scale.split(size), strict=True)
        return [Narrow(whole, scale, self.dtype) for whole, scale in both]

    @property
    def nbytes(self) -> int:  # type: ignore[override]
        """Bytes that it holds."""
        return self.whole.nbytes + self.scale.nbytes

    def __repr__(self, **_: object) -> str:  # type: ignore[override]
        return f"Narrow({tuple(self.shape)}, dtype={self.dtype}, device='{self.device}')"

    def __tensor_flatten__(self) -> tuple[list[str], torch.dtype]:
        return ["whole", "scale"], self.dtype

    @staticmethod
    def __tensor_unflatten__(inner: dict[str, Tensor], dtype: torch.dtype, *_: object) -> "Narrow":
        return Narrow(inner["whole"], inner["scale"], dtype)

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]  # results are plain tensors

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if func not in _OPERATORS:
            raise InputError(
                f"8-bit weights serve inference only, and {func} is more: load the model without weights='int8'"
            )
        return _OPERATORS[func](*args, **(kwargs or {}))


def holds_narrow(module: nn.Module) -> bool:
    """Whether a module has weights of 8 bits."""
    return any(isinstance(parameter, Narrow) for parameter in module.parameters())


def _rows_in(weight: Tensor, entries: int) -> int:
    return max(1, entries // max(1, weight.shape[1]))


def _convert(weight: Narrow, *, dtype: torch.dtype | None = None, device: Any = None, **_: Any) -> Narrow:
    whole, scale = (part.to(device=device, copy=True) for part in (weight.whole, weight.scale))
    return Narrow(whole, scale, weight.dtype if dtype is None else dtype)


def _cut(weight: Narrow, axis: int = 0, start: int | None = None, end: int | None = None, step: int = 1) -> Narrow:
    if axis != 0:
        raise InputError("8-bit weights are cut into rows only: a row shares its scale")
    return Narrow(weight.whole[start:end:step], weight.scale[start:end:step], weight.dtype)


def _join(weights: Sequence[Tensor], axis: int = 0) -> Narrow:
    if axis != 0:
        raise InputError("8-bit weights are joined along their rows only: a row shares its scale")
    (dtype,) = {weight.dtype for weight in weights}
    narrow = [weight if isinstance(weight, Narrow) else Narrow.of(weight, dtype) for weight in weights]
    return Narrow(torch.cat([one.whole for one in narrow]), torch.cat([one.scale for one in narrow]), dtype)


_OPERATORS: dict[Any, Callable[..., Any]] = {
    _aten.detach.default: lambda weight: Narrow(weight.whole, weight.scale, weight.dtype),
    _aten.clone.default: lambda weight, **_: _convert(weight),
    _aten._to_copy.default: _convert,
    _aten.slice.Tensor: _cut,
    _aten.cat.default: _join,
    _aten.embedding.default: lambda weight, ids, *_: weight.wide(ids),
}

"""From what a caller gives to tensors: lists, arrays and other number types, where they can be read
in one way only.
"""

import operator
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from engine.errors import InputError
from engine.kernels.watched import transformed

# The networks' operators exist in these alone; float8 is a form of storage.
COMPUTABLE = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def readable(tensor: Tensor) -> bool:
    """Whether values can be looked at: not where a call is kept as a program or transformed, nor
    where there are none.
    """
    return not transformed() and tensor.device.type != "meta"


def read_tensor(name: str, given: Any, device: torch.device) -> Tensor:
    """A tensor as it is, or numbers, lists or an array as a tensor on a device (raises InputError
    for anything else).
    """
    if isinstance(given, Tensor):
        return given
    array = hasattr(given, "__array__")
    if not array and not isinstance(given, list | tuple | range | int | float):
        raise InputError(
            f"{name} is a {type(given).__name__}, expected a tensor, or lists or an array of numbers"
        )
    try:
        # A copy, since torch reads no array that runs backwards or that may not be written.
        found = torch.as_tensor(given.copy()) if array else torch.tensor(given)
    except (AttributeError, OverflowError, RuntimeError, TypeError, ValueError) as error:
        raise InputError(f"{name} cannot be read as one tensor of numbers: {error}") from None
    return found.to(device)


def read_ids(name: str, given: Any, device: torch.device) -> Tensor:
    """Integers of any width, or lists or an array of them, as int64 (raises InputError for other
    values).
    """
    ids = read_tensor(name, given, device)
    if ids.dtype == torch.int64:
        return ids
    whole = not (ids.is_floating_point() or ids.is_complex() or ids.dtype == torch.bool)
    if not whole and (ids.numel() or isinstance(given, Tensor)):
        raise InputError(f"{name} must hold integers, found {ids.dtype}")
    return ids.long()


def read_mask(name: str, given: Any, device: torch.device) -> Tensor:
    """Truth values or numbers; `check_mask` looks at their values (raises InputError for what is
    neither).
    """
    mask = read_tensor(name, given, device)
    if mask.is_complex():
        raise InputError(f"{name} must hold truth values or numbers, found {mask.dtype}")
    return mask if mask.is_floating_point() or mask.dtype == torch.bool else mask.long()


def check_mask(
    name: str, mask: Tensor | None, means: str = "1 for what is kept and 0 for padding"
) -> None:
    """Raise InputError where a mask of numbers holds others than 0 and 1; skipped where values
    cannot be read.
    """
    if mask is None or mask.dtype == torch.bool or not readable(mask) or not mask.numel():
        return
    wrong = (mask != 0) & (mask != 1)
    if bool(wrong.any()):
        first = mask[wrong][0].item()
        # What is added to scores is 0 for what is kept: read as a mask it says the opposite.
        added = (
            ", as masks that are added to scores do: mask == 0 turns one of those into this"
            if first < 0
            else ""
        )
        raise InputError(f"{name} holds {first}{added}; it is {means}")


def check_keeps(name: str, mask: Tensor | None) -> None:
    """Raise InputError for a mask of fractions that is 0 everywhere, which could as well be one
    that is added to scores.
    """
    if mask is None or not mask.is_floating_point() or not readable(mask) or not mask.numel():
        return
    if not bool(mask.any()):
        raise InputError(
            f"{name} is 0.0 everywhere: it is 1 for what is kept and 0 for padding, so that nothing would be seen; "
            "of a mask that is added to scores give mask == 0"
        )


def check_finite(name: str, values: Tensor | None) -> None:
    """Raise InputError where numbers are not finite; skipped where values cannot be read."""
    if values is None or not values.is_floating_point() or not readable(values):
        return
    if not bool(values.isfinite().all()):
        raise InputError(
            f"{name} holds {values[~values.isfinite()][0].item()}: every entry must be finite"
        )


def in_range(name: str, ids: Tensor, limit: int, axis: str, ignored: int | None = None) -> None:
    """Raise InputError where ids leave [0, limit); `ignored` is let through. Skipped where values
    cannot be read.
    """
    if not readable(ids) or not ids.numel():
        return
    if ids.is_floating_point() or ids.dtype == torch.bool:
        raise InputError(f"{name} must hold integers, found {ids.dtype}")
    seen = ids if ignored is None else ids[ids != ignored]
    if seen.numel() and (int(seen.min()) < 0 or int(seen.max()) >= limit):
        worst = int(seen.min()) if int(seen.min()) < 0 else int(seen.max())
        raise InputError(f"{name} holds {worst}, outside 0 … {limit - 1} ({axis} is {limit})")


def expect(name: str, tensor: Tensor | None, *shapes: tuple[int, ...]) -> None:
    """Raise InputError where a tensor has none of these shapes."""
    if tensor is not None and not any(_same(tensor.shape, shape) for shape in shapes):
        allowed = " or ".join(str(shape) for shape in shapes)
        raise InputError(f"{name} has shape {tuple(tensor.shape)}, expected {allowed}")


def _same(found: torch.Size, expected: tuple[int, ...]) -> bool:
    """Whether shapes agree; sizes are compared only where there are as many, as a comparison binds
    symbols.
    """
    return len(found) == len(expected) and all(
        one == other for one, other in zip(found, expected, strict=True)
    )


def check_vectors(name: str, given: Tensor | None, dtype: torch.dtype) -> None:
    """Raise InputError for vectors of another dtype than that of the network's weights."""
    if given is not None and not given.is_floating_point():
        raise InputError(f"{name} must hold floating-point numbers, found {given.dtype}")
    if (
        given is not None
        and given.dtype != dtype
        and not torch.is_autocast_enabled(given.device.type)
    ):
        raise InputError(
            f"{name} is {given.dtype}, the network's weights are {dtype}: cast one to the other"
        )


def check_flag(name: str, given: object) -> None:
    """Raise InputError for what is neither true, false nor left out."""
    if given is not None and not isinstance(given, bool):
        raise InputError(f"{name} is {given!r}, expected True or False")


def read_device(given: Any) -> torch.device:
    """A device, or torch's default one where none is given (raises InputError for what is none)."""
    if given is None:
        return torch.get_default_device()
    try:
        return torch.device(given)
    except (RuntimeError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"device is {given!r}, which names none: {reason}") from None


def check_dtype(given: object) -> None:
    """Raise InputError for what is neither a dtype of floating-point numbers nor left out."""
    if given is None or any(given is known for known in COMPUTABLE):
        return
    raise InputError(f"dtype is {given!r}, expected one of floats, such as torch.bfloat16")


def check_callable(name: str, given: object) -> None:
    """Raise InputError for what is neither a function nor left out."""
    if given is not None and not callable(given):
        raise InputError(f"{name} is a {type(given).__name__}, expected a function")


def check_word(name: str, given: object, allowed: Iterable[str]) -> None:
    """Raise InputError for what is neither one of the allowed words nor left out."""
    if given is not None and not (isinstance(given, str) and given in allowed):
        raise InputError(f"{name} is {given!r}, expected one of {', '.join(allowed)}")


def check_seed(given: object) -> None:
    """Raise InputError for what is neither a whole number that a generator takes nor left out."""
    if given is None:
        return
    if isinstance(given, bool | Tensor) or not hasattr(given, "__index__"):
        raise InputError(f"seed is a {type(given).__name__}, expected a whole number or None")
    try:
        torch.Generator().manual_seed(operator.index(given))
    except (OverflowError, RuntimeError, TypeError, ValueError):
        raise InputError(f"seed is {given!r:.60}, expected a whole number of 64 bits") from None


def check_head(given: object) -> None:
    """Raise InputError for what is neither the name of a head nor left out."""
    if given is not None and not isinstance(given, str):
        raise InputError(
            f"head is a {type(given).__name__}, expected the name of one, or None for the backbone"
        )


def check_count(name: str, given: object, least: int = 1) -> None:
    """Raise InputError for what is no whole number of at least `least`."""
    if isinstance(given, bool) or not isinstance(given, int) or given < least:
        raise InputError(f"{name} is {given!r}, expected a whole number of at least {least}")


def check_number(name: str, given: object) -> None:
    """Raise InputError for what is no number of which it can be asked how large it is."""
    if isinstance(given, bool) or not isinstance(given, int | float):
        raise InputError(f"{name} is a {type(given).__name__}, expected a number")

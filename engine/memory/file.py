"""A memory on disk: tensors with a header, of which nothing is believed that the tensors do not
bear out.
"""

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from engine.errors import InputError
from engine.memory.layer import LayerMemory
from tokenization.files.paths import as_path
from tokenization.files.staging import write_whole

KEEPS = ("segments", "tokens", "all")
# How many axes each part of a layer has, and which of them counts tokens.
PARTS = {
    "hidden": (3, 1),
    "keys": (4, 2),
    "values": (4, 2),
    "cross_keys": (4, 2),
    "cross_values": (4, 2),
}
_HEADER = {"spec": str, "length": int, "layers": int, "keeps": str}


class Stored(NamedTuple):
    """What a file says of a memory: its header, its layers, and what is known of its rows."""

    about: Mapping[str, Any]
    layers: tuple[LayerMemory, ...]
    mask: Tensor | None
    seen: Tensor
    vacant: Tensor | None


def write_memory(
    path: str | os.PathLike[str], about: Mapping[str, Any], tensors: Mapping[str, Tensor]
) -> None:
    """Write a file, whole or not at all (raises InputError where that cannot be)."""
    target = as_path("path", path, InputError)
    plain = {name: value.detach().contiguous() for name, value in tensors.items()}
    try:
        write_whole(
            target, lambda new: save_file(plain, new, metadata={"memory": json.dumps(about)})
        )
    except (OSError, SafetensorError) as error:
        raise InputError(
            f"'{os.fspath(path)}' cannot be written, and is as it was: {error}"
        ) from error


def read_memory(path: str | os.PathLike[str], device: torch.device | str) -> Stored:
    """What `write_memory` wrote; raises InputError for a file that holds no memory, or one that
    contradicts itself.
    """
    name = str(as_path("path", path, InputError))
    try:
        with safe_open(path, "pt", device=str(device)) as file:
            about = json.loads((file.metadata() or {})["memory"])
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise InputError(f"no memory file '{name}'") from None
    except PermissionError as error:
        raise InputError(f"'{name}' cannot be read: {error.strerror}") from None
    except (
        OSError,
        KeyError,
        TypeError,
        ValueError,
        RecursionError,
        RuntimeError,
        SafetensorError,
    ) as error:
        raise InputError(f"'{name}' is not a file that Memory.save wrote: {error}") from None
    try:
        return _checked(about, tensors)
    except InputError as error:
        raise InputError(
            f"'{name}' is not a file that Memory.save wrote, or is damaged: {error}"
        ) from None


def _checked(about: Any, tensors: dict[str, Tensor]) -> Stored:
    if not isinstance(about, dict) or {key: type(value) for key, value in about.items()} != _HEADER:
        raise InputError("its header should have spec, length, layers and keeps")
    if about["keeps"] not in KEEPS:
        raise InputError(f"keeps is {about['keeps']!r}; allowed: {', '.join(KEEPS)}")
    beside = {name: tensors.pop(name, None) for name in ("mask", "seen", "vacant")}
    count, length = about["layers"], about["length"]
    parts = [part for part in PARTS if f"layers.0.{part}" in tensors]
    _check_parts(tensors, parts, count)
    first = tensors[f"layers.0.{parts[0]}"]
    _check_shapes(tensors, parts, length)
    _check_rows(beside, len(first), length)
    layers = tuple(
        LayerMemory().with_tensors({part: tensors[f"layers.{index}.{part}"] for part in parts})
        for index in range(count)
    )
    assert beside["seen"] is not None
    return Stored(about, layers, beside["mask"], beside["seen"], beside["vacant"])


def _check_parts(tensors: Mapping[str, Tensor], parts: Sequence[str], count: int) -> None:
    """Raise InputError unless each of so many layers holds the same whole parts."""
    if not 0 < count <= len(tensors) or set(tensors) != {
        f"layers.{i}.{part}" for i in range(count) for part in parts
    }:
        raise InputError(f"its tensors are not those of {count} layers")
    if not ({"hidden"} <= set(parts) or {"keys", "values"} <= set(parts)):
        raise InputError("its layers hold neither hidden states nor keys and values")
    for part in ("", "cross_"):
        if (f"{part}keys" in parts) != (f"{part}values" in parts):
            raise InputError(f"{part}keys and {part}values go together")


def _check_shapes(tensors: Mapping[str, Tensor], parts: Sequence[str], length: int) -> None:
    """Raise InputError for tensors that are not of one memory of `length` tokens."""
    first = tensors[f"layers.0.{parts[0]}"]
    for name, tensor in tensors.items():
        part = name.rpartition(".")[2]
        axes, counted = PARTS[part]
        like = tensors[f"layers.0.{part}"]
        fits = tensor.dim() == axes and tensor.shape == like.shape and len(tensor) == len(first)
        fits = fits and tensor.dtype == first.dtype and tensor.is_floating_point()
        if not fits or (not part.startswith("cross") and tensor.shape[counted] != length):
            raise InputError(
                f"{name} {tuple(tensor.shape)} of {tensor.dtype} is no part of {length} tokens"
            )
    for prefix in ("", "cross_"):
        if f"{prefix}keys" in parts:
            keys, values = (tensors[f"layers.0.{prefix}{end}"].shape for end in ("keys", "values"))
            if keys[:3] != values[:3]:
                raise InputError(
                    f"{prefix}keys {tuple(keys)} and {prefix}values {tuple(values)} are not of one "
                    "memory"
                )


def _check_rows(beside: Mapping[str, Tensor | None], batch: int, length: int) -> None:
    """What is known of each row: which tokens are real, how many were seen, and how many places are
    vacant.
    """
    mask, seen, vacant = (beside[name] for name in ("mask", "seen", "vacant"))
    if mask is not None and (mask.dtype != torch.bool or tuple(mask.shape) != (batch, length)):
        raise InputError(
            f"mask {tuple(mask.shape)} of {mask.dtype} should be ({batch}, {length}) of torch.bool"
        )
    for name, counts, shapes, most in (
        ("seen", seen, [(), (batch,)], 2**62),
        ("vacant", vacant, [(batch,)], length),
    ):
        if counts is None and name == "vacant":
            continue
        if counts is None or counts.dtype != torch.int64 or tuple(counts.shape) not in shapes:
            raise InputError(f"{name} should count in torch.int64, one number or one a row")
        if counts.numel() and (int(counts.min()) < 0 or int(counts.max()) > most):
            raise InputError(
                f"{name} counts to {int(counts.max())} from {int(counts.min())}, which no memory "
                "does"
            )

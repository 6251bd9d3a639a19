"""One tensor of theirs as tensors of ours, and back, by an einops pattern in which `c` counts the
parts that they fuse.
"""

import re
from collections.abc import Mapping, Sequence

import torch
from einops import rearrange
from torch import Tensor

from engine.spec.weight_maps import with_numbers


def take_apart(
    tensor: Tensor, pattern: str, parts: Sequence[int], letters: Mapping[str, int]
) -> list[Tensor]:
    """The parts of their tensor, which are as long along `c` as `parts` say."""
    pattern, sizes = _read(pattern, letters)
    theirs, ours = pattern.split("->")
    apart = f"c {_others(theirs)}"
    whole = _turned(tensor, theirs, apart, {**sizes, "c": sum(parts)})
    return [
        _turned(part, apart, ours, {**sizes, "c": len(part)}) for part in whole.split(list(parts))
    ]


def put_together(
    tensors: Sequence[Tensor], pattern: str, parts: Sequence[int], letters: Mapping[str, int]
) -> Tensor:
    """The inverse of `take_apart`."""
    pattern, sizes = _read(pattern, letters)
    theirs, ours = pattern.split("->")
    apart = f"c {_others(theirs)}"
    steps = [
        _turned(tensor, ours, apart, {**sizes, "c": part})
        for tensor, part in zip(tensors, parts, strict=True)
    ]
    return _turned(torch.cat(steps), apart, theirs, {**sizes, "c": sum(parts)})


def turned(
    tensor: Tensor, pattern: str, letters: Mapping[str, int], *, back: bool = False
) -> Tensor:
    """A tensor with its axes as a pattern says, or as they were before."""
    pattern, sizes = _read(pattern, letters)
    theirs, ours = pattern.split("->")
    if back:
        theirs, ours = ours, theirs
    return _turned(tensor, theirs, ours, sizes)


def _read(pattern: str, letters: Mapping[str, int]) -> tuple[str, dict[str, int]]:
    """The pattern without numbers, and the sizes of all letters."""
    pattern, numbers = with_numbers(pattern)
    return pattern, {**letters, **numbers}


def _turned(tensor: Tensor, before: str, after: str, sizes: Mapping[str, int]) -> Tensor:
    there = set(_letters(before))
    known = {name: size for name, size in sizes.items() if name in there}
    return rearrange(tensor, f"{before} -> {after}", **known)


def _others(side: str) -> str:
    """All axes of one side but `c`, apart from each other."""
    return " ".join(letter for letter in _letters(side) if letter != "c")


def _letters(side: str) -> list[str]:
    return re.findall(r"[a-z]\w*", side)

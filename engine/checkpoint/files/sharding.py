"""Tensors written as safetensors, in shards of a largest size, beside what describes them."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from engine.checkpoint.files.naming import INDEX, SINGLE, shard_name


def save_tensors(
    tensors: Iterable[tuple[str, Tensor]], folder: Path, shard_bytes: int, beside: Mapping[str, str]
) -> None:
    """Write tensors as safetensors in shards of at most `shard_bytes`, with transformers' index
    where there are several.

    `beside` are the texts of further files by name. The weights say what they are, so that a later
    save knows its own.
    """
    about = {name: digest(text.encode()) for name, text in beside.items()}
    for name, text in beside.items():
        (folder / name).write_text(text, encoding="utf-8")
    shards, total = [], 0
    for number, shard in enumerate(_shards(tensors, shard_bytes)):
        save_file(shard, folder / f"shard-{number}", metadata={"format": "pt", **about})
        shards.append(list(shard))
        total += sum(map(_bytes, shard.values()))
    # How many there are is part of their names, and known only now.
    files = [shard_name(number, len(shards)) for number in range(1, len(shards) + 1)]
    if len(files) == 1:
        files = [SINGLE[0]]
    for number, file in enumerate(files):
        (folder / f"shard-{number}").replace(folder / file)
    if len(files) > 1:
        where = {name: file for file, names in zip(files, shards, strict=True) for name in names}
        said = {"metadata": {"total_size": total, **about}, "weight_map": where}
        write_index(folder / INDEX, said)


def _shards(tensors: Iterable[tuple[str, Tensor]], shard_bytes: int) -> Iterator[dict[str, Tensor]]:
    """Tensors by name, at most `shard_bytes` at a time; one that is larger stands alone.

    Each shard is empty again when the next one is asked for: one is in memory at a time.
    """
    shard: dict[str, Tensor] = {}
    filled = 0
    for name, tensor in tensors:
        size = _bytes(tensor)
        if shard and filled + size > shard_bytes:
            yield shard
            shard.clear()
            filled = 0
        shard[name] = tensor.detach().to("cpu").contiguous()
        filled += size
    yield shard


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def write_index(path: Path, index: Mapping[str, Any]) -> None:
    """The JSON file that says in which shard each tensor lies."""
    path.write_text(json.dumps(index, indent=2, sort_keys=True) + "\n", "utf-8")


def digest(content: bytes) -> str:
    """By which a later save recognises a file as unchanged."""
    return hashlib.sha256(content).hexdigest()

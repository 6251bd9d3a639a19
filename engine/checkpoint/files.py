"""Weight files: opened lazily, read tensor by tensor, written to a temporary name and moved."""

import contextlib
import json
import os
import pickle
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from engine.errors import CheckpointError

SINGLE = ("model.safetensors", "pytorch_model.bin")
DOWNLOADED = ("*.json", "*.safetensors", "*.bin", "*.model", "*.txt", "spec.yaml")


class Weights:
    """The tensors of a checkpoint folder by name, each read from disk when asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._readers: dict[str, Callable[[], Tensor]] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}
        for path in _weight_files(folder):
            self._open(path)

    def names(self) -> list[str]:
        """Names of all tensors."""
        return list(self._readers)

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor without reading it."""
        return self._shapes[name]

    def read(self, name: str) -> Tensor:
        """One tensor."""
        return self._readers[name]()

    def _open(self, path: Path) -> None:
        try:
            if path.suffix == ".safetensors":
                file = safe_open(path, framework="pt")
                for name in file.keys():  # noqa: SIM118
                    self._shapes[name] = tuple(file.get_slice(name).get_shape())
                    self._readers[name] = partial(file.get_tensor, name)
                return
            state = torch.load(path, map_location="cpu", weights_only=True, mmap=_is_zip(path))
        except (SafetensorError, pickle.UnpicklingError, RuntimeError, OSError, EOFError, ValueError) as error:
            raise CheckpointError(f"{path} is damaged or no weight file: {error}") from None
        if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
            raise CheckpointError(f"{path} holds no tensors by name")
        for name, tensor in state.items():
            self._shapes[name] = tuple(tensor.shape)
            self._readers[name] = partial(_same, tensor)


def resolve_folder(source: str | os.PathLike[str], revision: str | None = None) -> Path:
    """A local folder, or the snapshot of a hub id (raises CheckpointError where neither can be had)."""
    path = Path(source)
    if path.is_dir():
        return path
    if path.is_file():
        raise CheckpointError(f"{path} is a file; give the folder that holds it and its config.json")
    text = str(source)
    if text.startswith((".", "/", "~")) or text.count("/") > 1:
        raise CheckpointError(f"there is no folder {text}")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(text, revision=revision, allow_patterns=list(DOWNLOADED)))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise CheckpointError(f"'{text}' is no folder here, and the hub did not give it: {error}") from None


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file (raises CheckpointError for a missing or damaged one)."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"there is no {path.name} in {path.parent}") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path} is damaged: {error}") from None
    if not isinstance(data, dict):
        raise CheckpointError(f"{path} is damaged: it holds no object")
    return data


def save_tensors(tensors: Iterable[tuple[str, Tensor]], folder: Path, shard_bytes: int) -> None:
    """Write tensors as safetensors in shards of at most `shard_bytes`, with transformers' index where there are several."""
    shards: list[dict[str, Tensor]] = [{}]
    filled = total = 0
    for name, tensor in tensors:
        size = tensor.numel() * tensor.element_size()
        if shards[-1] and filled + size > shard_bytes:
            shards.append({})
            filled = 0
        shards[-1][name] = tensor.detach().to("cpu").contiguous()
        filled, total = filled + size, total + size
    many = len(shards) > 1
    files = [f"model-{i:05}-of-{len(shards):05}.safetensors" if many else SINGLE[0] for i in range(1, len(shards) + 1)]
    for file, shard in zip(files, shards, strict=True):
        with replacing(folder / file) as path:
            save_file(shard, path, metadata={"format": "pt"})
    if many:
        where = {name: file for file, shard in zip(files, shards, strict=True) for name in shard}
        index = {"metadata": {"total_size": total}, "weight_map": where}
        write_text(folder / f"{SINGLE[0]}.index.json", json.dumps(index, indent=2, sort_keys=True) + "\n")
    _remove_stale(folder, {*files, f"{SINGLE[0]}.index.json"} if many else set(files))


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place when the block ends well."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        shutil.copymode(path, temporary) if path.exists() else temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _same(tensor: Tensor) -> Tensor:
    return tensor


def _weight_files(folder: Path) -> list[Path]:
    for single in SINGLE:
        if (folder / single).is_file():
            return [folder / single]
        index = folder / f"{single}.index.json"
        if index.is_file():
            places = read_json(index).get("weight_map")
            if not isinstance(places, dict) or not places:
                raise CheckpointError(f"{index} is damaged: it has no weight_map")
            files = [folder / Path(str(name)).name for name in sorted(set(places.values()))]
            missing = [file.name for file in files if not file.is_file()]
            if missing:
                raise CheckpointError(f"{folder} lacks shards that its index names: {', '.join(missing)}")
            return files
    raise CheckpointError(f"{folder} holds no weights: expected {' or '.join(SINGLE)}, or an index of shards")


def _is_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"PK"


def _remove_stale(folder: Path, kept: set[str]) -> None:
    """Weights of an earlier save in another number of shards would shadow the new ones."""
    for path in folder.glob("model*.safetensors*"):
        if path.name not in kept:
            path.unlink()

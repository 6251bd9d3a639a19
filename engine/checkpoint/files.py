"""Weight files: opened lazily, read tensor by tensor, written to a temporary name and moved."""

import contextlib
import json
import os
import pickle
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from engine.checkpoint.foreign import nothing_to_open, refuse_pointer
from engine.checkpoint.stored import state_in
from engine.errors import CheckpointError

SINGLE = ("model.safetensors", "pytorch_model.bin")
DESCRIPTIONS = ("spec.yaml", "config.json")
REMAP_BYTES = 2**26
DOWNLOADED = ("*.json", "*.safetensors", "*.bin", "*.model", "*.txt", "spec.yaml")


class Weights:
    """The tensors of a checkpoint folder by name, each read from disk when asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._files: dict[str, _File] = {}
        for path in _weight_files(folder):
            file = _File(path)
            self._files.update(dict.fromkeys(file.shapes, file))

    def names(self) -> list[str]:
        """Names of all tensors."""
        return list(self._files)

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor without reading it."""
        return self._files[name].shapes[name]

    def read(self, name: str) -> Tensor:
        """One tensor, on pages of the file that are copied when written to."""
        return self._files[name].read(name)

    def metadata(self) -> dict[str, str]:
        """What safetensors files say beside their tensors."""
        return {name: text for file in set(self._files.values()) for name, text in file.metadata.items()}


class _File:
    """One weight file, mapped into memory, and mapped anew now and then so that pages of copied tensors do not pile up."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.metadata: dict[str, str] = {}
        refuse_pointer(path)
        self._get = self._map()
        self._bytes = 0

    def read(self, name: str) -> Tensor:
        tensor = self._get(name)
        self._bytes += tensor.numel() * tensor.element_size()
        if self._bytes > REMAP_BYTES:
            self._get, self._bytes = self._map(), 0
        return tensor

    def _map(self) -> Callable[[str], Tensor]:
        try:
            if self.path.suffix == ".safetensors":
                file = safe_open(self.path, framework="pt")
                self.metadata = file.metadata() or {}
                names = () if self.shapes else file.keys()
                self.shapes.update({name: tuple(file.get_slice(name).get_shape()) for name in names})
                return file.get_tensor
            state = torch.load(self.path, map_location="cpu", weights_only=True, mmap=_is_zip(self.path))
        except pickle.UnpicklingError:
            raise CheckpointError(
                f"{self.path} is damaged, or holds more than tensors; nothing in it was run"
            ) from None
        except Exception as error:  # readers of broken bytes raise all sorts
            text = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise CheckpointError(f"{self.path} is damaged or no weight file: {text}") from None
        state = state_in(state)
        if state is None:
            raise CheckpointError(f"{self.path} holds no tensors by name")
        self.shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
        return dict(state).__getitem__


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

    try:
        return Path(snapshot_download(text, revision=revision, allow_patterns=list(DOWNLOADED)))
    except Exception as error:  # whatever the hub's client and its transport raise
        raise CheckpointError(f"'{text}' is no folder here, and the hub did not give it: {error}") from None


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file (raises CheckpointError for a missing or damaged one)."""
    try:
        refuse_pointer(path)
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"there is no {path.name} in {path.parent}") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path} is damaged: {error}") from None
    if not isinstance(data, dict):
        raise CheckpointError(f"{path} is damaged: it holds no object")
    return data


@contextlib.contextmanager
def staged(folder: Path) -> Iterator[Path]:
    """A temporary folder whose files take their places in `folder` when the block ends well, and vanish otherwise."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".saving-") as name:
        stage = Path(name)
        yield stage
        files = sorted(stage.iterdir())
        for path in files:
            path.replace(folder / path.name)
    _remove_stale(folder, {path.name for path in files})


def save_tensors(tensors: Iterable[tuple[str, Tensor]], folder: Path, shard_bytes: int) -> None:
    """Write tensors as safetensors in shards of at most `shard_bytes`, with transformers' index where there are several."""
    shards: list[list[str]] = []
    shard: dict[str, Tensor] = {}
    filled = total = 0

    def write() -> None:
        save_file(shard, folder / f"shard-{len(shards)}", metadata={"format": "pt"})
        shards.append(list(shard))
        shard.clear()

    for name, tensor in tensors:
        size = tensor.numel() * tensor.element_size()
        if shard and filled + size > shard_bytes:
            write()
            filled = 0
        shard[name] = tensor.detach().to("cpu").contiguous()
        filled, total = filled + size, total + size
    write()
    many = len(shards) > 1
    files = [f"model-{i:05}-of-{len(shards):05}.safetensors" if many else SINGLE[0] for i in range(1, len(shards) + 1)]
    for number, file in enumerate(files):
        (folder / f"shard-{number}").replace(folder / file)
    if many:
        where = {name: file for file, names in zip(files, shards, strict=True) for name in names}
        index = {"metadata": {"total_size": total}, "weight_map": where}
        (folder / f"{SINGLE[0]}.index.json").write_text(json.dumps(index, indent=2, sort_keys=True) + "\n", "utf-8")


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
    raise nothing_to_open(folder, f"holds no weights: expected {' or '.join(SINGLE)}, or an index of shards")


def _is_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"PK"


def _remove_stale(folder: Path, kept: set[str]) -> None:
    """What an earlier save left would shadow the new files: weights in another number of shards, the other format."""
    for path in (*folder.glob("model*.safetensors*"), *(folder / name for name in DESCRIPTIONS)):
        if path.name not in kept:
            path.unlink(missing_ok=True)

"""Weight files: opened lazily, read tensor by tensor, and written so that a save is seen whole or
not at all.
"""

import contextlib
import hashlib
import json
import os
import pickle
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from engine.checkpoint.archive import check_tensors, is_archive
from engine.checkpoint.authors import SUFFIXES, read_shells
from engine.checkpoint.foreign import nothing_to_open, refuse_pointer
from engine.checkpoint.stored import state_in
from engine.errors import CheckpointError, InputError, SpecError
from tokenization.files import staging
from tokenization.files.paths import as_path
from tokenization.files.unwritable import unwritable

T = TypeVar("T")

SINGLE = ("model.safetensors", "pytorch_model.bin")
INDEX = f"{SINGLE[0]}.index.json"
DESCRIPTIONS = ("spec.yaml", "config.json", "generation_config.json")
# The files by which a save is found.
WATCHED = (*DESCRIPTIONS, *SINGLE, *(f"{name}.index.json" for name in SINGLE))
# What readers of broken data raise: no slip of ours among them may be told as one of the file's, so
# these are few.
FOREIGN = (
    RecursionError,
    UnicodeError,
    OverflowError,
    MemoryError,
    ValidationError,
    SafetensorError,
)
REMAP_BYTES = 2**26
LARGEST_TEXT = 2**26
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
        return {
            name: text for file in set(self._files.values()) for name, text in file.metadata.items()
        }


class _File:
    """One weight file, mapped into memory, and mapped anew now and then so that pages of copied
    tensors do not pile up.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.metadata: dict[str, str] = {}
        refuse_pointer(path)
        self._identity = self._stat()
        self._get = self._map()
        self._bytes = 0

    def read(self, name: str) -> Tensor:
        tensor = self._get(name)
        self._bytes += tensor.numel() * tensor.element_size()
        if self._bytes > REMAP_BYTES:
            if self._stat() != self._identity:
                raise CheckpointError(f"{self.path} was replaced while it was read")
            self._get, self._bytes = self._map(), 0
        return tensor

    def _stat(self) -> tuple[int, int, int]:
        told = self.path.stat()
        return told.st_ino, told.st_mtime_ns, told.st_size

    def _map(self) -> Callable[[str], Tensor]:
        try:
            if self.path.suffix == ".safetensors":
                file = safe_open(self.path, framework="pt")
                self.metadata = file.metadata() or {}
                names = () if self.shapes else file.keys()
                self.shapes.update(
                    {name: tuple(file.get_slice(name).get_shape()) for name in names}
                )
                return file.get_tensor
            zipped = is_archive(self.path)
            state = torch.load(self.path, map_location="cpu", weights_only=True, mmap=zipped)
        except CheckpointError:
            raise
        except pickle.UnpicklingError:
            state = self._among_objects()
        except PermissionError as error:
            raise CheckpointError(f"{self.path} cannot be read: {_reason(error)}") from None
        except Exception as error:  # readers of broken bytes raise all sorts
            text = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise CheckpointError(f"{self.path} is damaged or no weight file: {text}") from None
        state = state_in(state)
        if state is None:
            raise CheckpointError(f"{self.path} holds no tensors by name")
        check_tensors(self.path, state)
        self.shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
        return dict(state).__getitem__

    def _among_objects(self) -> Any:
        """What a training program wrote, settings and all, where the tensors stand apart from the
        objects.
        """
        try:
            content = read_shells(self.path)
        except CheckpointError:
            content = None
        if state_in(content) is None:
            raise CheckpointError(
                f"{self.path} is damaged, or holds more than tensors; nothing in it was run"
            ) from None
        return content


def resolve_folder(source: str | os.PathLike[str], revision: str | None = None) -> Path:
    """A local folder, or the snapshot of a hub id (raises CheckpointError where neither can be
    had).
    """
    path = as_path("source", source, InputError)
    if path.is_dir():
        return path
    if path.is_file() and path.suffix in SUFFIXES:
        return path
    if path.is_file():
        raise CheckpointError(
            f"{path} is a file; give the folder that holds it and its config.json"
        )
    text = str(source)
    if text.startswith((".", "/", "~")) or text.count("/") > 1:
        raise CheckpointError(f"there is no folder {text}")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(text, revision=revision, allow_patterns=list(DOWNLOADED)))
    except Exception as error:  # whatever the hub's client and its transport raise
        raise CheckpointError(
            f"'{text}' is no folder here, and the hub did not give it: {error}"
        ) from None


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file (raises CheckpointError for a missing or damaged one)."""
    try:
        refuse_pointer(path)
        if path.stat().st_size > LARGEST_TEXT:
            raise CheckpointError(f"{path} is larger than any description of a network")
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"there is no {path.name} in {path.parent}") from None
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is damaged: {error}") from None
    if not isinstance(data, dict):
        raise CheckpointError(f"{path} is damaged: it holds no object")
    for _, reason in unwritable(data):
        raise CheckpointError(f"{path} is damaged: {reason}")
    return data


@contextlib.contextmanager
def staged(folder: Path) -> Iterator[Path]:
    """A hidden folder whose files take the places of the last save's in `folder` when the block
    ends well, or vanish.

    Only files that a save of ours wrote go, as its own weights say. Raises CheckpointError where
    the folder cannot be written, with what it held unchanged.
    """
    try:
        with staging.staged(folder, _arrange) as stage:
            yield stage
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"{folder} cannot be written: {_reason(error)}; what it held is as it was"
        ) from error


def read_folder(folder: Path, read: Callable[[], T]) -> T:
    """What `read` makes of a checkpoint folder as one save left it; raises CheckpointError for what
    stands in the way.

    Whatever a file makes a library stumble over is an error of the folder.
    """
    try:
        return staging.read_whole(folder, WATCHED, read)
    except (CheckpointError, SpecError, InputError):
        raise
    except OSError as error:
        if error.errno is None:  # not of the system: a name that the caller gave
            raise
        where = error.filename or folder
        raise CheckpointError(f"{where} cannot be read: {_reason(error)}") from None
    except FOREIGN as error:
        raise CheckpointError(
            f"{folder} is damaged, or holds what no network has: {_reason(error)}"
        ) from error


def save_tensors(
    tensors: Iterable[tuple[str, Tensor]], folder: Path, shard_bytes: int, beside: Mapping[str, str]
) -> None:
    """Write tensors as safetensors in shards of at most `shard_bytes`, with transformers' index
    where there are several.

    `beside` are the texts of further files by name. The weights say what they are, so that a later
    save knows its own.
    """
    about = {name: _digest(text.encode()) for name, text in beside.items()}
    shards: list[list[str]] = []
    shard: dict[str, Tensor] = {}
    filled = total = 0

    def write() -> None:
        save_file(shard, folder / f"shard-{len(shards)}", metadata={"format": "pt", **about})
        shards.append(list(shard))
        shard.clear()

    for name, text in beside.items():
        (folder / name).write_text(text, encoding="utf-8")
    for name, tensor in tensors:
        size = tensor.numel() * tensor.element_size()
        if shard and filled + size > shard_bytes:
            write()
            filled = 0
        shard[name] = tensor.detach().to("cpu").contiguous()
        filled, total = filled + size, total + size
    write()
    many = len(shards) > 1
    files = [
        _shard_name("model", i, len(shards)) if many else SINGLE[0]
        for i in range(1, len(shards) + 1)
    ]
    for number, file in enumerate(files):
        (folder / f"shard-{number}").replace(folder / file)
    if many:
        where = {name: file for file, names in zip(files, shards, strict=True) for name in names}
        _write_index(
            folder / INDEX, {"metadata": {"total_size": total, **about}, "weight_map": where}
        )


def _shard_name(stem: str, number: int, count: int) -> str:
    return f"{stem}-{number:05}-of-{count:05}.safetensors"


def _write_index(path: Path, index: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(index, indent=2, sort_keys=True) + "\n", "utf-8")


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _arrange(stage: Path, folder: Path) -> list[staging.Step]:
    """The moves of a save: shards, then the one file by which all others are found, then what
    describes them.

    Transformers reads config.json first: while another one waits for its weights there is none, and
    that is an error there, not a mixture.
    """
    index, owned, shards = _last_save(folder)
    new = _apart(stage, folder)
    steps: list[staging.Step] = []
    for name in DESCRIPTIONS:
        old = folder / name
        if not old.is_file():
            continue
        content = old.read_bytes()
        if name in new:
            same = content == (stage / name).read_bytes()
            steps += [] if same else [("hide", name)]
        elif owned.get(name) == _digest(content):
            steps.insert(0, ("remove", name))
        elif name == "spec.yaml":
            raise CheckpointError(
                f"{folder} holds a spec.yaml that no save wrote, or that was changed since, and that load_model would read "
                "in place of config.json: move it away, or save to another folder"
            )
    pointer = SINGLE[0] if SINGLE[0] in new else INDEX
    steps += [("put", name) for name in new if name not in (pointer, *DESCRIPTIONS)]
    steps.append(("put", pointer))
    if pointer == INDEX or index:
        steps.append(("remove", SINGLE[0] if pointer == INDEX else INDEX))
    steps += [("put", name) for name in new if name in DESCRIPTIONS]
    return steps + [("remove", name) for name in shards if name not in new]


def _apart(stage: Path, folder: Path) -> list[str]:
    """The names in a stage, once its shards have names that are free: those of an earlier save are
    still being read.
    """
    stem, number = "model", 1
    shards = sorted(path.name for path in stage.glob("model-*-of-*.safetensors"))
    while any((folder / name.replace("model", stem, 1)).exists() for name in shards):
        number += 1
        stem = f"model.{number}"
    if number > 1:
        content = json.loads((stage / INDEX).read_text(encoding="utf-8"))
        for name in shards:
            (stage / name).replace(stage / name.replace("model", stem, 1))
        places = content["weight_map"].items()
        content["weight_map"] = {tensor: name.replace("model", stem, 1) for tensor, name in places}
        _write_index(stage / INDEX, content)
    return sorted(path.name for path in stage.iterdir())


def _last_save(folder: Path) -> tuple[bool, dict[str, str], list[str]]:
    """Whether an index of ours lies in a folder, the digests of what a save wrote beside its
    weights, and its shards.
    """
    digests: dict[str, str] = {}
    # A damaged file is none of ours.
    with contextlib.suppress(Exception), safe_open(folder / SINGLE[0], framework="pt") as file:
        digests = file.metadata() or {}
    owned = {name: text for name, text in digests.items() if name in DESCRIPTIONS}
    try:
        content = read_json(folder / INDEX)
        said, places = content["metadata"], content["weight_map"]
        ours = {name: said[name] for name in DESCRIPTIONS if name in said}
        shards = [name for name in set(places.values()) if _is_shard(name)] if ours else []
    except (CheckpointError, KeyError, TypeError, AttributeError):
        return False, owned, []
    return bool(ours), {**owned, **ours}, sorted(shards)


def _is_shard(name: object) -> bool:
    return (
        staging.is_plain(name)
        and re.fullmatch(r"model(\.\d+)?-\d{5}-of-\d{5}\.safetensors", str(name)) is not None
    )


def _reason(error: BaseException) -> str:
    """What went wrong, in one line."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0]}" if text else type(error).__name__


def _weight_files(folder: Path) -> list[Path]:
    for single in SINGLE:
        if (folder / single).is_file():
            return [folder / single]
        index = folder / f"{single}.index.json"
        if index.is_file():
            places = read_json(index).get("weight_map")
            if not isinstance(places, dict) or not places:
                raise CheckpointError(f"{index} is damaged: it has no weight_map")
            for name in places.values():
                if not staging.is_plain(name):
                    raise CheckpointError(f"{index}: {name!r} is no name of a file beside it")
            files = [folder / name for name in sorted(set(places.values()))]
            missing = [file.name for file in files if not file.is_file()]
            if missing:
                raise CheckpointError(
                    f"{folder} lacks shards that its index names: {', '.join(missing)}"
                )
            return files
    raise nothing_to_open(
        folder, f"holds no weights: expected {' or '.join(SINGLE)}, or an index of shards"
    )

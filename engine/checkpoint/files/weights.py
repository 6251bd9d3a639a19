"""Weight files, opened lazily and read tensor by tensor."""

import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from engine.checkpoint.files.archive import check_tensors, is_archive
from engine.checkpoint.files.finding import weight_files
from engine.checkpoint.files.foreign import refuse_pointer
from engine.checkpoint.files.reading import first_line, reason
from engine.checkpoint.files.shells import read_shells
from engine.checkpoint.stored import state_in
from engine.errors import CheckpointError

# A file is mapped anew after so many bytes: the pages of tensors that were copied leave memory.
REMAP_BYTES = 2**26


class Weights:
    """The tensors of a checkpoint folder, or of some files in it, by name, each read from disk when
    asked for.
    """

    def __init__(self, folder: Path, files: Sequence[Path] | None = None) -> None:
        self.folder = folder
        self._files: dict[str, _File] = {}
        for path in files or weight_files(folder):
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
    """One weight file, mapped into memory, and mapped anew now and then."""

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
        status = self.path.stat()
        return status.st_ino, status.st_mtime_ns, status.st_size

    def _map(self) -> Callable[[str], Tensor]:
        """What gives a tensor by its name; raises CheckpointError for a damaged file."""
        try:
            if self.path.suffix == ".safetensors":
                return self._map_safetensors()
            zipped = is_archive(self.path)
            state = torch.load(self.path, map_location="cpu", weights_only=True, mmap=zipped)
        except CheckpointError:
            raise
        except pickle.UnpicklingError:
            state = self._among_objects()
        except PermissionError as error:
            raise CheckpointError(f"{self.path} cannot be read: {reason(error)}") from None
        except Exception as error:  # readers of broken bytes raise all sorts
            raise CheckpointError(
                f"{self.path} is damaged or no weight file: {first_line(error)}"
            ) from None
        tensors = state_in(state)
        if tensors is None:
            raise CheckpointError(f"{self.path} holds no tensors by name")
        check_tensors(self.path, tensors)
        self.shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        return dict(tensors).__getitem__

    def _map_safetensors(self) -> Callable[[str], Tensor]:
        file = safe_open(self.path, framework="pt")
        self.metadata = file.metadata() or {}
        if not self.shapes:
            for name in file.keys():  # noqa: SIM118 - no mapping
                self.shapes[name] = tuple(file.get_slice(name).get_shape())
        return file.get_tensor

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

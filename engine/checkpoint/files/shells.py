"""Pickles read without running anything that they ask for.

A pickle may name any function and have it called. This reader looks up nothing but how tensors and
plain containers are put together; an object of any other class becomes a shell that only keeps its
state.
"""

import pickle
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch

from engine.checkpoint.files.archive import is_archive
from engine.checkpoint.files.reading import first_line
from engine.errors import CheckpointError

_PARTS: Mapping[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch", "Size"): torch.Size,
    ("torch._utils", "_rebuild_tensor"): torch._utils._rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2,
    ("torch._utils", "_rebuild_parameter"): torch._utils._rebuild_parameter,
    ("torch.nn.parameter", "Parameter"): torch.nn.Parameter,
}


class Shell:
    """Stands for an object of any class: keeps the state that it is given, and does nothing."""

    name = ""

    def __new__(cls, *arguments: Any, **named: Any) -> "Shell":
        """A shell, whatever the class would have taken."""
        return super().__new__(cls)

    def __init__(self, *arguments: Any, **named: Any) -> None:
        self.state: Any = None

    def __call__(self, *arguments: Any, **named: Any) -> "Shell":
        """Another shell."""
        return Shell()

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:
        """Nothing is kept."""

    def append(self, value: Any) -> None:
        """Nothing is kept."""

    def extend(self, values: Iterable[Any]) -> None:
        """Nothing is kept."""


class Unpickler(pickle.Unpickler):
    """A reader that builds tensors and plain containers, and shells for all else."""

    def find_class(self, module: str, name: str) -> Any:
        """What a name stands for."""
        return _PARTS.get((module, name)) or type("Shell", (Shell,), {"name": name})


class _Pickles:
    """What `torch.load` takes as the module that reads pickles."""

    Unpickler = Unpickler
    UnpicklingError = pickle.UnpicklingError

    @staticmethod
    def load(file: BinaryIO, **options: Any) -> Any:
        return Unpickler(file, **options).load()


def read_shells(path: Path) -> Any:
    """What a file of `torch.save` holds, with shells for objects (raises CheckpointError for a
    damaged or other file).
    """
    zipped = is_archive(path)
    try:
        return torch.load(
            path, map_location="cpu", weights_only=False, mmap=zipped, pickle_module=_Pickles
        )
    except Exception as error:  # readers of broken bytes raise all sorts
        raise CheckpointError(f"{path} is damaged or no weight file: {first_line(error)}") from None

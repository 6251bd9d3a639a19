"""The authors' own files: tensors and settings in one pickle, read without running anything that it
asks for.

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
from torch import Tensor

from engine.checkpoint.archive import is_archive
from engine.checkpoint.names import slots_of
from engine.checkpoint.stored import InMemory, unwrapped_names
from engine.errors import CheckpointError
from engine.spec.axes import OriginalLayout

SUFFIXES = (".pt", ".pth", ".bin")
_PARTS: Mapping[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch", "Size"): torch.Size,
    ("torch._utils", "_rebuild_tensor"): torch._utils._rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2,
    ("torch._utils", "_rebuild_parameter"): torch._utils._rebuild_parameter,
    ("torch.nn.parameter", "Parameter"): torch.nn.Parameter,
}
WHOLE_MODULE = (
    "it is a whole network of the authors' code, which only that code opens: with it, save "
    "{'model': model.state_dict()} as pytorch_model.bin beside a config.json of transformers' TransfoXLConfig"
)


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
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"{path} is damaged or no weight file: {text}") from None


def authors_file(folder: Path) -> Path | None:
    """The only file of torch in a folder (raises CheckpointError where there are several)."""
    files = sorted(
        path for path in folder.iterdir() if path.suffix in (".pt", ".pth") and path.is_file()
    )
    if len(files) > 1:
        names = ", ".join(path.name for path in files[:6])
        raise CheckpointError(
            f"{folder} holds several files of torch ({names}) and no config.json: name one of them"
        )
    return files[0] if files else None


def read_authors(
    path: Path, layouts: Mapping[str, OriginalLayout]
) -> tuple[str, dict[str, Any], InMemory]:
    """The name of the layout that fits a file, the authors' settings, and the tensors.

    Settings hold `rows of NAME` for every tensor besides. Raises CheckpointError where no layout
    fits.
    """
    content = read_shells(path)
    if isinstance(content, Shell) and content.name:
        raise CheckpointError(f"{path} holds a {content.name}: {WHOLE_MODULE}")
    for name, layout in layouts.items():
        state = next(
            (found for place in layout.tensors if (found := _state(_at(content, place)))), None
        )
        settings = next(
            (found for place in layout.settings if (found := _plain(_at(content, place)))), None
        )
        if state is None or not _fits(layout, state):
            continue
        if not isinstance(settings, Mapping):
            raise CheckpointError(
                f"{path} holds tensors of {layout.model_type} without its settings ({' or '.join(layout.settings)}): put "
                "them into pytorch_model.bin beside a spec.yaml or config.json"
            )
        rows = {f"rows of {key}": len(tensor) for key, tensor in state.items() if tensor.dim()}
        return (
            name,
            {**{str(key): _plain(value) for key, value in settings.items()}, **rows},
            InMemory(path, state),
        )
    known = ", ".join(layout.model_type for layout in layouts.values())
    raise CheckpointError(
        f"{path} is a file; give the folder that holds it and its config.json, or a file of the authors of: {known}"
    )


def _fits(layout: OriginalLayout, state: Mapping[str, Tensor]) -> bool:
    prefix = f"{layout.prefix}." if layout.prefix else ""
    wanted = slots_of(
        ["embeddings.tokens.tables.0", "blocks.0.attention.query.weight"], None, layout, prefix
    )
    return all(slot.theirs in state for slot in wanted)


def _at(content: Any, place: str) -> Any:
    """What lies at a dotted place in mappings and shells."""
    for part in place.split("."):
        inner = _plain(content)
        content = inner.get(part) if isinstance(inner, Mapping) else None
    return content


def _plain(value: Any) -> Any:
    """A shell's state (that of OmegaConf's nodes is their content), or the value itself."""
    if not isinstance(value, Shell):
        return value
    state = value.state
    if isinstance(state, Mapping):
        for inner in ("_content", "_val"):
            if inner in state:
                return _plain(state[inner])
    return state


def _state(value: Any) -> dict[str, Tensor] | None:
    """Tensors by name, without the names of wrappers."""
    if not isinstance(value, Mapping):
        return None
    tensors = {str(name): tensor for name, tensor in value.items() if isinstance(tensor, Tensor)}
    places = unwrapped_names(tensors, Path())
    return {name: tensors[raw] for name, raw in places.items()} or None

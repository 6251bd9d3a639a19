"""The authors' own files: tensors and settings in one pickle."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from engine.checkpoint.files.shells import Shell, read_shells
from engine.checkpoint.names import slots_of
from engine.checkpoint.stored import InMemory, unwrapped_names
from engine.errors import CheckpointError
from engine.spec.axes import OriginalLayout

WHOLE_MODULE = (
    "it is a whole network of the authors' code, which only that code opens: with it, save "
    "{'model': model.state_dict()} as pytorch_model.bin beside a config.json of transformers' "
    "TransfoXLConfig"
)


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
                f"{path} holds tensors of {layout.model_type} without its settings "
                f"({' or '.join(layout.settings)}): put them into pytorch_model.bin beside a "
                "spec.yaml or config.json"
            )
        rows = {f"rows of {key}": len(tensor) for key, tensor in state.items() if tensor.dim()}
        return (
            name,
            {**{str(key): _plain(value) for key, value in settings.items()}, **rows},
            InMemory(path, state),
        )
    known = ", ".join(layout.model_type for layout in layouts.values())
    raise CheckpointError(
        f"{path} is a file; give the folder that holds it and its config.json, or a file of the "
        f"authors of: {known}"
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

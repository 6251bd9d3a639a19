"""From a path or a hub id to a folder, and from a folder to its weight files."""

import os
from pathlib import Path

from engine.checkpoint.files.foreign import nothing_to_open
from engine.checkpoint.files.naming import SINGLE, SUFFIXES
from engine.checkpoint.files.reading import read_json
from engine.errors import CheckpointError, InputError
from tokenization.files.paths import as_path
from tokenization.files.staging import is_plain

DOWNLOADED = ["*.json", "*.safetensors", "*.bin", "*.model", "*.txt", "spec.yaml"]


def resolve_folder(source: str | os.PathLike[str], revision: str | None = None) -> Path:
    """A local folder or authors' file, or the snapshot of a hub id (raises CheckpointError where
    neither can be had).
    """
    path = as_path("source", source, InputError)
    if path.is_dir():
        return path
    if path.is_file():
        if path.suffix in SUFFIXES:
            return path
        raise CheckpointError(
            f"{path} is a file; give the folder that holds it and its config.json"
        )
    text = str(source)
    if text.startswith((".", "/", "~")) or text.count("/") > 1:
        raise CheckpointError(f"there is no folder {text}")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(text, revision=revision, allow_patterns=DOWNLOADED))
    except Exception as error:  # whatever the hub's client and its transport raise
        raise CheckpointError(
            f"'{text}' is no folder here, and the hub did not give it: {error}"
        ) from None


def weight_files(folder: Path) -> list[Path]:
    """The files that hold a folder's tensors (raises CheckpointError where one is missing)."""
    for single in SINGLE:
        if (folder / single).is_file():
            return [folder / single]
        index = folder / f"{single}.index.json"
        if index.is_file():
            return _shards(index)
    raise nothing_to_open(
        folder, f"holds no weights: expected {' or '.join(SINGLE)}, or an index of shards"
    )


def _shards(index: Path) -> list[Path]:
    """The files that an index of shards names."""
    places = read_json(index).get("weight_map")
    if not isinstance(places, dict) or not places:
        raise CheckpointError(f"{index} is damaged: it has no weight_map")
    for name in places.values():
        if not is_plain(name):
            raise CheckpointError(f"{index}: {name!r} is no name of a file beside it")
    files = [index.parent / name for name in sorted(set(places.values()))]
    missing = ", ".join(file.name for file in files if not file.is_file())
    if missing:
        raise CheckpointError(f"{index.parent} lacks shards that its index names: {missing}")
    return files

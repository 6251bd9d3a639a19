"""A new save in the place of the last one: the moves between the two, in an order that no reader
can misread.
"""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from safetensors import SafetensorError, safe_open

from engine.checkpoint.files.naming import DESCRIPTIONS, INDEX, SINGLE, is_shard
from engine.checkpoint.files.reading import read_json, reason
from engine.checkpoint.files.sharding import digest, write_index
from engine.errors import CheckpointError
from tokenization.files import staging


@contextlib.contextmanager
def staged(folder: Path) -> Iterator[Path]:
    """A hidden folder whose files take the places of the last save's in `folder` when the block
    ends well, or vanish.

    Only files that a save of ours wrote go, as its own weights say. Raises CheckpointError where
    the folder cannot be written, with what it held unchanged.
    """
    try:
        with staging.staged(folder, _moves) as stage:
            yield stage
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"{folder} cannot be written: {reason(error)}; what it held is as it was"
        ) from error


class _LastSave(NamedTuple):
    """What a folder holds of an earlier save of ours."""

    sharded: bool
    """Whether its weights lie in shards."""
    digests: dict[str, str]
    """Of the descriptions that it wrote, by name."""
    shards: list[str]


def _moves(stage: Path, folder: Path) -> list[staging.Step]:
    """The moves of a save: shards, then the one file by which all others are found, then what
    describes them.
    """
    last = _last_save(folder)
    new = _freely_named(stage, folder)
    steps = _old_descriptions(stage, folder, last)
    pointer, other = INDEX, SINGLE[0]
    if SINGLE[0] in new:
        pointer, other = SINGLE[0], INDEX
    steps += [("put", name) for name in new if name not in (pointer, *DESCRIPTIONS)]
    steps.append(("put", pointer))
    # A single file goes as soon as there are shards; an index only where a save of ours wrote it.
    if pointer == INDEX or last.sharded:
        steps.append(("remove", other))
    steps += [("put", name) for name in new if name in DESCRIPTIONS]
    return steps + [("remove", name) for name in last.shards if name not in new]


def _old_descriptions(stage: Path, folder: Path, last: _LastSave) -> list[staging.Step]:
    """What becomes of the descriptions in the folder before new weights come.

    Transformers reads config.json first: while another one waits for its weights there is none, and
    that is an error there, not a mixture.
    """
    steps: list[staging.Step] = []
    for name in DESCRIPTIONS:
        if not (folder / name).is_file():
            continue
        content = (folder / name).read_bytes()
        if (stage / name).is_file():
            if content != (stage / name).read_bytes():
                steps.append(("hide", name))
        elif last.digests.get(name) == digest(content):
            steps.insert(0, ("remove", name))
        elif name == "spec.yaml":
            raise CheckpointError(
                f"{folder} holds a spec.yaml that no save wrote, or that was changed since, and "
                "that load_model would read in place of config.json: move it away, or save to "
                "another folder"
            )
    return steps


def _freely_named(stage: Path, folder: Path) -> list[str]:
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
        write_index(stage / INDEX, content)
    return sorted(path.name for path in stage.iterdir())


def _last_save(folder: Path) -> _LastSave:
    """What an earlier save of ours says in the metadata of its weights, or of their index."""
    digests: dict[str, str] = {}
    # A damaged file is none of ours.
    with contextlib.suppress(Exception), safe_open(folder / SINGLE[0], framework="pt") as file:
        digests = file.metadata() or {}
    owned = {name: text for name, text in digests.items() if name in DESCRIPTIONS}
    try:
        content = read_json(folder / INDEX)
        said, files = content["metadata"], set(content["weight_map"].values())
        ours = {name: said[name] for name in DESCRIPTIONS if name in said}
    except (CheckpointError, KeyError, TypeError, AttributeError):
        return _LastSave(False, owned, [])
    if not ours:
        return _LastSave(False, owned, [])
    shards = sorted(name for name in files if is_shard(name))
    return _LastSave(True, {**owned, **ours}, shards)

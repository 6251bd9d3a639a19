"""Descriptions in a checkpoint folder, and errors that name the file for what is wrong in it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError
from safetensors import SafetensorError

from engine.checkpoint.files.foreign import refuse_pointer
from engine.checkpoint.files.naming import WATCHED
from engine.errors import CheckpointError, InputError, SpecError
from tokenization.files import staging
from tokenization.files.unwritable import unwritable

T = TypeVar("T")

LARGEST_TEXT = 2**26
# What readers of broken data raise: a bug of ours among them would be reported as damage of the
# file, so these are few.
DAMAGE = (
    RecursionError,
    UnicodeError,
    OverflowError,
    MemoryError,
    ValidationError,
    SafetensorError,
)


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
    for _, wrong in unwritable(data):
        raise CheckpointError(f"{path} is damaged: {wrong}")
    return data


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
        raise CheckpointError(f"{where} cannot be read: {reason(error)}") from None
    except DAMAGE as error:
        raise CheckpointError(
            f"{folder} is damaged, or holds what no network has: {reason(error)}"
        ) from error


def reason(error: BaseException) -> str:
    """What went wrong, in one line."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    lines = str(error).strip().splitlines()
    return ": ".join([type(error).__name__, *lines[:1]])


def first_line(error: BaseException) -> str:
    """The first line of what another library says, or the kind of its error."""
    return (str(error).splitlines() or [type(error).__name__])[0]

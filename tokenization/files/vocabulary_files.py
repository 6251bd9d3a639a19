"""Reading vocabulary files, with errors that name the file."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tokenization.errors import TokenizationError, VocabularyError
from tokenization.options import explain_options

_LARGEST = 2**30


def read_file(path: Path) -> bytes:
    """The content of a file; raises VocabularyError where it is missing or empty."""
    if not path.is_file():
        holds = "there is no such directory"
        if path.parent.is_dir():
            there = ", ".join(sorted(entry.name for entry in path.parent.iterdir()))
            holds = f"the directory holds {there or 'nothing'}"
        raise VocabularyError(f"{path}: there is no such file; {holds}")
    if path.stat().st_size > _LARGEST:
        raise VocabularyError(f"{path}: larger than any vocabulary")
    content = path.read_bytes()
    if not content:
        raise VocabularyError(f"{path}: the file is empty")
    return content


def read_text(path: Path) -> str:
    """The content of a text file in UTF-8, its line ends kept as they are; raises VocabularyError
    if it is none.
    """
    try:
        return read_file(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise VocabularyError(f"{path}: not text in UTF-8 (byte {error.start})") from None


def read_mapping(path: Path) -> dict[str, Any]:
    """The one object in a JSON file; raises VocabularyError where it is cut short or holds
    something else.
    """
    try:
        content = json.loads(read_text(path))
    except VocabularyError:
        raise
    except (ValueError, RecursionError) as error:
        raise VocabularyError(f"{path}: not JSON, or cut short ({error})") from None
    if not isinstance(content, dict):
        raise VocabularyError(f"{path}: must be one JSON object")
    return content


@contextlib.contextmanager
def boundary(where: object) -> Iterator[None]:
    """An exception of a library that reads a damaged file becomes a VocabularyError that names the
    file.

    The panics of libraries in Rust are among it, which no `except Exception` sees.
    """
    try:
        yield
    except (TokenizationError, ImportError, OSError):
        raise
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        if isinstance(error, ValidationError):
            raise VocabularyError(f"{where}: {'; '.join(explain_options(error))}") from None
        text = str(error).strip().splitlines() or [""]
        raise VocabularyError(
            f"{where}: damaged, or not what its name says ({type(error).__name__}: {text[0]})"
        ) from None

"""Paths that callers name."""

from pathlib import Path
from typing import Any


def as_path(name: str, given: Any, error: type[ValueError]) -> Path:
    """The path that an argument names; raises `error` for what names none."""
    try:
        path = Path(given)
    except TypeError:
        raise error(f"{name} is a {type(given).__name__}, expected a path") from None
    if "\0" in str(path):
        raise error(f"{name} is {str(path)!r}, which no file is called")
    return path

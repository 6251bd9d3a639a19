"""Reading vocabulary files, with errors for people."""

from pathlib import Path

from tokenization.errors import VocabularyError


def read_file(path: Path) -> bytes:
    """The content of a file; raises VocabularyError where it is missing or empty."""
    if not path.is_file():
        there = ", ".join(sorted(entry.name for entry in path.parent.iterdir())) if path.parent.is_dir() else ""
        holds = f"the directory holds {there or 'nothing'}" if path.parent.is_dir() else "there is no such directory"
        raise VocabularyError(f"{path}: there is no such file; {holds}")
    content = path.read_bytes()
    if not content:
        raise VocabularyError(f"{path}: the file is empty")
    return content


def read_text(path: Path) -> str:
    """The content of a text file in UTF-8, its line ends kept as they are; raises VocabularyError if it is none."""
    try:
        return read_file(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise VocabularyError(f"{path}: not text in UTF-8 (byte {error.start})") from None

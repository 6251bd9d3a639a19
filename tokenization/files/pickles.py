"""Reading published word lists out of pickles (`vocab.pkl`, `vocab.bin`) without running anything
that they name.

A pickle may name any function and have it called. This reader looks nothing up: the few plain
containers are built here, classes of the packages that wrote such files become empty shells, and
any other name ends the reading.
"""

import io
import mmap
import pickle
import pickletools
import zipfile
from collections import Counter, OrderedDict
from pathlib import Path
from typing import Any

from tokenization.errors import VocabularyError
from tokenization.files.vocabulary_files import read_file

_CONTAINERS: dict[tuple[str, str], type] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("collections", "Counter"): Counter,
    ("builtins", "set"): set,
    ("builtins", "frozenset"): frozenset,
}
_LARGEST = 2**28
# What transformers and the authors' code left in such files beside the words.
_SHELL_PACKAGES = (
    "transformers",
    "sacremoses",
    "tokenizers",
    "torch",
    "vocabulary",
    "re",
    "copyreg",
    "regex",
)


class _Shell:
    """Stands for an object of any class: takes whatever it is given and does nothing."""

    def __new__(cls, *arguments: Any, **named: Any) -> "_Shell":
        return super().__new__(cls)

    def __init__(self, *arguments: Any, **named: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def append(self, value: Any) -> None:
        pass

    def extend(self, values: Any) -> None:
        pass


class _PlainReader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> type:
        found = _CONTAINERS.get((module, name))
        if found is not None:
            return found
        if module.partition(".")[0] in _SHELL_PACKAGES:
            return _Shell
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no word list needs")

    def persistent_load(self, pid: Any) -> Any:
        return _Shell()


def read_pickled_words(path: Path) -> list[str]:
    """The words of a published vocabulary in the order of their ids.

    Reads what `pickle` wrote and what `torch.save` wrote, in both of its layouts. Raises
    VocabularyError where the file is cut short, names anything but plain containers, or holds no
    words; nothing in it is ever run.
    """
    content = read_file(path)
    try:
        for value in _values(content):
            words = _find_words(value)
            if words is not None:
                return words
    except Exception as error:  # whatever a broken file raises in the reader
        raise VocabularyError(
            f"{path}: not a word list, or cut short: {error or 'it ends too early'}"
        ) from None
    raise VocabularyError(f"{path}: holds no list of words (idx2sym)")


_FORMS = {
    ord(opcode.code): (opcode.name, opcode.arg.n if opcode.arg else 0)
    for opcode in pickletools.opcodes
}
_LENGTHS = {
    pickletools.TAKEN_FROM_ARGUMENT1: 1,
    pickletools.TAKEN_FROM_ARGUMENT4: 4,
    pickletools.TAKEN_FROM_ARGUMENT4U: 4,
    pickletools.TAKEN_FROM_ARGUMENT8U: 8,
}
_MOST_TUPLES = 10_000


def check_pickle(
    content: bytes | mmap.mmap, start: int = 0, most_tuples: int = _MOST_TUPLES
) -> int:
    """Where a pickle that starts at `start` ends; raises UnpicklingError for one that asks for more
    memory than its own length, or nests tuples without end.

    The reader in C makes room for a memo's number, whatever it is, and hashes nested tuples down
    the stack of the process.
    """
    place, tuples = start, 0
    while True:
        if place >= len(content):
            raise pickle.UnpicklingError("it ends too early")
        name, size = _FORMS.get(content[place], ("", 0))
        place += 1
        if name in ("LONG_BINPUT", "PUT"):
            _check_number(content, place, name)
        elif name.startswith("TUPLE"):
            tuples += 1
            if tuples > most_tuples:
                raise pickle.UnpicklingError(
                    f"it holds more than {most_tuples} tuples, which no such file does"
                )
        elif name == "STOP":
            return place
        elif not name:
            raise pickle.UnpicklingError(f"byte {place - 1} has no meaning")
        place = _behind(content, place, name, size)


def _check_number(content: bytes | mmap.mmap, place: int, name: str) -> None:
    """Raise UnpicklingError for a memo's number that is larger than the file."""
    if name == "LONG_BINPUT":
        number = int.from_bytes(content[place : place + 4], "little")
    else:
        line = content[place : content.find(b"\n", place)]
        number = int(line[:20] or b"0")
    if number > len(content):
        raise pickle.UnpicklingError(f"it numbers an object {number}, of fewer bytes")


def _behind(content: bytes | mmap.mmap, place: int, name: str, size: int) -> int:
    """Where an operation that begins at `place`, behind its name, ends."""
    if size == pickletools.UP_TO_NEWLINE:
        lines = 2 if name in ("GLOBAL", "INST") else 1
        for _ in range(lines):
            place = content.find(b"\n", place) + 1
            if not place:
                raise pickle.UnpicklingError("it ends too early")
        return place
    if size < 0:
        wide = _LENGTHS[size]
        length = int.from_bytes(content[place : place + wide], "little")
        return place + wide + length
    return place + size


def _load(content: bytes, stream: io.BytesIO) -> Any:
    check_pickle(content, stream.tell())
    return _PlainReader(stream).load()


def _values(content: bytes) -> list[Any]:
    """The objects of a pickle; torch's older layout puts several one after another, its newer one
    makes an archive.
    """
    if content.startswith(b"PK"):
        try:
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                name = next(name for name in archive.namelist() if name.endswith("data.pkl"))
                if archive.getinfo(name).file_size > min(_LARGEST, 1000 * len(content)):
                    raise pickle.UnpicklingError("what it holds is larger than any word list")
                inner = archive.read(name)
                return [_load(inner, io.BytesIO(inner))]
        except (zipfile.BadZipFile, StopIteration):
            raise pickle.UnpicklingError("it is a broken archive") from None
    stream = io.BytesIO(content)
    values = [_load(content, stream)]
    while (
        isinstance(values[0], int)
        and stream.tell() < len(content)
        and not isinstance(values[-1], OrderedDict)
    ):
        values.append(_load(content, stream))
        if _find_words(values[-1]) is not None:
            break
    return values


def _find_words(value: Any) -> list[str] | None:
    if isinstance(value, _Shell):
        value = vars(value).get("state")
    if not isinstance(value, dict):
        return None
    words = value.get("idx2sym")
    if isinstance(words, list) and words and all(isinstance(word, str) for word in words):
        return words
    return None

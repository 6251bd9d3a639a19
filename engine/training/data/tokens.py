"""Texts as tokens: made once, kept in a memory-mapped Arrow file whose name is a hash of what it
depends on.
"""

import json
import time
from bisect import bisect_right
from collections.abc import Sequence
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.errors import InputError, nearest
from engine.training.data.encode import (
    PURPOSE,
    SECOND,
    SPECIAL,
    TEXT_ROLES,
    WORD,
    Encode,
    write_tokens,
)
from engine.training.data.key import content_key
from engine.training.data.rows import Integers
from tokenization import Tokenizer
from tokenization.extras import import_extra
from tokenization.files.staging import write_whole

STALE = 24 * 3600.0  # seconds


class Part(NamedTuple):
    """Some tokens of a text as they are stored; types and languages may be empty."""

    ids: NDArray[np.int32]
    marks: NDArray[np.uint8]
    token_types: NDArray[np.int32]
    languages: NDArray[np.int32]


def decoded(parts: Sequence[Part]) -> dict[str, Any]:
    """The arrays of parts that follow each other, as rows have them."""
    ids, marks, types, languages = parts[0]
    if len(parts) > 1:
        ids, marks, types, languages = (np.concatenate(column) for column in zip(*parts))
    return {
        "ids": ids.astype(np.int64),
        "special": (marks & SPECIAL) > 0,
        "words": (marks & WORD) > 0,
        "second": (marks & SECOND) > 0,
        "token_types": _known(types, len(ids)),
        "languages": _known(languages, len(ids)),
    }


def _known(values: NDArray[Any], length: int) -> Integers | None:
    """Values of all tokens; None where a part has none."""
    if len(values) != length:
        return None
    return values.astype(np.int64)


class Tokens:
    """Encoded texts in a memory-mapped file; `texts` is the table that they were made of.

    `lengths` (texts) counts the tokens of each, `specials` and `seconds` those of them that are
    special tokens and those of a second text. `key` is the hash that names the file.
    """

    def __init__(self, path: Path, key: str, texts: Any) -> None:
        arrow = import_extra("pyarrow", "train", PURPOSE)
        self.path, self.key, self.texts = path, key, texts
        self._table = arrow.ipc.open_file(arrow.memory_map(str(path))).read_all()
        self._sources = texts.data.column("source")
        self._chosen = getattr(texts, "_indices", None)
        ids = self._table.column("ids")
        self._starts = list(accumulate((len(chunk) for chunk in ids.chunks), initial=0))
        self._chunks = [
            [_flat(chunk) for chunk in self._table.column(name).chunks] for name in Part._fields
        ]
        self.lengths = self._numbers("length")
        self.specials = self._numbers("special")
        self.seconds = self._numbers("second")
        self._text = self._numbers("text")

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, number: int) -> dict[str, Any]:
        """`ids`, `special`, `words`, `second` (a second text's), `token_types` and `languages`
        (None where there are none) of one text, all of its length, and its `source`.
        """
        if not 0 <= number < len(self):
            raise IndexError(f"{number} is outside 0 … {len(self) - 1}")
        return {**decoded([self.part(number)]), "source": self.source(number)}

    def part(self, number: int, start: int = 0, stop: int | None = None) -> "Part":
        """Tokens start … stop - 1 of one text, as they are stored."""
        chunk = bisect_right(self._starts, number) - 1
        place = number - self._starts[chunk]
        columns = (_part(column[chunk], place, start, stop) for column in self._chunks)
        return Part(*columns)

    def source(self, number: int) -> str:
        """File and line of one text."""
        text = int(self._text[number])
        if self._chosen is not None:
            text = int(self._chosen.column(0)[text].as_py())
        return str(self._sources[text].as_py())

    def fields(self, number: int) -> dict[str, object]:
        """What a task reads beside the tokens: columns of the text, and what its encoding added."""
        if not self._has_fields:
            return {}
        columns = self.texts[int(self._text[number])]
        beside = {name: value for name, value in columns.items() if name not in TEXT_ROLES}
        beside.pop("source", None)
        added = self._table.column("fields")[number].as_py() or "{}"
        return {**beside, **json.loads(added)}

    @cached_property
    def language_names(self) -> tuple[str | None, ...]:
        """The languages of the texts, in order of first appearance."""
        return tuple(self._by_language[0])

    @cached_property
    def language_numbers(self) -> Integers:
        """The place of each text's language in `language_names`."""
        return self._by_language[1]

    @cached_property
    def _by_language(self) -> tuple[list[str | None], Integers]:
        whole = self._table.column("language").combine_chunks()
        coded = whole.dictionary_encode(null_encoding="encode")
        names = coded.dictionary.to_pylist()
        return names, coded.indices.to_numpy(zero_copy_only=False).astype(np.int64)

    @cached_property
    def _has_fields(self) -> bool:
        beside = set(self.texts.column_names) - {*TEXT_ROLES, "source"}
        return bool(beside) or self._table.column("fields").null_count < len(self)

    def _numbers(self, name: str) -> Integers:
        return self._table.column(name).to_numpy().astype(np.int64)

    def counts(self, vocab: int) -> Integers:
        """How often each id below `vocab` occurs, special tokens included."""
        found = np.zeros(vocab, np.int64)
        for values, _ in self._chunks[0]:
            found += np.bincount(values, minlength=vocab)
        return found


def tokenise(
    texts: Any, tokenizer: Tokenizer, *, cache: Path, encode: Encode | None = None
) -> Tokens:
    """The tokens of all texts, read from the `cache` folder where they were made before.

    `encode` makes the entry of one record: a mapping with `input_ids` and what else a tokenizer's
    call gives (`special_tokens_mask`, `token_type_ids`, `langs`, `sequence_ids`, `words`: where a
    word begins); anything else is kept as a field of the row. It may return a list of entries.
    Without it a record is its `text`, and its `pair` where there is one. Raises InputError for a
    record without text and for a folder that cannot be written.
    """
    if encode is None:
        _check_columns(texts)
    key = content_key(texts, tokenizer, encode)
    path = cache / f"tokens-{key}.arrow"
    arrow = import_extra("pyarrow", "train", PURPOSE)
    if path.is_file():
        try:
            return Tokens(path, key, texts)
        except (arrow.ArrowInvalid, KeyError, OSError):
            pass  # damaged: made anew below, in its place
    try:
        cache.mkdir(parents=True, exist_ok=True)
        _clear(cache)
        write_whole(path, lambda place: write_tokens(place, texts, tokenizer, encode))
    except OSError as error:
        raise InputError(f"{cache}: tokens cannot be kept there: {error}") from error
    return Tokens(path, key, texts)


def _check_columns(texts: Any) -> None:
    if "text" not in texts.column_names:
        columns = [name for name in texts.column_names if name not in ("source", "language")]
        hint = nearest("text", columns)
        raise InputError(f"no column 'text'{hint}; say which one it is: fields: {{text: …}}")


def _clear(cache: Path) -> None:
    """Remove what runs that ended while they wrote have left."""
    for path in cache.glob(".tokens-*"):
        if time.time() - path.stat().st_mtime > STALE:
            path.unlink(missing_ok=True)


def _flat(chunk: Any) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """The values of a column of lists one after the other, and where each list begins."""
    return chunk.values.to_numpy(), chunk.offsets.to_numpy()


def _part(
    flat: tuple[NDArray[Any], NDArray[np.int64]], place: int, start: int, stop: int | None
) -> NDArray[Any]:
    values, offsets = flat
    first, end = int(offsets[place]), int(offsets[place + 1])
    if stop is not None:
        end = min(first + stop, end)
    return values[first + start : end]

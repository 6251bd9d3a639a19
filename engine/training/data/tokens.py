"""Texts as tokens: made once, kept in a memory-mapped Arrow file whose name is a hash of what it
depends on.
"""

import hashlib
import json
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.errors import InputError, nearest
from engine.training.data.rows import Flags, Integers
from tokenization import Tokenizer
from tokenization.extras import import_extra
from tokenization.files.staging import write_whole
from tokenization.saving import resolved_section

Encode = Callable[[dict[str, Any]], Any]
VERSION = 1
TOGETHER = 1_000
STALE = 24 * 3600.0
SPECIAL, WORD, SECOND = 1, 2, 4
PURPOSE = "Keeping tokens"
TEXT_ROLES = ("text", "pair", "language", "pair_language")


class Part(NamedTuple):
    """Some tokens of a text as they are stored; types and languages may be empty."""

    ids: NDArray[np.int32]
    marks: NDArray[np.uint8]
    token_types: NDArray[np.int32]
    languages: NDArray[np.int32]


def decoded(parts: Sequence[Part]) -> dict[str, Any]:
    """The arrays of parts that follow each other, as rows have them."""
    ids, marks, types, languages = (np.concatenate(column) for column in zip(*parts))
    return {
        "ids": ids.astype(np.int64),
        "special": (marks & SPECIAL) > 0,
        "words": (marks & WORD) > 0,
        "second": (marks & SECOND) > 0,
        "token_types": types.astype(np.int64) if len(types) == len(ids) else None,
        "languages": languages.astype(np.int64) if len(languages) == len(ids) else None,
    }


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
        chosen = getattr(texts, "_indices", None)
        self._chosen = None if chosen is None else chosen.column(0)
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
            text = int(self._chosen[text].as_py())
        return str(self._sources[text].as_py())

    def fields(self, number: int) -> dict[str, object]:
        """What a task reads beside the tokens: columns of the text, and what its encoding added."""
        if not self._has_fields:
            return {}
        columns = self.texts[int(self._text[number])]
        beside = {name: value for name, value in columns.items() if name not in TEXT_ROLES}
        added = self._table.column("fields")[number].as_py()
        beside.pop("source", None)
        return {**beside, **(json.loads(added) if added else {})}

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
        coded = self._table.column("language").dictionary_encode(null_encoding="encode")
        coded = coded.unify_dictionaries().combine_chunks()
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
        write_whole(path, lambda place: _write(place, texts, tokenizer, encode))
    except OSError as error:
        raise InputError(f"{cache}: tokens cannot be kept there: {error}") from error
    return Tokens(path, key, texts)


def content_key(texts: Any, tokenizer: Tokenizer, encode: Encode | None = None) -> str:
    """A hash of all that tokens depend on: the texts, not where they lie; the tokenizer's files and
    options; how records are encoded (an attribute `key` of `encode`, or what it is made of).
    """
    found = hashlib.blake2b(digest_size=12)
    described = {
        "version": VERSION,
        "options": resolved_section(tokenizer.options),
        "files": {
            name: hashlib.blake2b(content).hexdigest()
            for name, content in sorted(tokenizer.algorithm.files().items())
        },
        "encode": _described(encode),
    }
    found.update(json.dumps(described, sort_keys=True).encode())
    names = sorted(set(texts.column_names) - {"source"})
    if encode is None:
        names = [name for name in names if name in TEXT_ROLES]
    by_column = {name: hashlib.blake2b() for name in names}
    for table in texts.select_columns(names).with_format("arrow").iter(TOGETHER):
        for name in names:
            _update(by_column[name], table.column(name))
    for name, hashed in by_column.items():
        found.update(name.encode() + hashed.digest())
    return found.hexdigest()


def _described(encode: Encode | None) -> str:
    if encode is None:
        return ""
    key = getattr(encode, "key", None) or getattr(getattr(encode, "__self__", None), "key", None)
    if isinstance(key, str):
        return key
    fingerprint = import_extra("datasets.fingerprint", "train", PURPOSE)
    return str(fingerprint.Hasher.hash(encode))


def _update(hashed: Any, column: Any) -> None:
    """Add the values of a column, whatever its chunks are; lengths keep texts apart."""
    values = column.to_pylist()
    if not all(value is None or isinstance(value, str) for value in values):
        values = [json.dumps(value, sort_keys=True, default=str) for value in values]
    encoded = [None if value is None else value.encode("utf-8") for value in values]
    lengths = [-1 if value is None else len(value) for value in encoded]
    for length, value in zip(lengths, encoded, strict=True):
        hashed.update(length.to_bytes(8, "little", signed=True))
        hashed.update(value or b"")


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


def _write(path: Path, texts: Any, tokenizer: Tokenizer, encode: Encode | None) -> None:
    arrow = import_extra("pyarrow", "train", PURPOSE)
    schema = arrow.schema(
        [
            ("ids", arrow.large_list(arrow.int32())),
            ("marks", arrow.large_list(arrow.uint8())),
            ("token_types", arrow.large_list(arrow.int32())),
            ("languages", arrow.large_list(arrow.int32())),
            ("length", arrow.int64()),
            ("special", arrow.int64()),
            ("second", arrow.int64()),
            ("text", arrow.int64()),
            ("language", arrow.string()),
            ("fields", arrow.string()),
        ]
    )
    encoder = Encoder(tokenizer, encode)
    with arrow.OSFile(str(path), "wb") as file, arrow.ipc.new_file(file, schema) as writer:
        for start, batch in _with_progress(texts):
            entries = list(encoder.entries(batch, start))
            if entries:
                writer.write_batch(arrow.RecordBatch.from_pylist(entries, schema))


def _with_progress(texts: Any) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """Records in batches, with a bar where someone watches a terminal."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(
        console=(console := Console(stderr=True)), disable=not console.is_terminal
    ) as bar:
        task = bar.add_task("tokens", total=len(texts))
        start = 0
        for table in texts.with_format("arrow").iter(TOGETHER):
            batch = table.to_pylist()
            yield start, batch
            start += len(batch)
            bar.update(task, completed=start)


class Encoder:
    """Makes the entries of the token file out of records."""

    def __init__(self, tokenizer: Tokenizer, encode: Encode | None) -> None:
        self._tokenizer, self._encode = tokenizer, encode
        options = tokenizer.options
        self._takes_language = bool(options.languages) or options.default_language is not None
        self._begins = _beginnings(tokenizer)

    def entries(self, batch: list[dict[str, Any]], start: int) -> Iterator[dict[str, Any]]:
        """The entries of a batch whose first record has number `start`."""
        if self._encode is None:
            for place, entry in enumerate(self._plain(batch)):
                yield self._entry(entry, batch[place], start + place)
            return
        for place, record in enumerate(batch):
            made: Any = self._encode(record)
            if isinstance(made, Mapping):
                made = [made]
            for entry in made:
                yield self._entry(entry, record, start + place)

    def _plain(self, batch: list[dict[str, Any]]) -> list[dict[str, Any]]:
        for record in batch:
            for role in ("text", "pair"):
                value = record.get(role)
                if role in record and not isinstance(value, str):
                    kind = type(value).__name__
                    raise InputError(f"{record['source']}: {role} is a {kind}, expected a text")
        paired = bool(batch) and "pair" in batch[0]
        settings: dict[str, Any] = {"return_offsets_mapping": self._begins is None}
        if self._takes_language:
            settings["lang"] = [_languages(record, paired) for record in batch]
        encoded = self._tokenizer(
            [record["text"] for record in batch],
            [record["pair"] for record in batch] if paired else None,
            return_special_tokens_mask=True,
            return_sequence_ids=paired,
            truncation=False,
            **settings,
        )
        entries = [dict(zip(encoded, values)) for values in zip(*encoded.values())]
        for entry, record in zip(entries, batch, strict=True):
            entry.pop("attention_mask", None)
            offsets = entry.pop("offset_mapping", None)
            if offsets is not None:
                entry["words"] = _starts(offsets, entry, record)
        return entries

    def _entry(
        self, entry: Mapping[str, Any], record: Mapping[str, Any], number: int
    ) -> dict[str, Any]:
        """One row of the token file."""
        ids = np.asarray(entry["input_ids"], np.int32)
        if not len(ids):
            raise InputError(f"{record.get('source')}: the text has no tokens")
        special = entry.get("special_tokens_mask")
        special = np.zeros(len(ids), bool) if special is None else np.asarray(special, bool)
        words = entry.get("words")
        if words is None:
            words = ~special if self._begins is None else self._begins[ids] & ~special
            words = words | (~special & np.concatenate(([True], special[:-1])))
        sequences = entry.get("sequence_ids")
        second = np.zeros(len(ids), bool) if sequences is None else np.asarray(sequences) == 1
        known = {"input_ids", "special_tokens_mask", "words", "sequence_ids", "token_type_ids"}
        known |= {"langs", "attention_mask"}
        added = {name: value for name, value in entry.items() if name not in known}
        return {
            "ids": ids,
            "marks": _marks(special, np.asarray(words, bool), second),
            "token_types": entry.get("token_type_ids"),
            "languages": entry.get("langs"),
            "length": len(ids),
            "special": int(special.sum()),
            "second": int(second.sum()),
            "text": number,
            "language": record.get("language"),
            "fields": json.dumps(added, default=_plain_value) if added else None,
        }


def _marks(special: Flags, words: Flags, second: Flags) -> NDArray[np.uint8]:
    return (special * SPECIAL + words * WORD + second * SECOND).astype(np.uint8)


def _plain_value(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else str(value)


def _languages(record: Mapping[str, Any], paired: bool) -> Any:
    language = record.get("language")
    return (language, record.get("pair_language") or language) if paired else language


def _beginnings(tokenizer: Tokenizer) -> Flags | None:
    """(v): whether a word begins with a token, where tokens themselves say so (None: they do not).

    A piece that begins a word carries the mark of the white space before it.
    """
    if getattr(tokenizer.options, "algorithm", None) != "sentencepiece":
        return None
    vocabulary = tokenizer.get_vocab()
    begins = np.zeros(max(vocabulary.values()) + 1, bool)
    begins[[index for token, index in vocabulary.items() if token.startswith("▁")]] = True
    return begins


def _starts(
    offsets: list[tuple[int, int]], entry: Mapping[str, Any], record: Mapping[str, Any]
) -> Flags:
    """Where a word begins: at the first token that stands behind white space in its text."""
    special = entry["special_tokens_mask"]
    sequences = entry.get("sequence_ids") or [0] * len(offsets)
    found = np.zeros(len(offsets), bool)
    texts = (record["text"], record.get("pair") or "")
    before = [-1, -1]
    for place, ((start, _), flag, which) in enumerate(
        zip(offsets, special, sequences, strict=True)
    ):
        if flag:
            continue
        between = texts[which][max(before[which], 0) : start]
        found[place] = before[which] < 0 or any(char.isspace() for char in between)
        before[which] = start
    return found


def _flat(chunk: Any) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """The values of a column of lists one after the other, and where each list begins."""
    return chunk.values.to_numpy(), chunk.offsets.to_numpy()


def _part(
    flat: tuple[NDArray[Any], NDArray[np.int64]], place: int, start: int, stop: int | None
) -> NDArray[Any]:
    values, offsets = flat
    first, end = int(offsets[place]), int(offsets[place + 1])
    return values[first + start : end if stop is None else min(first + stop, end)]

"""From records to the entries of a token file."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import InputError
from engine.training.data.rows import Flags
from tokenization import Tokenizer
from tokenization.extras import import_extra

Encode = Callable[[dict[str, Any]], Any]
TOGETHER = 1_000
SPECIAL, WORD, SECOND = 1, 2, 4
PURPOSE = "Keeping tokens"
TEXT_ROLES = ("text", "pair", "language", "pair_language")
# What an encoding says of its tokens; anything else is a field of the row.
OF_TOKENS = (
    "input_ids", "special_tokens_mask", "words", "sequence_ids", "token_type_ids", "langs",
    "attention_mask",
)  # fmt: skip


def write_tokens(path: Path, texts: Any, tokenizer: Tokenizer, encode: Encode | None) -> None:
    """Encode all records into an Arrow file."""
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
    """Records in batches with the number of the first, and a bar where a terminal shows it."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal) as bar:
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
            for place, encoding in enumerate(self._plain(batch)):
                yield self._entry(encoding, batch[place], start + place)
            return
        for place, record in enumerate(batch):
            made: Any = self._encode(record)
            if isinstance(made, Mapping):
                made = [made]
            for encoding in made:
                yield self._entry(encoding, record, start + place)

    def _plain(self, batch: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The encodings of texts, or of pairs of them."""
        paired = "pair" in batch[0]
        roles = ("text", "pair")[: 1 + paired]
        columns = {role: [_text(record, role) for record in batch] for role in roles}
        settings: dict[str, Any] = {}
        if self._takes_language:
            settings["lang"] = [_languages(record, paired) for record in batch]
        encoded = self._tokenizer(
            columns["text"],
            columns.get("pair"),
            return_special_tokens_mask=True,
            return_sequence_ids=paired,
            return_offsets_mapping=self._begins is None,
            truncation=False,
            **settings,
        )
        encodings = [dict(zip(encoded, values)) for values in zip(*encoded.values())]
        for encoding, record in zip(encodings, batch, strict=True):
            offsets = encoding.pop("offset_mapping", None)
            if offsets is not None:
                encoding["words"] = _starts(offsets, encoding, record)
        return encodings

    def _entry(
        self, encoding: Mapping[str, Any], record: Mapping[str, Any], number: int
    ) -> dict[str, Any]:
        """One row of the token file."""
        ids = np.asarray(encoding["input_ids"], np.int32)
        if not len(ids):
            raise InputError(f"{record.get('source')}: the text has no tokens")
        special = np.zeros(len(ids), bool)
        if "special_tokens_mask" in encoding:
            special = np.asarray(encoding["special_tokens_mask"], bool)
        second = np.zeros(len(ids), bool)
        if "sequence_ids" in encoding:
            second = np.asarray([which == 1 for which in encoding["sequence_ids"]])
        words = self._words(encoding, ids, special)
        added = {name: value for name, value in encoding.items() if name not in OF_TOKENS}
        fields = None
        if added:
            fields = json.dumps(added, default=_as_plain)
        return {
            "ids": ids,
            "marks": (special * SPECIAL + words * WORD + second * SECOND).astype(np.uint8),
            "token_types": encoding.get("token_type_ids"),
            "languages": encoding.get("langs"),
            "length": len(ids),
            "special": int(special.sum()),
            "second": int(second.sum()),
            "text": number,
            "language": record.get("language"),
            "fields": fields,
        }

    def _words(self, encoding: Mapping[str, Any], ids: NDArray[Any], special: Flags) -> Flags:
        """Where words begin; a text's first token always does."""
        if "words" in encoding:
            return np.asarray(encoding["words"], bool)
        if self._begins is None:
            return ~special
        return ~special & (self._begins[ids] | np.append(True, special[:-1]))


def _text(record: Mapping[str, Any], role: str) -> str:
    value = record[role]
    if not isinstance(value, str):
        kind = type(value).__name__
        raise InputError(f"{record['source']}: {role} is a {kind}, expected a text")
    return value


def _languages(record: Mapping[str, Any], paired: bool) -> Any:
    language = record.get("language")
    if not paired:
        return language
    return language, record.get("pair_language") or language


def _as_plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    return str(value)


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
    offsets: list[tuple[int, int]], encoding: Mapping[str, Any], record: Mapping[str, Any]
) -> Flags:
    """Where a word begins: at the first token that stands behind white space in its text."""
    special = encoding["special_tokens_mask"]
    sequences = encoding.get("sequence_ids") or [0] * len(offsets)
    texts = (record["text"], record.get("pair") or "")
    found = np.zeros(len(offsets), bool)
    before = [-1, -1]
    for place, (start, _) in enumerate(offsets):
        which = sequences[place]
        if special[place]:
            continue
        between = texts[which][max(before[which], 0) : start]
        found[place] = before[which] < 0 or any(char.isspace() for char in between)
        before[which] = start
    return found

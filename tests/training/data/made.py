"""Tokens of given lengths, whose ids count on from text to text so that each can be told apart."""

import json
from collections.abc import Sequence
from pathlib import Path
from tempfile import mkdtemp

from engine.training.data.sources import read_texts
from engine.training.data.tokens import Tokens, tokenise
from engine.training.recipe.sections import TableSource
from tokenization import Tokenizer, train_tokenizer

WORDS = {"algorithm": "words", "special_tokens": {"unk": "<unk>", "eos": "<eos>"}}
TEXTS = ["the cat sat on the mat", "a dog ran", "the dog sat", "cats and dogs ran on the mat"]


def words() -> Tokenizer:
    """A tokenizer of whole words."""
    return train_tokenizer(
        {**WORDS, "splitting": "delimiter", "reserved": ["<unk>", "<eos>"]}, TEXTS
    )


def table(rows: Sequence[object], folder: Path, name: str = "rows.jsonl") -> TableSource:
    """Records in a file of JSON lines."""
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return TableSource(kind="jsonl", files=name)


def counted(lengths: Sequence[int], languages: Sequence[str] | None = None) -> Tokens:
    """Texts of these lengths; their ids are 0, 1, 2 … over all of them."""
    folder, start, rows = Path(mkdtemp()), 0, []
    for number, length in enumerate(lengths):
        language = languages[number] if languages is not None else None
        rows.append({"start": start, "length": length, "language": language})
        start += length
    texts = read_texts((table(rows, folder),), base=folder)
    return tokenise(texts, words(), cache=folder, encode=_count)


def _count(row: dict) -> dict:
    return {"input_ids": list(range(row["start"], row["start"] + row["length"]))}

"""A saved model with its tokenizer, and texts in batches of ids."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from engine.checkpoint import load_model
from engine.cli.streams import read_lines
from engine.errors import InputError
from engine.model import Model
from tokenization import Tokenizer, load_tokenizer


@dataclass(frozen=True)
class Batch:
    """Texts with their ids: tensors (b n), padding on the right; `special` is True for special
    tokens.
    """

    texts: list[str]
    ids: Tensor
    mask: Tensor | None
    special: Tensor
    langs: Tensor | None


def open_both(source: str) -> tuple[Model, Tokenizer]:
    """The model in a folder, or of a hub id, and its tokenizer."""
    return load_model(source).prepare_for_inference(), load_tokenizer(source)


def lines(given: list[str] | None, file: Path | None) -> Iterator[str]:
    """Texts from the command line, from the lines of a file, or from those of standard input; empty
    lines are skipped.

    Raises InputError where no text is left.
    """
    if given and file:
        raise InputError("texts come from the command line or from --file, not from both")
    found = False
    for text in given or read_lines(file):
        if text.strip() or given:
            found = True
            yield text
    if not found:
        raise InputError(
            f"{file or 'standard input'} holds no text: give texts behind the model's name, or lines of text"
        )


def batches(
    model: Model,
    tokenizer: Tokenizer,
    texts: Iterable[str],
    lang: str | None,
    size: int,
    open_end: bool = False,
) -> Iterator[Batch]:
    """Texts as ids, `size` at a time; an `open_end` leaves out the special tokens that close a
    text.
    """
    source = iter(texts)
    while chosen := list(islice(source, size)):
        yield _batch(model, tokenizer, chosen, lang, open_end)


def _batch(
    model: Model, tokenizer: Tokenizer, texts: list[str], lang: str | None, open_end: bool
) -> Batch:
    languages = model.spec.embeddings.tables.languages
    wants_langs = languages is not None and languages.embed and languages.count > 1
    encoded = tokenizer(texts, lang=lang, return_special_tokens_mask=True)
    rows: list[list[int]] = [list(row) for row in encoded.input_ids]
    special: list[list[int]] = [list(row) for row in encoded.special_tokens_mask]
    if open_end:
        lengths = [
            max((at + 1 for at, flag in enumerate(flags) if not flag), default=None)
            for flags in special
        ]
        rows = [
            row if length is None else row[:length]
            for row, length in zip(rows, lengths, strict=True)
        ]
        special = [flags[: len(row)] for row, flags in zip(rows, special, strict=True)]
    for text, row in zip(texts, rows, strict=True):
        if not row:
            raise InputError(f"the text {text!r} has no tokens: give at least one word")
    longest = max(map(len, rows))
    ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
    flags = torch.tensor([row + [1] * (longest - len(row)) for row in special], dtype=torch.bool)
    langs = _langs(encoded, rows, longest) if wants_langs and lang is not None else None
    return Batch(texts, ids, None if bool(mask.all()) else mask, flags, langs)


def _langs(encoded: Any, rows: list[list[int]], longest: int) -> Tensor:
    given = [list(row)[: len(ids)] for row, ids in zip(encoded.langs, rows, strict=True)]
    return torch.tensor([row + [row[-1]] * (longest - len(row)) for row in given])


def hidden_token(model: Model, tokenizer: Tokenizer) -> int:
    """The id that hides a token (raises InputError where neither tokenizer nor spec has one)."""
    token = tokenizer.mask_token_id
    token = model.spec.tokens.mask if token is None else token
    if token is None:
        raise InputError(
            f"'{model.spec.name}' has no mask token: neither its tokenizer nor tokens.mask names one"
        )
    return int(token)

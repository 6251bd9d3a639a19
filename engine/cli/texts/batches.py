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


def open_both(source: str, device: torch.device | None = None) -> tuple[Model, Tokenizer]:
    """The model in a folder, or of a hub id, where it is to compute, and its tokenizer."""
    model = load_model(source).prepare_for_inference()
    return model.to(device or model.device), load_tokenizer(source)


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


def shared_lines(given: list[str] | None, file: Path | None, alone: bool) -> Iterator[str]:
    """`lines` that every process reads for itself; raises InputError for a source that can be read
    once only.
    """
    once = not given and (file is None or not file.is_file())
    if once and not alone:
        raise InputError(
            f"{file or 'standard input'} can be read by one process alone: give texts behind the "
            "model's name, or a plain file by --file"
        )
    return lines(given, file)


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
        yield make_batch(model, tokenizer, chosen, lang, open_end)


def make_batch(
    model: Model,
    tokenizer: Tokenizer,
    texts: list[str],
    lang: str | None,
    open_end: bool = False,
) -> Batch:
    """Texts as ids, where the model computes."""
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
    padded, langs, device = None, None, model.device
    if not bool(mask.all()):
        padded = mask.to(device)
    if wants_langs and lang is not None:
        langs = _langs(encoded, rows, longest).to(device)
    return Batch(texts, ids.to(device), padded, flags.to(device), langs)


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

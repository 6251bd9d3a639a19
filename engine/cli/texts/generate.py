"""Texts that a model continues, shown finished or as they come."""

from typing import Any

import typer

from engine.cli.streams import json_line
from engine.cli.texts.batches import Batch
from engine.model import Model
from tokenization import Tokenizer


def _arguments(batch: Batch, tokenizer: Tokenizer) -> dict[str, Any]:
    langs = None if batch.langs is None else batch.langs[:, 0]
    return {
        "input_ids": batch.ids,
        "attention_mask": batch.mask,
        "langs": langs,
        "tokenizer": tokenizer,
    }


def open_end(model: Model) -> bool:
    """Whether prompts go on where they end; an encoder reads whole texts."""
    return model.spec.encoder is None


def show_steps(model: Model, tokenizer: Tokenizer, batch: Batch, settings: dict[str, Any]) -> None:
    ids: list[int] = []
    if open_end(model):
        typer.echo(batch.texts[0], nl=False)
        ids = batch.ids[0].tolist()
    before = tokenizer.decode(ids, skip_special_tokens=True)
    for step in model.generate_tokens(**_arguments(batch, tokenizer), **settings):
        ids += step.tokens
        text = tokenizer.decode(ids, skip_special_tokens=True)
        if not text.endswith("\ufffd"):  # half a character: wait for the rest
            typer.echo(text[len(before) :], nl=False)
            before = text
    typer.echo()


def finished_lines(
    model: Model,
    tokenizer: Tokenizer,
    batch: Batch,
    settings: dict[str, Any],
    *,
    as_json: bool,
    in_file: bool,
) -> list[str]:
    """The texts of a batch, or JSON objects; `in_file` has any characters."""
    written: list[str] = []
    result: Any = model.generate(
        **_arguments(batch, tokenizer), return_dict_in_generate=True, **settings
    )
    each = settings["num_return_sequences"]
    for index, new in enumerate(result.new_tokens):
        row = index // each
        before: list[int] = []
        if open_end(model):
            kept = batch.ids[row] if batch.mask is None else batch.ids[row][batch.mask[row] > 0]
            before = kept.tolist()
        text = tokenizer.decode([*before, *new], skip_special_tokens=True)
        if as_json:
            score = {} if result.scores is None else {"score": float(result.scores[index])}
            line = {"prompt": batch.texts[row], "text": text, "new_tokens": new, **score}
            written.append(json_line(line, in_file))
        else:
            written.append(text)
    return written

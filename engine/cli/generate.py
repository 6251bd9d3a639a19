"""`engine generate`: continue texts."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from engine.cli.streams import echo_json
from engine.cli.texts import (
    Batch,
    BatchSize,
    File,
    Given,
    Json,
    Language,
    Source,
    batches,
    lines,
    open_both,
)
from engine.errors import InputError

if TYPE_CHECKING:
    from engine.model import Model
    from tokenization import Tokenizer


def generate(
    model: Source,
    prompt: Given = None,
    file: File = None,
    lang: Language = None,
    max_new_tokens: Annotated[int, typer.Option(help="New tokens at most.")] = 40,
    min_new_tokens: Annotated[int, typer.Option(help="New tokens at least.")] = 0,
    sample: Annotated[
        bool, typer.Option("--sample", help="Draw tokens instead of taking the best.")
    ] = False,
    temperature: Annotated[float | None, typer.Option(help="Below 1 sharpens the draw.")] = None,
    top_k: Annotated[int | None, typer.Option(help="Draw among the k best tokens.")] = None,
    top_p: Annotated[
        float | None, typer.Option(help="Draw among the best that hold this probability.")
    ] = None,
    min_p: Annotated[
        float | None, typer.Option(help="Leave out tokens below this share of the best one.")
    ] = None,
    typical_p: Annotated[
        float | None, typer.Option(help="Draw among the most typical of this probability.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Makes a draw repeatable.")] = None,
    repetition_penalty: Annotated[
        float, typer.Option(help="Above 1 avoids tokens that the text holds.")
    ] = 1.0,
    no_repeat_ngram_size: Annotated[
        int, typer.Option(help="No run of so many tokens stands twice.")
    ] = 0,
    num_beams: Annotated[int, typer.Option(help="Beam search with so many beams.")] = 1,
    length_penalty: Annotated[
        float | None, typer.Option(help="Above 0 favours long beams.")
    ] = None,
    num_return_sequences: Annotated[int, typer.Option(help="Texts for each prompt.")] = 1,
    stop: Annotated[
        list[str] | None, typer.Option(help="End a text behind this string; may be repeated.")
    ] = None,
    decoding: Annotated[
        str,
        typer.Option(
            help="cached; recompute: the whole text at each step; overlap: two tokens at each step."
        ),
    ] = "cached",
    stream: Annotated[bool, typer.Option("--stream", help="Show tokens as they come.")] = False,
    batch_size: BatchSize = 8,
    as_json: Json = False,
) -> None:
    """Continue each prompt, greedily unless told otherwise."""
    drawn = {
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "min_p": min_p,
        "typical_p": typical_p,
        "seed": seed,
    }
    settings: dict[str, Any] = {name: value for name, value in drawn.items() if value is not None}
    if length_penalty is not None:
        settings["length_penalty"] = length_penalty
    settings |= {
        "max_new_tokens": max_new_tokens, "min_new_tokens": min_new_tokens, "do_sample": sample, "num_beams": num_beams,
        "repetition_penalty": repetition_penalty, "no_repeat_ngram_size": no_repeat_ngram_size,
        "num_return_sequences": num_return_sequences, "stop_strings": tuple(stop or ()), "decoding": decoding,
    }  # fmt: skip
    if stream and (as_json or num_return_sequences > 1):
        raise InputError(
            "--stream shows one plain text at a time: leave out --json and --num-return-sequences"
        )
    network, tokenizer = open_both(model)
    for batch in batches(
        network, tokenizer, lines(prompt, file), lang, 1 if stream else batch_size, open_end=True
    ):
        if stream:
            _stream(network, tokenizer, batch, settings)
        else:
            _print(network, tokenizer, batch, settings, as_json)


def _arguments(batch: Batch, tokenizer: "Tokenizer") -> dict[str, Any]:
    langs = None if batch.langs is None else batch.langs[:, 0]
    return {
        "input_ids": batch.ids,
        "attention_mask": batch.mask,
        "langs": langs,
        "tokenizer": tokenizer,
    }


def _stream(model: "Model", tokenizer: "Tokenizer", batch: Batch, settings: dict[str, Any]) -> None:
    written = batch.texts[0]
    typer.echo(written, nl=False)
    ids = batch.ids[0].tolist()
    before = tokenizer.decode(ids, skip_special_tokens=True)
    for step in model.generate_tokens(**_arguments(batch, tokenizer), **settings):
        ids += step.tokens
        text = tokenizer.decode(ids, skip_special_tokens=True)
        if not text.endswith("\ufffd"):  # half a character: wait for the rest
            typer.echo(text[len(before) :], nl=False)
            before = text
    typer.echo()


def _print(
    model: "Model", tokenizer: "Tokenizer", batch: Batch, settings: dict[str, Any], as_json: bool
) -> None:
    result: Any = model.generate(
        **_arguments(batch, tokenizer), return_dict_in_generate=True, **settings
    )
    each = settings["num_return_sequences"]
    for index, new in enumerate(result.new_tokens):
        row = index // each
        kept = batch.ids[row] if batch.mask is None else batch.ids[row][batch.mask[row] > 0]
        text = tokenizer.decode([*kept.tolist(), *new], skip_special_tokens=True)
        if as_json:
            score = {} if result.scores is None else {"score": float(result.scores[index])}
            line = {"prompt": batch.texts[row], "text": text, "new_tokens": new, **score}
            echo_json(line)
        else:
            typer.echo(text)

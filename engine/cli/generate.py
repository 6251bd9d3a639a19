"""`engine generate`: continue texts."""

from typing import Annotated, Any

import typer

from engine.cli.options import BatchSize, File, Given, Json, Language, Source
from engine.errors import InputError


def generate(  # noqa: PLR0913
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
    if stream and (as_json or num_return_sequences > 1):
        raise InputError(
            "--stream shows one plain text at a time: leave out --json and --num-return-sequences"
        )
    from engine.cli.texts.batches import batches, lines, open_both
    from engine.cli.texts.generate import show_finished, show_steps

    given: dict[str, Any] = {
        "max_new_tokens": max_new_tokens, "min_new_tokens": min_new_tokens, "do_sample": sample,
        "temperature": temperature, "top_k": top_k, "top_p": top_p, "min_p": min_p,
        "typical_p": typical_p, "seed": seed, "repetition_penalty": repetition_penalty,
        "no_repeat_ngram_size": no_repeat_ngram_size, "num_beams": num_beams,
        "length_penalty": length_penalty, "num_return_sequences": num_return_sequences,
        "stop_strings": tuple(stop or ()), "decoding": decoding,
    }  # fmt: skip
    settings = {name: value for name, value in given.items() if value is not None}
    network, tokenizer = open_both(model)
    together = 1 if stream else batch_size
    for batch in batches(network, tokenizer, lines(prompt, file), lang, together, open_end=True):
        if stream:
            show_steps(network, tokenizer, batch, settings)
        else:
            show_finished(network, tokenizer, batch, settings, as_json)

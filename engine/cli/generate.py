"""`engine generate`: continue texts."""

from typing import Annotated, Any

import typer

from engine.cli.options import BatchSize, Compute, File, Given, Json, Language, Output, Source
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
    output: Output = None,
    compute: Compute = "auto",
) -> None:
    """Continue each prompt, greedily unless told otherwise; a network with an encoder answers it.

    The processes of a launcher such as torchrun share the prompts out.
    """
    from engine.cli.texts.batches import batches, make_batch, open_both, shared_lines
    from engine.cli.texts.generate import finished_lines, open_end, show_steps
    from engine.cli.texts.output import write_lines
    from engine.cli.texts.team import open_team

    lines_of_one = stream and not as_json and num_return_sequences == 1 and output is None
    given: dict[str, Any] = {
        "max_new_tokens": max_new_tokens, "min_new_tokens": min_new_tokens, "do_sample": sample,
        "temperature": temperature, "top_k": top_k, "top_p": top_p, "min_p": min_p,
        "typical_p": typical_p, "seed": seed, "repetition_penalty": repetition_penalty,
        "no_repeat_ngram_size": no_repeat_ngram_size, "num_beams": num_beams,
        "length_penalty": length_penalty, "num_return_sequences": num_return_sequences,
        "stop_strings": tuple(stop or ()), "decoding": decoding,
    }  # fmt: skip
    settings = {name: value for name, value in given.items() if value is not None}
    with open_team(compute) as team:
        if stream:
            team.together(lambda: _check_stream(lines_of_one and team.alone))
        texts = team.together(lambda: shared_lines(prompt, file, team.alone))
        network, tokenizer = team.together(lambda: open_both(model, team.processes.device))
        if stream:
            for batch in batches(network, tokenizer, texts, lang, 1, open_end=open_end(network)):
                show_steps(network, tokenizer, batch, settings)
            return
        if sample and seed is None:
            settings["seed"] = team.common_seed()

        def work(first: int, chosen: list[str]) -> list[str]:
            batch = make_batch(network, tokenizer, chosen, lang, open_end=open_end(network))
            here = {**settings, "texts_before": first * num_return_sequences}
            return finished_lines(
                network, tokenizer, batch, here, as_json=as_json, in_file=output is not None
            )

        write_lines(team, texts, batch_size, work, file=file, output=output)


def _check_stream(fits: bool) -> None:
    if not fits:
        raise InputError(
            "--stream shows one plain text at a time: leave out --json, --num-return-sequences and "
            "--output, and start one process"
        )

"""`engine score`: how probable texts are."""

from typing import Annotated, Any

import typer

from engine.cli.options import BatchSize, File, Given, Json, Language, Source
from engine.errors import InputError

METHODS = ("left_to_right", "pseudo", "orders")


def score(  # noqa: PLR0913
    model: Source,
    text: Given = None,
    file: File = None,
    lang: Language = None,
    method: Annotated[
        str | None, typer.Option(help=f"{', '.join(METHODS)}; the model's own unless given.")
    ] = None,
    samples: Annotated[
        int, typer.Option(min=1, help="How many random orders, for --method orders.")
    ] = 1,
    seed: Annotated[int, typer.Option(help="Makes random orders repeatable.")] = 0,
    window: Annotated[
        int | None, typer.Option(help="Tokens that are read at once of a long text.")
    ] = None,
    stride: Annotated[
        int | None, typer.Option(help="New tokens in each window; half of it unless given.")
    ] = None,
    special: Annotated[bool, typer.Option("--special", help="Count special tokens too.")] = False,
    tokens: Annotated[bool, typer.Option("--tokens", help="Show every token.")] = False,
    batch_size: BatchSize = 8,
    as_json: Json = False,
) -> None:
    """Show the log-likelihood (natural logarithm), token count and perplexity of each text."""
    from engine.cli.texts.batches import batches, hidden_token, lines, open_both
    from engine.cli.texts.score import show_scores

    if method is not None and method not in METHODS:
        raise InputError(f"--method is '{method}', expected one of {', '.join(METHODS)}")
    network, tokenizer = open_both(model)
    settings: dict[str, Any] = {
        "method": method, "samples": samples, "seed": seed, "window": window, "stride": stride, "batch_size": batch_size,
    }  # fmt: skip
    both_ways = "causal" not in network.spec.attention.mask and not network.spec.two_streams
    if both_ways:
        settings["mask_token_id"] = hidden_token(network, tokenizer)
    for batch in batches(network, tokenizer, lines(text, file), lang, batch_size):
        settings["targets"] = None if special else ~batch.special
        scores = network.score(batch.ids, attention_mask=batch.mask, langs=batch.langs, **settings)
        show_scores(tokenizer, batch, scores, tokens=tokens, as_json=as_json)

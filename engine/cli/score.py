"""`engine score`: how probable texts are."""

import math
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
    hidden_token,
    lines,
    open_both,
)
from engine.errors import InputError

if TYPE_CHECKING:
    from engine.model import Model
    from tokenization import Tokenizer

METHODS = ("left_to_right", "pseudo", "orders")


def score(
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
        _print(network, tokenizer, batch, settings, special, tokens, as_json)


def _print(
    model: "Model",
    tokenizer: "Tokenizer",
    batch: Batch,
    settings: dict[str, Any],
    special: bool,
    tokens: bool,
    as_json: bool,
) -> None:
    targets = None if special else ~batch.special
    scores = model.score(
        batch.ids, attention_mask=batch.mask, langs=batch.langs, targets=targets, **settings
    )
    for row, text in enumerate(batch.texts):
        counted = scores.counted[row].nonzero().squeeze(1).tolist()
        pieces = [
            str(tokenizer.convert_ids_to_tokens(int(batch.ids[row, place]))) for place in counted
        ]
        each = [float(scores.log_probs[row, place]) for place in counted]
        # A text of one token has nothing to predict it from; NaN is no JSON.
        total, perplexity = sum(each), float(scores.perplexities[row]) if each else None
        if as_json:
            shown = {"tokens": pieces, "token_log_probs": each} if tokens else {}
            line = {
                "text": text,
                "log_likelihood": total,
                "count": len(counted),
                "perplexity": perplexity,
                **shown,
            }
            echo_json(line)
            continue
        typer.echo(f"{total:.4f}\t{len(counted)}\t{perplexity or math.nan:.4f}\t{text}")
        for piece, value in zip(pieces, each, strict=True) if tokens else ():
            typer.echo(f"    {value:9.4f}  {piece}")

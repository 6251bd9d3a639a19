"""`engine score`: how probable texts are."""

from typing import Annotated, Any

import typer

from engine.cli.options import BatchSize, Compute, File, Given, Json, Language, Output, Source
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
    output: Output = None,
    compute: Compute = "auto",
) -> None:
    """Show the log-likelihood (natural logarithm), token count and perplexity of each text.

    The processes of a launcher such as torchrun share the texts out.
    """
    from engine.cli.texts.batches import hidden_token, make_batch, open_both, shared_lines
    from engine.cli.texts.output import write_lines
    from engine.cli.texts.score import score_lines
    from engine.cli.texts.team import open_team

    settings: dict[str, Any] = {
        "method": method, "samples": samples, "seed": seed, "window": window, "stride": stride, "batch_size": batch_size,
    }  # fmt: skip
    with open_team(compute) as team:
        team.together(lambda: _check_method(method))
        texts = team.together(lambda: shared_lines(text, file, team.alone))
        network, tokenizer = team.together(lambda: open_both(model, team.processes.device))
        team.together(lambda: _check_encoder(network))
        both_ways = "causal" not in network.spec.attention.mask and not network.spec.two_streams
        if both_ways:
            settings["mask_token_id"] = team.together(lambda: hidden_token(network, tokenizer))

        def work(_: int, chosen: list[str]) -> list[str]:
            batch = make_batch(network, tokenizer, chosen, lang)
            targets = None if special else ~batch.special
            scores = network.score(
                batch.ids,
                attention_mask=batch.mask,
                langs=batch.langs,
                targets=targets,
                **settings,
            )
            return score_lines(
                tokenizer,
                batch,
                scores,
                tokens=tokens,
                as_json=as_json,
                in_file=output is not None,
            )

        write_lines(team, texts, batch_size, work, file=file, output=output)


def _check_encoder(network: Any) -> None:
    if network.spec.encoder is not None:
        raise InputError(
            f"'{network.spec.name}' scores texts behind sources, which lines of text do not say: "
            "call model.score(sources, labels=texts)"
        )


def _check_method(method: str | None) -> None:
    if method is not None and method not in METHODS:
        raise InputError(f"--method is '{method}', expected one of {', '.join(METHODS)}")

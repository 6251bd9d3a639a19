"""`engine fill`: the best tokens for hidden places of texts."""

from typing import Annotated, Any

import typer

from engine.cli.options import BatchSize, File, Given, Json, Language, Source
from engine.cli.streams import echo_json


def fill(  # noqa: PLR0913
    model: Source,
    text: Given = None,
    file: File = None,
    lang: Language = None,
    top: Annotated[int, typer.Option(help="How many candidates for each place.")] = 5,
    place: Annotated[
        str, typer.Option(help="What stands for a hidden token in the texts.")
    ] = "<mask>",
    rounds: Annotated[
        int | None, typer.Option(help="Fill all places, in so many rounds, and show the texts.")
    ] = None,
    batch_size: BatchSize = 8,
    as_json: Json = False,
) -> None:
    """Show the candidates for every <mask>, or with --rounds the texts with all of them filled."""
    from engine.cli.texts.batches import batches, hidden_token, lines, open_both
    from engine.generation.guards import check_text_method

    network, tokenizer = open_both(model)
    check_text_method(network, "fill_mask")
    hidden = hidden_token(network, tokenizer)
    name = str(tokenizer.convert_ids_to_tokens(hidden))
    texts = (each.replace(place, name) for each in lines(text, file))
    for batch in batches(network, tokenizer, texts, lang, batch_size):
        given: dict[str, Any] = {
            "attention_mask": batch.mask,
            "langs": batch.langs,
            "mask_token_id": hidden,
        }
        if rounds is not None:
            filled = network.mask_predict(batch.ids, rounds, **given)
            for row, ids in enumerate(filled):
                kept = ids if batch.mask is None else ids[batch.mask[row] > 0]
                done = tokenizer.decode(kept.tolist(), skip_special_tokens=True)
                if as_json:
                    echo_json({"text": batch.texts[row], "filled": done})
                else:
                    typer.echo(done)
            continue
        for found in network.fill_mask(batch.ids, top, **given):
            pieces = [str(tokenizer.convert_ids_to_tokens(token)) for token in found.tokens]
            if as_json:
                line = {
                    "text": batch.texts[found.row], "place": found.place, "tokens": pieces, "ids": found.tokens,
                    "probabilities": found.probabilities,
                }  # fmt: skip
                echo_json(line)
            else:
                shown = "  ".join(
                    f"{piece} {share:.3f}"
                    for piece, share in zip(pieces, found.probabilities, strict=True)
                )
                typer.echo(f"{batch.texts[found.row]}\t{found.place}\t{shown}")

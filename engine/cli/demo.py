"""`engine demo`: five tiny networks trained on real text, each shown doing what its family is for."""

from pathlib import Path
from typing import Annotated

import typer

from engine.errors import InputError, nearest


def demo(
    only: Annotated[
        list[str] | None,
        typer.Option(help="A family to show, such as xglm; may be given again. All by default."),
    ] = None,
    seed: Annotated[
        int, typer.Option(help="The seed of the text, the weights and the training.")
    ] = 0,
    quick: Annotated[
        bool, typer.Option(help="Train an eighth of the steps: to see that everything runs.")
    ] = False,
    folder: Annotated[
        Path, typer.Option(help="Where to leave the trained networks with their tokenizers.")
    ] = Path(".demo"),
) -> None:
    """Train five tiny networks on real sentences in twelve languages, and show what each family is
    for.
    """
    from engine.demo.run import FAMILIES, run

    for name in only or ():
        if name not in FAMILIES:
            raise InputError(f"the demonstration has no family '{name}'{nearest(name, FAMILIES)}")
    run(only or FAMILIES, seed=seed, quick=quick, folder=folder)

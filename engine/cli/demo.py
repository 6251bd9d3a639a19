"""`engine demo`: five tiny trained networks, each shown doing what its family is for."""

from pathlib import Path
from typing import Annotated

import typer

from engine.errors import InputError, nearest


def demo(
    only: Annotated[
        list[str] | None,
        typer.Option(help="A family to show, such as xglm; may be given again. All by default."),
    ] = None,
    train: Annotated[
        str, typer.Option(help="The family that is trained anew; `none` trains nothing.")
    ] = "xglm",
    steps: Annotated[int, typer.Option(min=1, help="Steps of that training.")] = 150,
    seed: Annotated[int, typer.Option(help="The seed of its weights and its training.")] = 0,
    folder: Annotated[
        Path, typer.Option(help="Where to leave the networks with their tokenizers.")
    ] = Path(".demo"),
) -> None:
    """Show what each of five tiny trained networks is for, on real sentences in twelve languages,
    and train one of them from random weights.
    """
    from engine.demo.run import FAMILIES, run

    for name in (*(only or ()), train):
        if name not in FAMILIES and name != "none":
            raise InputError(f"the demonstration has no family '{name}'{nearest(name, FAMILIES)}")
    chosen = None if train == "none" else train
    run(only or FAMILIES, train=chosen, steps=steps, seed=seed, folder=folder)

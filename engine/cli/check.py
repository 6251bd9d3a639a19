"""`engine check`: the laws of the architecture, held against a spec and weights of one's own."""

from pathlib import Path
from typing import Annotated, Any

import typer

from engine.cli.describe import parse_overrides
from engine.errors import InputError

SIGNS = {"holds": "✓", "broken": "✗", "does not apply": "–"}


def check(
    spec: Annotated[str, typer.Argument(help="A spec file, or a name such as xlnet-base.")],
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[FOLDER] [KEY=VALUE]...",
            help="A folder with weights, read by the spec; changes to the spec, such as"
            " dims.layers=2.",
        ),
    ] = None,
    against: Annotated[
        bool,
        typer.Option(
            "--against",
            help="Compare with transformers' class of the folder, layer by layer, in float64.",
        ),
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Draws weights and texts.")] = 0,
) -> None:
    """Hold each law of the architecture against a network, law by law; ends with 1 where one is
    broken.
    """
    from engine.laws import check_model, open_network

    folder, changes = read_words(words or [])
    if against and folder is None:
        raise InputError("--against compares a folder of transformers: name it behind the spec")
    model = open_network(spec, folder, parse_overrides(changes), seed)
    broken = 0
    for verdict in check_model(model, seed):
        broken += verdict.state == "broken"
        said = verdict.law.says if verdict.state == "holds" else f"{verdict.state}: {verdict.why}"
        typer.echo(f"{SIGNS[verdict.state]} {verdict.law.name}: {said}")
    if against and folder is not None:
        broken += not agrees(model, folder, seed)
    if broken:
        raise typer.Exit(1)


def read_words(words: list[str]) -> tuple[Path | None, list[str]]:
    """The folder and the changes among the words behind a spec.

    Raises InputError for a folder that is not there, or for two.
    """
    changes = [word for word in words if "=" in word and not Path(word).exists()]
    folders = [Path(word) for word in words if word not in changes]
    if len(folders) > 1:
        raise InputError(f"one folder has the weights: {folders[0]} or {folders[1]}?")
    for folder in folders:
        if not folder.is_dir():
            raise InputError(f"there is no folder {folder}")
    return (folders[0] if folders else None), changes


def agrees(model: Any, folder: Path, seed: int) -> bool:
    """Whether the network answers as transformers' of that folder; says where they part."""
    from engine.laws.against import compare, open_theirs

    theirs = open_theirs(folder)
    for right in (0, 2):
        padding = f"with {right} padding tokens on the right" if right else "without padding"
        for difference in compare(model, theirs, seed, right):
            if difference.parts():
                typer.echo(
                    f"{SIGNS['broken']} {type(theirs).__name__}, {padding}: {difference.what} is the"
                    f" first to part, by {difference.worst:.3g} of {difference.largest:.3g}"
                )
                return False
        typer.echo(f"{SIGNS['holds']} {type(theirs).__name__}, {padding}: every layer agrees")
    return True

"""`engine describe`: a network seen and sized before anything is allocated."""

from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from engine.errors import InputError, Problem, SpecError
from tokenization.files.plain_yaml import YamlError, parse_yaml

WIDTH = 140  # a row is never cut: a terminal that is narrower wraps it


def describe(
    spec: Annotated[
        str | None,
        typer.Argument(help="A spec file, a name such as xlnet-base, or a folder with a model."),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KEY=VALUE]...", help="Changes to the spec, such as dims.layers=2."
        ),
    ] = None,
    head: Annotated[
        str,
        typer.Option(
            help="A head's name, 'none' for the bare backbone, or 'default' for the spec's own."
        ),
    ] = "default",
    family: Annotated[
        str | None,
        typer.Option("--spec", help="The spec by which a folder is read; lists its weights too."),
    ] = None,
    weights: Annotated[
        bool,
        typer.Option(
            "--weights",
            help="List what of a folder's weights would be read, left over and drawn anew.",
        ),
    ] = False,
    machine: Annotated[
        bool,
        typer.Option(
            "--machine", help="Say which ways of computing were chosen for this processor."
        ),
    ] = False,
) -> None:
    """Print a network as a tree with shapes, parameter counts and memory costs, without allocating
    it.
    """
    console = Console(highlight=False)
    console.width = max(console.width, WIDTH)
    if machine:
        _show_machine(console)
    if spec is None:
        if machine:
            return
        raise InputError(
            "name a spec, such as xlnet-base, a spec file or a folder; or ask with --machine"
        )
    changes = parse_overrides(overrides or [])
    listed = weights or family is not None
    if listed and not Path(spec).exists():
        raise InputError(
            f"--spec and --weights are for a folder with a model, and there is none at {spec}"
        )
    name = None if head == "none" else head
    for part in _parts(spec, changes, name, family, listed):
        console.print(part)


def _show_machine(console: Console) -> None:
    from engine.kernels.linear import describe_products

    for what, chosen in describe_products().items():
        console.print(f"{what}: {chosen}")


def _parts(
    spec: str, changes: dict[str, Any], head: str | None, family: str | None, listed: bool
) -> Iterable[Any]:
    """The tree of a spec or of a folder's network, and the weights of the folder where these are
    `listed`.
    """
    from engine.build import assemble, load_spec
    from engine.checkpoint.opening import holds_network, open_source, stored_in
    from engine.checkpoint.plan import make_plan
    from engine.cli.tree import render, render_plan

    if not listed and not holds_network(Path(spec)):
        return render(assemble(load_spec(spec, changes), head, device="meta"))
    opened = open_source(Path(spec), family, changes)
    model = assemble(opened.spec, head, device="meta")
    if not listed:
        return render(model)
    return chain(render(model), render_plan(make_plan(model, stored_in(opened), opened)))


def parse_overrides(words: list[str]) -> dict[str, Any]:
    """Dotted keys with values read as YAML, from `key=value` words (raises SpecError for other
    words).
    """
    changes: dict[str, Any] = {}
    problems = []
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            problems.append(
                Problem(
                    word, "an override is written key=value, such as dims.layers=2", "command line"
                )
            )
            continue
        try:
            changes[key] = parse_yaml(value).data
        except YamlError:
            problems.append(Problem(key, f"not a YAML value: {value}", "command line"))
    if problems:
        raise SpecError(problems)
    return changes

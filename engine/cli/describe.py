"""`engine describe`: a network seen and sized before anything is allocated."""

from itertools import chain
from pathlib import Path
from typing import Annotated, Any

import typer

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
    from rich.console import Console

    from engine.build import assemble, load_spec
    from engine.checkpoint.opening import holds_network, open_source, stored_in
    from engine.checkpoint.plan import make_plan
    from engine.cli.tree import render, render_plan
    from engine.errors import InputError

    console = Console(highlight=False)
    console.width = max(console.width, WIDTH)
    if machine:
        from engine.kernels.linear import describe_products

        for what, chosen in describe_products().items():
            console.print(f"{what}: {chosen}")
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
    if not listed and not holds_network(Path(spec)):
        parts = render(assemble(load_spec(spec, changes), name, device="meta"))
    else:
        opened = open_source(Path(spec), family, changes)
        model = assemble(opened.spec, name, device="meta")
        parts = render(model)
        if listed:
            parts = chain(parts, render_plan(make_plan(model, stored_in(opened), opened)))
    for part in parts:
        console.print(part)


def parse_overrides(words: list[str]) -> dict[str, Any]:
    """Dotted keys with values read as YAML, from `key=value` words (raises SpecError for other
    words).
    """
    from engine.errors import Problem, SpecError
    from tokenization.files.plain_yaml import YamlError, parse_yaml

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

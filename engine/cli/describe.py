"""`engine describe`: a network seen and sized before anything is allocated."""

from pathlib import Path
from typing import Annotated, Any

import typer

WIDTH = 140  # a row is never cut: a terminal that is narrower wraps it


def describe(
    spec: Annotated[str, typer.Argument(help="A spec file, a name such as xlnet-base, or a folder with a model.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Changes to the spec, such as dims.layers=2.")
    ] = None,
    head: Annotated[
        str, typer.Option(help="A head's name, 'none' for the bare backbone, or 'default' for the spec's own.")
    ] = "default",
) -> None:
    """Print a network as a tree with shapes, parameter counts and memory costs, without allocating it."""
    from rich.console import Console

    from engine.build import assemble, load_spec
    from engine.checkpoint.opening import open_source
    from engine.cli.tree import render

    changes = parse_overrides(overrides or [])
    if (Path(spec) / "config.json").is_file() and not (Path(spec) / "spec.yaml").is_file():
        resolved = open_source(Path(spec), None, changes).spec
    else:
        resolved = load_spec(spec, changes)
    model = assemble(resolved, None if head == "none" else head, device="meta")
    console = Console(highlight=False)
    console.width = max(console.width, WIDTH)
    for part in render(model):
        console.print(part)


def parse_overrides(words: list[str]) -> dict[str, Any]:
    """Dotted keys with values read as YAML, from `key=value` words (raises SpecError for other words)."""
    from engine.errors import Problem, SpecError
    from tokenization.plain_yaml import YamlError, parse_yaml

    changes: dict[str, Any] = {}
    problems = []
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            problems.append(Problem(word, "an override is written key=value, such as dims.layers=2", "command line"))
            continue
        try:
            changes[key] = parse_yaml(value).data
        except YamlError:
            problems.append(Problem(key, f"not a YAML value: {value}", "command line"))
    if problems:
        raise SpecError(problems)
    return changes

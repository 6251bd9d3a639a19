"""`engine train`: a run from a recipe, and on from where it was saved."""

from pathlib import Path
from typing import Annotated

import typer

from engine.cli.describe import parse_overrides
from engine.errors import InputError


def train(
    recipe: Annotated[str, typer.Argument(help="A recipe file, or the name of a shipped one.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(help="Changes of the recipe, such as optimizer.rate=1e-4."),
    ] = None,
    output: Annotated[
        Path, typer.Option(help="The folder of the run: its checkpoints, log and curve.")
    ] = Path("run"),
    resume: Annotated[
        bool, typer.Option("--continue", help="Go on with the run that the folder holds.")
    ] = False,
    changed: Annotated[
        bool, typer.Option("--changed", help="Go on although the recipe differs from the run's.")
    ] = False,
    cache: Annotated[
        Path | None, typer.Option(help="Where tokens are kept; a folder of the user's by default.")
    ] = None,
    dump_batches: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Write the batches of the first N steps to batches.jsonl in the folder, and train "
            "nothing.",
        ),
    ] = None,
) -> None:
    """Train a network as a recipe says; the result opens with `load_model`."""
    from engine.training.distribute import close_processes, open_processes
    from engine.training.plan import make_plan
    from engine.training.recipe.compare import refuse_changes
    from engine.training.recipe.load import load_recipe, open_recipe
    from engine.training.run.dump import dump_batches as dump
    from engine.training.run.loop import run

    opened = open_recipe(recipe, parse_overrides(overrides or []))
    before = output / "last" / "recipe.yaml"
    if before.is_file() and not changed:
        refuse_changes(opened, load_recipe(before))
    if (resume or changed) and not before.is_file():
        raise InputError(f"{output} holds no run to go on with: leave --continue out")
    processes = open_processes(opened.recipe.devices)

    def say(line: str) -> None:
        if processes.first:
            typer.echo(line)

    try:
        plan = make_plan(opened, output, processes=processes, cache=cache, say=say)
        if dump_batches is not None:
            say(f"written: {dump(plan, dump_batches, processes)}")
            return
        result = run(plan, resume=resume or changed, processes=processes, say=say)
    finally:
        close_processes(processes)
    ended = f"step {result.step:,} of {plan.steps:,}"
    if result.stopped is not None:
        ended += f" (stopped: {result.stopped})"
    told = ", ".join(f"{name} {value:.4f}" for name, value in result.metrics.items())
    say(f"{ended}: {told or 'not evaluated'}; saved in {output / 'last'}")

"""`engine evaluate`: how good the network of a run is on its held-out texts, or on others."""

from pathlib import Path
from typing import Annotated

import typer

from engine.cli.describe import parse_overrides
from engine.cli.streams import echo_json
from engine.errors import InputError


def evaluate(
    run: Annotated[Path, typer.Argument(help="The folder of a run, or of one checkpoint.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(help="Changes of its recipe, such as evaluate.rows=8."),
    ] = None,
    checkpoint: Annotated[
        str, typer.Option(help="Which of its checkpoints: best, last or step-N.")
    ] = "best",
    predictions: Annotated[
        Path | None, typer.Option(help="Write one prediction a line to this JSONL file.")
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(help="Where tokens are kept; a folder of the user's by default.")
    ] = None,
) -> None:
    """Score a run's network on what its recipe holds out; prints one JSON object of metrics."""
    from engine.training.distribute import Processes
    from engine.training.plan import make_plan
    from engine.training.recipe.load import open_recipe
    from engine.training.run.evaluation import evaluate as score
    from engine.training.tasks import write_predictions

    folder = run
    if not (run / "recipe.yaml").is_file():
        folder = run / checkpoint
    if not (folder / "recipe.yaml").is_file():
        raise InputError(f"{folder} is no checkpoint of a run: expected its recipe.yaml there")
    opened = open_recipe(folder / "recipe.yaml", parse_overrides(overrides or []))
    plan = make_plan(opened.of_checkpoint(folder), run, cache=cache, say=lambda _: None)
    if plan.held_out is None:
        raise InputError(f"{folder}: the recipe holds no texts out: give data.held_out")
    found = score(plan.model, plan.held_out, Processes(), plan.precision)
    if predictions is not None:
        if plan.held_out.decoder is None:
            raise InputError("--predictions is for the recipes of tasks, this one has an objective")
        write_predictions(plan.held_out.decoder.lines(found.predictions, found.rows), predictions)
    echo_json({"checkpoint": folder.resolve().name, **found.metrics})

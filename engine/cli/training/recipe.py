"""`engine recipe`: a recipe seen whole, and the language of recipes for editors."""

import json
from typing import Annotated, Any

import typer

from engine.cli.describe import parse_overrides
from engine.cli.reference import recipe_reference
from engine.cli.schema import Markdown, partial_schema

recipe = typer.Typer(no_args_is_help=True, help="Look at recipes of training.")


@recipe.command()
def describe(
    source: Annotated[
        str,
        typer.Argument(metavar="RECIPE", help="A recipe file, or a name such as pretrain/xlnet."),
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KEY=VALUE]...", help="Changes to the recipe, such as optimizer.rate=1e-4."
        ),
    ] = None,
) -> None:
    """Print a recipe with all that it inherits and all defaults, and where each line comes from."""
    from engine.training.recipe.describe import describe_recipe
    from engine.training.recipe.load import open_recipe

    typer.echo(describe_recipe(open_recipe(source, parse_overrides(overrides or []))))


@recipe.command()
def schema(
    markdown: Markdown = False,
) -> None:
    """Print the JSON Schema of recipes, for editors that check and complete YAML."""
    if markdown:
        typer.echo(recipe_reference(complete_recipe_schema()), nl=False)
    else:
        typer.echo(json.dumps(recipe_schema(), indent=2))


def recipe_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of a recipe file; no key is required, since a file may leave it to its
    parent.
    """
    whole = partial_schema(complete_recipe_schema())
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **whole}


def complete_recipe_schema() -> dict[str, Any]:
    """JSON Schema of a recipe with what its parents say merged in: needed keys are required."""
    from engine.training.recipe.model import Recipe

    whole = Recipe.model_json_schema()
    whole["properties"]["extends"] = {
        "type": "string",
        "description": "The parent: a file, or a name below recipes/.",
    }
    return whole

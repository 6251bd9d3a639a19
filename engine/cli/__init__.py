"""The command line `engine`: one module a command; torch is imported only by a command that runs."""

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from engine import __version__
from engine.cli import check, demo, describe, fill, generate, schema, score, tokenize
from engine.cli.failures import CUT_OFF, EXPECTED, told
from engine.cli.streams import drop_output, prepare_output
from engine.cli.training import evaluate, recipe, train


class Commands(TyperGroup):
    """Errors that users can mend end as plain lines on stderr and exit code 2, without a traceback.

    An interruption ends with 130, and a pipe whose reader has seen enough with 0.
    """

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run with streams that take every character."""
        prepare_output()
        return super().main(*args, **kwargs)

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        """Read the arguments; help may be cut off like any other output."""
        try:
            return super().make_context(*args, **kwargs)
        except CUT_OFF:
            drop_output()
            raise typer.Exit(0) from None

    def invoke(self, ctx: Any) -> Any:
        """Run the chosen command."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise typer.Exit(130) from None
        except CUT_OFF:
            drop_output()
            raise typer.Exit(0) from None
        except EXPECTED as error:
            if isinstance(error, OSError) and not isinstance(error, FileNotFoundError):
                drop_output()
            typer.echo(told(error), err=True)
            raise typer.Exit(2) from None


main = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="XLNet, XLM, XLM-RoBERTa-XL, Transformer-XL and XGLM as one block graph assembled from YAML specs.",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"engine {__version__}")
        raise typer.Exit


@main.callback()
def _options(
    _: Annotated[
        bool,
        typer.Option(
            "--version", help="Show the version and end.", callback=_show_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Options of the program itself."""


for command in (
    describe.describe,
    check.check,
    generate.generate,
    fill.fill,
    score.score,
    tokenize.tokenize,
    demo.demo,
    schema.schema,
    train.train,
    evaluate.evaluate,
):
    main.command()(command)
main.add_typer(recipe.recipe, name="recipe")

"""The command line `engine`: one module a command; torch is imported only by a command that runs."""

import os
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from engine import __version__
from engine.cli import demo, describe, fill, generate, schema, score, tokenize
from engine.errors import CheckpointError, InputError, SpecError
from tokenization.errors import TokenizationError

EXPECTED = (SpecError, InputError, CheckpointError, TokenizationError, FileNotFoundError)


class Commands(TyperGroup):
    """Errors that users can mend end as plain lines on stderr and exit code 2, without a traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run the chosen command."""
        try:
            return super().invoke(ctx)
        except EXPECTED as error:
            typer.echo(str(error), err=True)
            raise typer.Exit(2) from None
        except BrokenPipeError:  # the reader of a pipe has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(0) from None


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
        bool, typer.Option("--version", help="Show the version and end.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Options of the program itself."""


for command in (
    describe.describe,
    generate.generate,
    fill.fill,
    score.score,
    tokenize.tokenize,
    demo.demo,
    schema.schema,
):
    main.command()(command)

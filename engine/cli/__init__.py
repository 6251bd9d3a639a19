"""The command line `engine`: one module a command; torch is imported only by a command that runs."""

import contextlib
import os
import sys
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup

from engine.cli import describe, schema
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
main.command()(describe.describe)
main.command()(schema.schema)
for name in ("tokenize", "generate", "fill", "score", "demo"):
    with contextlib.suppress(ModuleNotFoundError):
        main.command()(getattr(import_module(f"engine.cli.{name}"), name))

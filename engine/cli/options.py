"""Arguments and options that the commands on texts share."""

from pathlib import Path
from typing import Annotated

import typer

Source = Annotated[
    str,
    typer.Argument(metavar="MODEL", help="A folder with a model and its tokenizer, or a hub id."),
]
Given = Annotated[
    list[str] | None, typer.Argument(help="Texts; without them, the lines of standard input.")
]
File = Annotated[
    Path | None, typer.Option(help="Read the lines of a file.", exists=True, dir_okay=False)
]
Language = Annotated[
    str | None, typer.Option(help="The language of the texts, where the model takes one.")
]
Output = Annotated[
    Path | None,
    typer.Option(help="Write the lines to this file, whole or not at all.", dir_okay=False),
]
Compute = Annotated[
    str, typer.Option(help="Where is computed: auto (a card where there is one), cpu or cuda.")
]
Json = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]
BatchSize = Annotated[int, typer.Option(min=1, help="How many texts run together.")]

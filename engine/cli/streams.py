"""Standard streams as they come: closed, of another encoding, or cut off by their reader."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import typer

from engine.errors import InputError


def prepare_output() -> None:
    """Let every character pass: what an encoding lacks is written as an escape; a closed stream
    takes all and keeps none.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def drop_output() -> None:
    """Forget what is still to be written to standard output, so that nothing fails again at the
    end.
    """
    try:
        descriptor = sys.stdout.fileno()
    except (AttributeError, OSError, ValueError):
        return
    os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)


def echo_json(line: dict[str, Any]) -> None:
    """One JSON object as a line."""
    typer.echo(json_line(line))


def json_line(line: dict[str, Any], in_file: bool = False) -> str:
    """One JSON object for a file, or in escapes where the terminal's encoding lacks characters."""
    encoding = (getattr(sys.stdout, "encoding", None) or "utf-8").lower().replace("_", "-")
    plain = in_file or encoding.startswith("utf")
    return json.dumps(line, ensure_ascii=not plain)


def read_lines(file: Path | None) -> Iterator[str]:
    """Lines, without their ends, of a file or of standard input (raises InputError for what is not
    UTF-8, or closed).
    """
    if file is None and sys.stdin is None:
        raise InputError("standard input is closed: give texts behind the model's name, or --file")
    where = file or "standard input"
    with nullcontext(sys.stdin.buffer) if file is None else file.open("rb") as source:
        for number, line in enumerate(source, 1):
            try:
                text = line.decode("utf-8")
            except UnicodeDecodeError as error:
                byte = f"byte {line[error.start]:#04x} at {error.start}"
                raise InputError(f"{where}, line {number}: not UTF-8 text ({byte})") from None
            yield text.rstrip("\r\n")

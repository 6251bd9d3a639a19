"""A program that asks the same of one process and of several; its answers are lines of JSON."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from engine.cli import main
from engine.cli.texts import score


def ask(words: list[str]) -> dict[str, Any]:
    """What a command writes, and how it ends."""
    found = CliRunner().invoke(main, words)
    failed = "" if found.exception is None else type(found.exception).__name__
    return {"out": found.stdout, "said": found.stderr, "code": found.exit_code, "error": failed}


def at_line(number: int, error: type[Exception]) -> Callable[..., list[str]]:
    """`engine score` that fails at the text of that number."""
    lines = score.score_lines

    def failing(tokenizer: Any, batch: Any, scores: Any, **given: Any) -> list[str]:
        if f"number {number}" in batch.texts:
            raise error("here")
        return lines(tokenizer, batch, scores, **given)

    return failing


def run() -> None:
    """Ask each question of the first process alone, and then of all."""
    questions = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    count, rank, port = (os.environ[name] for name in ("WORLD_SIZE", "RANK", "MASTER_PORT"))
    alone, lines = [], score.score_lines
    os.environ["WORLD_SIZE"] = "1"
    if rank == "0":
        alone = [ask(question["words"]) for question in questions if question["alone"]]
    os.environ["WORLD_SIZE"] = count
    together = []
    for place, question in enumerate(questions):
        os.environ["MASTER_PORT"] = str(int(port) + place)
        if "fails" in question:
            error = {"RuntimeError": RuntimeError, "OSError": OSError}[question["error"]]
            score.score_lines = at_line(question["fails"], error)
        together.append(ask([word.replace("RANK", rank) for word in question["words"]]))
        score.score_lines = lines
    answers = json.dumps({"alone": alone, "together": together})
    Path(f"{sys.argv[1]}.{rank}").write_text(answers, encoding="utf-8")


if __name__ == "__main__":
    run()

"""The sides as processes of their own, so that neither finds the other's memory, threads or
settings.
"""

import json
import os
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any

ROOT = Path(__file__).parents[1]


class SideError(Exception):
    """A side could not do what it was asked."""


class Process:
    """A side, started with an interpreter; requests go out and come back one at a time."""

    def __init__(self, python: str, module: str, threads: int) -> None:
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": str(threads),
            "TOKENIZERS_PARALLELISM": "false",
        }
        self.python, self.process = python, subprocess.Popen(
            [python, "-m", module], cwd=ROOT, env=environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def ask(self, do: str, **request: Any) -> dict[str, Any]:
        """The answer to one request. Raises SideError where the side fails or has ended."""
        assert self.process.stdin is not None and self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps({"do": do, **request}) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise SideError(
                f"{self.python} ended with code {self.process.wait()}: does it have torch and transformers?"
            )
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise SideError(f"{self.python}: {answer['error']}")
        return answer

    def __enter__(self) -> "Process":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        if kind is not None:
            self.process.kill()
        self.process.wait()
        self.process.stdout.close()


def own(threads: int) -> Process:
    """The engine's side."""
    import sys

    return Process(sys.executable, "benchmarks.own", threads)


def peer(python: str, threads: int) -> Process:
    """transformers' side in one of its interpreters."""
    return Process(python, "benchmarks.peer", threads)

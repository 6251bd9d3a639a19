"""Opening the golden files of Transformer-XL (tests/goldens/README.md)."""

import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor

FOLDER = Path(__file__).resolve().parents[1] / "goldens" / "transformer_xl"


@dataclass(frozen=True)
class Golden:
    """One case: its tensors by name, the text of its config, and what is said about how it was
    made.
    """

    tensors: dict[str, Tensor]
    config: str
    case: dict[str, Any]

    def below(self, prefix: str) -> dict[str, Tensor]:
        """The tensors whose names begin with `prefix` and a dot, under the rest of their names."""
        start = f"{prefix}."
        return {
            name.removeprefix(start): value
            for name, value in self.tensors.items()
            if name.startswith(start)
        }

    def several(self, prefix: str) -> list[Tensor]:
        """The tensors `prefix.0`, `prefix.1` and so on."""
        found = self.below(prefix)
        return [found[str(index)] for index in range(len(found))]

    @property
    def bent(self) -> bool:
        """Whether it was made in training, with a bend where dropout falls (see
        `helpers.smooth_dropout`).
        """
        return bool(self.case["called"].get("bent_dropout"))

    @property
    def segments(self) -> range:
        """Numbers of the segments, one after another."""
        numbers = {
            match[1] for name in self.tensors if (match := re.match(r"outputs\.(\d+)\.", name))
        }
        return range(len(numbers))


@cache
def golden(name: str) -> Golden:
    """The case of this name."""
    with safe_open(FOLDER / f"{name}.safetensors", framework="pt") as file:
        about = file.metadata()
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    return Golden(tensors, about["config"], json.loads(about["case"]))


def cases(start: str) -> list[str]:
    """Names of the cases that begin so."""
    return sorted(path.stem for path in FOLDER.glob(f"{start}*.safetensors"))

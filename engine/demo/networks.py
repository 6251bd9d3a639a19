"""The five networks that travel with the project, and one trained anew by its recipe."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.build import build_model
from engine.checkpoint import load_model
from engine.demo.bundle import MODELS
from engine.demo.causal import Continued, Remembered
from engine.demo.corpus import Corpus
from engine.demo.masked import Masked, Translated
from engine.demo.permuted import Permuted
from engine.demo.showing import Showing
from engine.demo.texts import write_texts
from engine.model import Model
from engine.spec import Spec
from engine.training.plan import make_plan
from engine.training.recipe import load_recipe, open_recipe
from engine.training.run.loop import run
from tokenization import Tokenizer, load_tokenizer


@dataclass(frozen=True)
class Network:
    """A network of a family with its tokenizer, and the losses of its training if one was seen."""

    family: str
    model: Model
    tokenizer: Tokenizer
    losses: Sequence[float] = ()

    def showing(self, corpus: Corpus) -> Showing:
        """What it is for."""
        return showing_for(self.model.spec)(self.model, self.tokenizer, corpus)


def showing_for(spec: Spec) -> type[Showing]:
    """What fits a spec, told by its axes."""
    languages = spec.embeddings.tables.languages
    if spec.two_streams:
        return Permuted
    if spec.has_rule("causal"):
        return Remembered if spec.memory.kind == "recurrent" else Continued
    return Translated if languages is not None and languages.count > 1 else Masked


def bundled(family: str) -> Network:
    """The network of a family as it travels with the project, in float32."""
    folder = MODELS / family
    return Network(family, load_model(folder).float().eval(), load_tokenizer(folder))


def untrained(family: str, seed: int) -> Network:
    """What training begins with: the same network with random weights."""
    spec = load_model(MODELS / family, device="meta").spec
    return Network(family, build_model(spec, seed=seed).eval(), load_tokenizer(MODELS / family))


def trained(family: str, corpus: Corpus, *, steps: int, seed: int) -> Network:
    """The network of a family after so many steps of its recipe, with the vocabulary of the one
    that travels with the project.
    """
    with tempfile.TemporaryDirectory(prefix="demo-") as name:
        folder = Path(name)
        write_texts(folder, corpus)
        recipe = open_recipe(f"demo/{family}", changes(family, folder, steps, seed))
        plan = make_plan(recipe, folder / "run", cache=folder / "cache", say=_silent)
        run(plan, say=_silent)
        lines = (folder / "run" / "log.jsonl").read_text(encoding="utf-8").splitlines()
    losses = [record["loss"] for record in map(json.loads, lines) if "loss" in record]
    return Network(family, plan.model, load_tokenizer(MODELS / family), losses)


def changes(family: str, folder: Path, steps: int, seed: int) -> dict[str, Any]:
    """The recipe's texts in a folder, and a shorter run."""
    data = load_recipe(f"demo/{family}").to_dict()["data"]
    return {
        "data.train": [_placed(source, folder) for source in data["train"]],
        "data.held_out": [_placed(source, folder) for source in data["held_out"]],
        "tokenizer": {"load": str(MODELS / family)},
        "length.steps": steps,
        "evaluate.every": None,
        "seed": seed,
    }


def _placed(source: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    files = source["files"]
    if isinstance(files, str):
        files = [files]
    return {**source, "files": [str(folder / name) for name in files]}


def _silent(_: str) -> None:
    """The demonstration speaks for itself."""

"""What is written reads back as it was: the spec, the weights, and both under another library's
names.
"""

import tempfile
from pathlib import Path
from typing import Literal

import torch

from engine.build import load_spec
from engine.checkpoint import load_model, save_model
from engine.laws.calls import answer, ask, inputs_for
from engine.laws.compare import agree, claim
from engine.model import Model
from engine.parameters.ties import shared_names
from tokenization.files.plain_yaml import write_yaml


def check_yaml(model: Model, seed: int) -> None:
    """Raise Broken unless the spec, written as YAML, reads back as itself."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "spec.yaml"
        path.write_text(write_yaml(model.spec.to_dict()), encoding="utf-8")
        again = load_spec(path)
    claim(again.to_dict() == model.spec.to_dict(), "the spec reads back as another one")


def check_own_format(model: Model, seed: int) -> None:
    """Raise Broken unless `save_model` and `load_model` give back spec, weights, ties and answers."""
    check_saved(model, seed, "engine")


def check_other_format(model: Model, seed: int) -> None:
    """Raise Broken unless weights and config come back from the layout that transformers reads."""
    check_saved(model, seed, "huggingface")


def check_saved(model: Model, seed: int, layout: Literal["engine", "huggingface"]) -> None:
    """Raise Broken unless a folder of that layout gives back every weight, tie and answer."""
    with tempfile.TemporaryDirectory() as folder:
        save_model(model, folder, format=layout)
        spec = model.spec if layout == "huggingface" else None
        head = None if model.head is None else "default"
        again = load_model(folder, spec=spec, head=head, dtype=model.dtype).eval()
    report = again.load_report
    unread = report is not None and (report.initialised or report.other_shape)
    claim(not unread, f"not every tensor was read: {report}")
    ours, theirs = model.state_dict(), again.state_dict()
    claim(set(ours) == set(theirs), f"other names: {sorted(set(ours) ^ set(theirs))}")
    for name, value in ours.items():
        claim(torch.equal(theirs[name], value), f"{name} came back changed")
    tied, found = (
        sorted(names for names in shared_names(part).values() if len(names) > 1)
        for part in (model, again)
    )
    claim(tied == found, f"tied before: {tied}, after: {found}")
    inputs = inputs_for(model.spec, seed=seed, targets=2, dtype=model.dtype)
    agree(answer(ask(again, **inputs)), answer(ask(model, **inputs)), "answers")

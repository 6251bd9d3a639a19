"""The network that laws are held against."""

import os
from collections.abc import Mapping
from typing import Any

import torch

from engine.build import build_model
from engine.checkpoint import load_model
from engine.laws.calls import randomise
from engine.model import Model
from engine.spec import SpecSource


def open_network(
    spec: SpecSource,
    folder: str | os.PathLike[str] | None = None,
    overrides: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> Model:
    """A network in float64 and evaluation mode, with the weights of a folder that is read by the
    spec, or with random ones that all matter.

    It has the spec's language-model head; under any other head it is the bare body, whose answers
    stand by token as the laws compare them.
    """
    if folder is None:
        model = build_model(spec, overrides=overrides, dtype=torch.float64, seed=seed)
        randomise(model, seed)
    else:
        model = load_model(folder, spec=spec, overrides=overrides, dtype=torch.float64)
    if model.head is not None and "logits_to_keep" not in model.head.inputs:
        model.head = None
    return model.eval()

"""A network beside transformers' own of the same folder: the first layer whose outputs part."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from engine.errors import InputError
from engine.laws.calls import real_tokens
from engine.model import Model

LENGTH = 9


@dataclass(frozen=True)
class Difference:
    """How far one output of ours (`what`) is from theirs: the largest difference, and the largest
    magnitude of theirs.
    """

    what: str
    worst: float
    largest: float

    def parts(self, tolerance: float = 1e-6) -> bool:
        """Whether they differ by more than rounding does in float64; numbers that are not finite
        part.
        """
        return not self.worst <= tolerance * max(self.largest, 1e-30)


def open_theirs(folder: Path) -> Any:
    """The class that the folder's config.json names, opened by transformers in float64.

    Raises InputError where transformers is missing or does not know the class.
    """
    try:
        import transformers
    except ImportError:
        raise InputError(
            "--against compares with transformers, which is not installed: pip install transformers"
        ) from None
    if not (folder / "config.json").is_file():
        raise InputError(
            f"--against needs a folder of transformers, and {folder} has no config.json"
        )
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    names = config.get("architectures") or ["AutoModel"]
    known = getattr(transformers, str(names[0]), None)
    if known is None:
        raise InputError(f"transformers {transformers.__version__} has no class {names[0]}")
    return known.from_pretrained(folder, dtype=torch.float64).eval()


@torch.no_grad()
def compare(model: Model, theirs: Any, seed: int = 0, right: int = 0) -> Iterator[Difference]:
    """The differences of hidden states, layer by layer, and of logits, over random tokens with
    `right` padding tokens behind the last row; what stands at padding is not compared.
    """
    generator = torch.Generator().manual_seed(seed)
    ids = real_tokens(model.spec, 2, LENGTH, generator)
    mask = torch.ones_like(ids)
    if right:
        ids[-1, -right:] = model.spec.embeddings.tables.tokens.padding or 0
        mask[-1, -right:] = 0
    call: dict[str, Any] = {"input_ids": ids, "attention_mask": mask, "output_hidden_states": True}
    if model.spec.encoder is not None:
        call["decoder_input_ids"] = real_tokens(model.spec, 2, LENGTH - 1, generator)
    ours, other = model(**call), theirs(**call)
    if model.spec.encoder is not None:
        yield from _layers(
            ours.encoder_hidden_states, other.encoder_hidden_states, mask, "the encoder's "
        )
        mask = torch.ones_like(call["decoder_input_ids"])
    yield from _layers(ours.hidden_states, _states(other), mask)
    logits = getattr(other, "logits", None)
    if ours.logits is not None and logits is not None:
        yield _difference("the logits", ours.logits[mask.bool()], logits[mask.bool()])


def _states(output: Any) -> Any:
    """The hidden states of a network, of one with an encoder those of its decoder."""
    return getattr(output, "decoder_hidden_states", None) or output.hidden_states


def _layers(ours: Any, theirs: Any, mask: Tensor, whose: str = "") -> Iterator[Difference]:
    """The differences of hidden states (b i d), layer by layer, at real tokens of a mask (b i)."""
    for layer, (own, expected) in enumerate(zip(ours, theirs, strict=False)):
        name = f"{whose}layer {layer - 1}"
        if layer == 0:
            name = f"{whose}embeddings" if whose else "the embeddings"
        yield _difference(name, own[mask.bool()], expected[mask.bool()])


def _difference(what: str, ours: Tensor, theirs: Tensor) -> Difference:
    if ours.shape != theirs.shape:
        return Difference(f"{what} (shape {tuple(ours.shape)}, theirs {tuple(theirs.shape)})", float("inf"), 0.0)  # fmt: skip
    return Difference(what, float((ours - theirs).abs().max()), float(theirs.abs().max()))

"""Rows as layouts make them, and a tokenizer that knows its special tokens only."""

from types import SimpleNamespace
from typing import Any

import numpy as np

from engine import build_model, load_spec
from engine.training.data.rows import Row
from engine.training.objectives import make_objective
from engine.training.recipe import sections

SEPARATOR, CLOSING, MASK, PADDING = 2, 3, 4, 1
NARROW = {"dims.layers": 1, "dims.model": 32, "dims.inner": 64, "dims.vocab": 500}
CHANGES: dict[str, dict[str, Any]] = {
    "transformer-xl": {"memory.length": 16, "embeddings.tables.tokens.cutoffs": [200, 400]},
    "xlnet": {"memory.length": 16, "memory.reuse": 12, "memory.train": True},
}
KINDS: dict[str, tuple[str, Any]] = {
    "causal": ("xglm", sections.CausalObjective(kind="causal")),
    "recurrent": ("transformer-xl", sections.RecurrentObjective(kind="recurrent")),
    "masked": ("xlm-roberta-xl", sections.MaskedObjective(kind="masked")),
    "whole words": ("xlm", sections.MaskedObjective(kind="masked", whole_words=True)),
    "over the batch": ("xlm", sections.MaskedObjective(kind="masked", draw="batch")),
    "translation": ("xlm", sections.TranslationObjective(kind="translation")),
    "permutation": ("xlnet", sections.PermutationObjective(kind="permutation")),
    "permuted streams": (
        "xlnet",
        sections.PermutationObjective(
            kind="permutation",
            predict=8,
            segments=sections.Segments(pairs=True),
            both_directions=True,
        ),
    ),
}
STREAMS = ("recurrent", "permuted streams")


class Special:
    """The special tokens of a tokenizer of 500 ids."""

    sep_id, cls_id, mask_id, pad_id = SEPARATOR, CLOSING, MASK, PADDING

    def __init__(self, side="right"):
        self.options = SimpleNamespace(padding_side=side, padding_type=0)

    def __len__(self):
        return 500


def row(length, number=0, *, stream=False, seed=0):
    """A row of plain tokens, between special ones where it is no stream."""
    chance = np.random.default_rng((seed, number))
    ids, special = chance.integers(10, 490, length), np.zeros(length, bool)
    following = None
    if stream:
        following = np.append(ids[1:], 7)[:length]
    else:
        special[[0, -1]] = True
        ids[[0, -1]] = SEPARATOR
    return Row(
        number=number,
        ids=ids,
        special=special,
        words=chance.random(length) < 0.6,
        token_types=(np.arange(length) > length // 2).astype(np.int64),
        languages=np.zeros(length, np.int64),
        next_ids=following,
    )


def some_rows(name, lengths=(30, 24, 30, 17), seed=0):
    """Rows as the objective of that name reads them."""
    stream = name in STREAMS
    return [row(length, place, stream=stream, seed=seed) for place, length in enumerate(lengths)]


def build(name, side="right", **changes):
    """The objective of a name, and a narrow network of its family."""
    family, section = KINDS[name]
    overrides = {**NARROW, **CHANGES.get(family, {}), **changes}
    spec = load_spec(f"tiny/{family}", overrides=overrides)
    tokenizer: Any = Special(side)
    objective = make_objective(section, spec, tokenizer)
    model = build_model(f"tiny/{family}", head=objective.head, seed=0, overrides=overrides)
    return objective, model.eval()

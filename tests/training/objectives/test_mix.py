"""Mixes: one objective a step, by its weight, and the same whoever asks."""

from typing import Any

import pytest

from engine import InputError, load_spec
from engine.training.data.draws import Draws
from engine.training.objectives import make_objective
from engine.training.recipe import sections
from tests.training.objectives.rows import Special, some_rows

MASKED = sections.MaskedObjective(kind="masked")
TRANSLATION = sections.TranslationObjective(kind="translation")


def mixed(*objectives, weights=(3.0, 1.0)):
    parts = tuple(
        sections.Part(weight=weight, objective=one)
        for weight, one in zip(weights, objectives, strict=True)
    )
    section = sections.MixObjective(kind="mix", parts=parts)
    tokenizer: Any = Special()
    return make_objective(section, load_spec("tiny/xlm"), tokenizer)


def test_parts_are_drawn_by_their_weights_a_step():
    mix = mixed(MASKED, TRANSLATION)
    drawn = [mix.part(Draws(0, step)) for step in range(2000)]
    assert drawn == [mix.part(Draws(0, step)) for step in range(2000)]
    assert sum(drawn) / 2000 == pytest.approx(0.25, abs=0.03)
    assert drawn != [mix.part(Draws(1, step)) for step in range(2000)]


def test_a_batch_is_that_of_the_part_of_its_step():
    mix = mixed(MASKED, TRANSLATION)
    for step in range(20):
        batch = mix.batch(some_rows("translation"), Draws(0, step))
        assert ("position_ids" in batch.inputs) == bool(mix.part(Draws(0, step)))


def test_parts_of_several_heads_are_refused():
    with pytest.raises(InputError, match="causal_lm, masked_lm"):
        mixed(MASKED, sections.CausalObjective(kind="causal"))

"""Memory is exact where it is long enough: whole = in chunks, cached = uncached, reordered =
recomputed.
"""

from typing import Any

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from engine import Spec
from engine.laws.calls import answer, inputs_for
from engine.laws.compare import agree
from engine.laws.remembered import (
    LENGTH,
    check_chunks,
    check_reordering,
    check_steps,
    cut,
    reaches_back,
)
from engine.laws.table import not_reordered
from engine.spec import axes
from tests.searching import examples
from tests.strategies import FAMILIES, LONGEST, built, family, valid_specs

CAUSAL: dict[str, dict[str, Any]] = {
    "xlnet": {
        "attention.mask": ["padding", "causal", "permutation"],
        "memory.length": None,
        "memory.padding": "hidden",
    },
    "xlm": {"attention.mask": ["causal"], "memory": {"kind": "keys_values"}},
    "xlm-roberta-xl": {"attention.mask": ["padding", "causal"], "memory": {"kind": "keys_values"}},
    "transformer-xl": {},
    "xglm": {},
}


REMEMBERING = valid_specs(causal=True, memories=("keys_values", "recurrent"), quirks=False)
CUTS = st.sets(st.integers(1, LENGTH - 1), max_size=3).map(lambda cuts: [*sorted(cuts), LENGTH])


@examples(45)
@given(
    REMEMBERING.filter(lambda spec: reaches_back(spec, LENGTH)),
    st.integers(0, 999),
    CUTS,
    st.booleans(),
)
def test_whole_is_in_chunks_with_memory(
    spec: Spec, seed: int, cuts: list[int], padded: bool
) -> None:
    padded = padded and "padding" in spec.attention.mask
    check_chunks(built(spec, seed=seed), seed, cuts, padded)


@examples(20)
@given(REMEMBERING.filter(lambda spec: reaches_back(spec, LENGTH)), st.integers(0, 999))
def test_cached_step_by_step_is_uncached(spec: Spec, seed: int) -> None:
    check_steps(built(spec, seed=seed), seed)


@pytest.mark.parametrize("cuts", ([3, LENGTH], list(range(1, LENGTH + 1))), ids=("chunks", "steps"))
@pytest.mark.parametrize("name", FAMILIES)
def test_shipped_families_in_chunks(name: str, cuts: list[int]) -> None:
    spec = family(name, **CAUSAL[name])
    assert reaches_back(spec, LENGTH)
    padded = "padding" in spec.attention.mask and name != "transformer-xl"
    check_chunks(built(spec, seed=4), 4, cuts, padded)


def test_a_memory_that_is_too_short_does_change_answers() -> None:
    """The law above does not hold because memory is never read or never needed."""
    spec = family(
        "transformer-xl",
        **{"memory.length": 2, "memory.initial": "empty", "attention.mask": ["causal"]},
    )
    assert not reaches_back(spec, LENGTH)
    with pytest.raises(AssertionError, match="off by"):
        check_chunks(built(spec, seed=4), 4, [4, LENGTH])


@examples(15)
@given(REMEMBERING, st.integers(0, 999))
def test_reordered_memory_is_recomputed(spec: Spec, seed: int) -> None:
    assume(not_reordered(spec) is None)
    check_reordering(built(spec, seed=seed), seed)


@pytest.mark.parametrize("learning", (True, False), ids=("hidden states", "keys and values"))
@examples(30)
@given(valid_specs(memories=("keys_values", "recurrent")), st.integers(0, 999), st.booleans())
def test_a_row_that_is_reset_answers_as_a_fresh_one(
    learning: bool, spec: Spec, seed: int, padded: bool
) -> None:
    """Rows 0 and 3 of a stream begin a new text, which is then read in two parts; the others go on."""
    assume(not (isinstance(spec.memory, axes.Recurrent) and spec.memory.length == 0))
    model, rows = built(spec, seed=seed), [0, 3]
    padded = padded and "padding" in spec.attention.mask
    calls = [
        inputs_for(spec, batch=4, length=3, seed=seed + part, permuted=False, padded=padded)
        for part in range(4)
    ]
    for call in calls:
        if spec.attention.cross:
            call["encoder_hidden_states"] = calls[0]["encoder_hidden_states"]
    with torch.set_grad_enabled(learning):
        memory = model(
            **calls[1], memory=model(**calls[0], use_memory=True).memory, use_memory=True
        ).memory
        reset, fresh, kept = model.reset_memory(memory, rows), None, memory
        for call in calls[2:]:
            ours, new, old = (
                model(**call, memory=past, use_memory=True) for past in (reset, fresh, kept)
            )
            agree(answer(ours)[rows], answer(new)[rows], "rows that were reset")
            agree(answer(ours)[1:3], answer(old)[1:3], "rows that go on")
            reset, fresh, kept = ours.memory, new.memory, old.memory


@examples(15)
@given(REMEMBERING, st.integers(0, 999))
def test_memory_is_never_changed_under_its_holder(spec: Spec, seed: int) -> None:
    """Two continuations of one memory do not disturb each other, and stay what they were."""
    assume(not (isinstance(spec.memory, axes.Recurrent) and spec.memory.length == 0))
    model = built(spec, seed=seed)
    calls = [
        inputs_for(spec, length=3, seed=seed + part, permuted=False, optional=False)
        for part in range(3)
    ]
    for call in calls:
        if spec.attention.cross:
            call["encoder_hidden_states"] = calls[0]["encoder_hidden_states"]
    with torch.no_grad():
        memory = model(**calls[0], use_memory=True).memory
        memory = model(**calls[0], memory=memory, use_memory=True).memory
        first = model(**calls[1], memory=memory, use_memory=True)
        model(**calls[2], memory=memory, use_memory=True)
        again = model(**calls[1], memory=memory)
        after = model(**calls[2], memory=first.memory)
        agree(answer(again), answer(first), "the first continuation, taken again")
    alone = model(**calls[2], memory=model(**calls[1], memory=memory, use_memory=True).memory)
    agree(answer(after), answer(alone), "what follows the first continuation")


@examples(15)
@given(
    valid_specs(causal=True, memories=("keys_values",), cross=True, head=None), st.integers(0, 999)
)
def test_encoder_states_are_remembered(spec: Spec, seed: int) -> None:
    """A later call without encoder states reads those that memory holds."""
    model = built(spec, seed=seed)
    inputs = inputs_for(
        spec,
        length=LENGTH,
        seed=seed,
        permuted=False,
        optional="segment" not in spec.attention.score,
    )
    whole = answer(model(**inputs))
    memory = model(**cut(inputs, 0, 4), use_memory=True).memory
    later = cut(inputs, 4, LENGTH)
    del later["encoder_hidden_states"]
    agree(answer(model(**later, memory=memory)), whole[:, 4:], "answers without encoder states")


@examples(20)
@given(
    valid_specs(
        causal=True,
        memories=("recurrent",),
        quirks=False,
        settle={"memory.reuse": 3, "memory.length": None},
    ),
    st.integers(0, 999),
    st.booleans(),
)
def test_a_segment_that_overlaps_goes_on_behind_what_is_reused(
    spec: Spec, seed: int, padded: bool
) -> None:
    """Of a segment of five tokens three enter memory, and the next segment starts with the fourth
    (XLNet's reuse_len).
    """
    spec = spec.model_copy(update={"memory": spec.memory.model_copy(update={"initial": "empty"})})
    settled = spec.model_copy(update={"memory": spec.memory.model_copy(update={"reuse": None})})
    assume(reaches_back(settled, LENGTH))
    model = built(spec, seed=seed)
    inputs = inputs_for(
        spec,
        length=LENGTH,
        seed=seed,
        permuted=False,
        optional="segment" not in spec.attention.score,
    )
    if padded and "padding" in spec.attention.mask:
        inputs["attention_mask"] = torch.tensor([[0, 0, *[1] * (LENGTH - 2)], [1] * LENGTH])
    memory = model(**cut(inputs, 0, 5), use_memory=True).memory
    assert memory.length == 3
    whole = answer(model(**inputs))
    agree(
        answer(model(**cut(inputs, 3, LENGTH), memory=memory)),
        whole[:, 3:],
        "answers behind what is reused",
    )


def test_recurrent_memory_holds_what_entered_each_block() -> None:
    spec = family("transformer-xl", **{"memory.length": LONGEST, "memory.initial": "empty"})
    model = built(spec)
    for asked, learning in ((True, True), ("hidden_states", False)):
        with torch.set_grad_enabled(learning):
            result = model(
                **inputs_for(spec, length=LENGTH), use_memory=asked, output_hidden_states=True
            )
        assert result.memory.length == LENGTH
        agree(result.memory.hidden_states, result.hidden_states[:-1], "mems")

"""Padding and company change nothing: a real token has the same answer alone, padded on either
side, and in any batch.
"""

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from engine import Model, Spec
from engine.laws.calls import answer, inputs_for
from engine.laws.compare import agree
from engine.laws.padding import LENGTH, PADDED, alone, check_company, check_padding, padded_call
from engine.spec import axes
from tests.searching import examples
from tests.strategies import FAMILIES, built, family, valid_specs


def without_zeros(spec: Spec) -> Spec:
    """The spec with an empty first memory: states of zero stand before the text, padding would
    stand between them.
    """
    if not isinstance(spec.memory, axes.Recurrent):
        return spec
    return spec.model_copy(update={"memory": spec.memory.model_copy(update={"initial": "empty"})})


@examples(50)
@given(
    valid_specs(padding=True, quirks=False),
    st.integers(0, 999),
    st.integers(0, PADDED - LENGTH),
    st.booleans(),
)
def test_padding_on_either_side_and_company_change_nothing(
    spec: Spec, seed: int, left: int, targets: bool
) -> None:
    targets = targets and spec.two_streams
    spec = without_zeros(spec) if left else spec
    check_padding(built(spec, seed=seed), seed, left, 2 if targets else None)


@examples(20)
@given(valid_specs(), st.integers(0, 999))
def test_one_row_is_that_row_in_a_batch(spec: Spec, seed: int) -> None:
    check_company(built(spec, seed=seed), seed)


OPEN = {
    "xlnet": {"memory.padding": "hidden"},
    "xlm": {"attention.infer_padding": "none"},
    "transformer-xl": {"memory.initial": "empty"},
}


@pytest.mark.parametrize("left", (0, 1, PADDED - LENGTH))
@pytest.mark.parametrize("name", FAMILIES)
def test_shipped_families_hold_it(name: str, left: int) -> None:
    model = built(family(name, **OPEN.get(name, {})), seed=1)
    check_padding(model, 1, left, 2 if name == "xlnet" else None)


@pytest.mark.parametrize(
    ("name", "quirk"),
    [
        ("xglm", {"position.count": "columns"}),
        ("xlm", {"position.count": "columns"}),
        ("transformer-xl", {"memory.initial": "zeros"}),
        ("xlm", {"attention.mask": []}),
    ],
)
def test_published_quirks_break_it_and_have_a_name(name: str, quirk: dict[str, Any]) -> None:
    """Left padding counted as positions, zero states before the text, and no padding rule: each is
    a field of the spec.
    """
    with pytest.raises(AssertionError, match="off by"):
        check_padding(built(family(name, **{**OPEN.get(name, {}), **quirk}), seed=1), 1, 2)


def segments(spec: Spec, seed: int) -> tuple[Model, dict[str, Any], dict[str, Any]]:
    model = built(spec, seed=seed)
    first, second = (
        inputs_for(spec, length=LENGTH, seed=seed + part, optional=False) for part in (0, 1)
    )
    for name in ("perm_mask", "target_mapping"):
        first.pop(name, None), second.pop(name, None)
    return model, first, second


def check_remembered_padding(spec: Spec, seed: int) -> None:
    """The second segment's answers with the first one padded on the left are those without that
    padding.
    """
    model, first, second = segments(spec, seed)
    plain = model(**alone(spec, first), use_memory=True).memory
    call = padded_call(
        spec, first, inputs_for(spec, length=PADDED, seed=seed + 2, optional=False), PADDED - LENGTH
    )
    call.pop("perm_mask", None)
    memory = model(**call, use_memory=True).memory
    full = (
        {**second, "encoder_attention_mask": call["encoder_attention_mask"]}
        if spec.attention.cross
        else second
    )
    if spec.attention.cross:
        full["encoder_hidden_states"] = call["encoder_hidden_states"]
    expected = answer(model(**alone(spec, second), memory=plain))[0]
    agree(answer(model(**full, memory=memory))[0], expected, "answers after remembered padding")


@examples(30)
@given(
    valid_specs(padding=True, quirks=False, memories=("keys_values", "recurrent")),
    st.integers(0, 999),
)
def test_remembered_padding_changes_nothing_later(spec: Spec, seed: int) -> None:
    spec = without_zeros(spec)
    if isinstance(spec.memory, axes.Recurrent):
        grown = spec.memory.model_copy(update={"length": None, "reuse": None})
        spec = spec.model_copy(update={"memory": grown})
    if spec.position.kind == "from_end" or spec.attention.same_length == "remembered":
        plain = [rule for rule in spec.attention.mask if rule != "same_length"]
        spec = spec.model_copy(
            update={"attention": spec.attention.model_copy(update={"mask": tuple(plain)})}
        )
    if "same_length" not in spec.attention.mask:
        check_remembered_padding(spec, seed)


def test_xlnet_as_published_lets_later_segments_see_remembered_padding() -> None:
    check_remembered_padding(family("xlnet", **{"memory.padding": "hidden"}), 3)
    with pytest.raises(AssertionError, match="off by"):
        check_remembered_padding(family("xlnet", **{"memory.padding": "attended"}), 3)


@examples(12)
@given(valid_specs(padding=True), st.integers(0, 999))
def test_the_three_ways_to_name_padding_are_one(spec: Spec, seed: int) -> None:
    model = built(spec, seed=seed)
    inputs = inputs_for(spec, length=LENGTH, seed=seed)
    lengths = torch.tensor([LENGTH, LENGTH - 2])
    mask = (torch.arange(LENGTH) < lengths[:, None]).long()
    expected = answer(model(**inputs, attention_mask=mask))
    agree(answer(model(**inputs, input_mask=1 - mask)), expected, "answers with input_mask")
    agree(answer(model(**inputs, lengths=lengths)), expected, "answers with lengths")
    agree(
        answer(model(**inputs, attention_mask=mask.bool())), expected, "answers with a boolean mask"
    )


def test_a_mask_inferred_from_padding_ids_is_the_one_it_counts() -> None:
    """XLM reads padding from the ids where no mask is given, taking it to be on the right."""
    spec = family("xlm")
    model = built(spec)
    inputs = inputs_for(spec, length=LENGTH, optional=False)
    inputs["input_ids"][1, -2:] = spec.embeddings.tables.tokens.padding or 0
    mask = (torch.arange(LENGTH) < torch.tensor([LENGTH, LENGTH - 2])[:, None]).long()
    agree(answer(model(**inputs)), answer(model(**inputs, attention_mask=mask)), "answers")


def test_memory_keeps_the_mask_of_each_row() -> None:
    spec = family("xglm")
    model = built(spec)
    memory = model(**inputs_for(spec, length=4, padded=True), use_memory=True).memory
    assert memory.mask.tolist() == [[False, True, True, True], [True, True, False, False]]
    assert replace(memory, mask=None).batch == 2

"""Nobody sees what comes later: in the text under a causal mask, in the factorization order under a
permutation.
"""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from engine import Spec
from engine.laws.calls import changed_from, inputs_for, order_mask
from engine.laws.compare import agree
from engine.laws.order import LENGTH, check_later_tokens, check_order, streams_of
from tests.searching import examples
from tests.strategies import FAMILIES, built, family, valid_specs

SHIPPED: dict[str, dict[str, Any]] = {
    "xlnet": {"attention.mask": ["padding", "causal", "permutation"]},
    "xlm": {"attention.mask": ["causal"]},
    "xlm-roberta-xl": {"attention.mask": ["padding", "causal"]},
}


@examples(30)
@given(valid_specs(causal=True), st.integers(0, 999), st.integers(1, LENGTH - 1))
def test_a_token_never_changes_an_answer_before_it(spec: Spec, seed: int, place: int) -> None:
    check_later_tokens(built(spec, seed=seed), seed, place)


@pytest.mark.parametrize("name", FAMILIES)
def test_shipped_families_are_causal_under_a_causal_mask(name: str) -> None:
    check_later_tokens(built(family(name, **SHIPPED.get(name, {})), seed=1), 1, 3)


@examples(20)
@given(valid_specs(streams="two"), st.integers(0, 999), st.integers(0, LENGTH - 1))
def test_a_permutation_lets_a_token_change_only_answers_later_in_the_order(
    spec: Spec, seed: int, place: int
) -> None:
    check_order(built(spec, None, seed=seed), seed, place)


def test_xlnet_sees_only_earlier_tokens_of_the_order() -> None:
    check_order(built(family("xlnet"), None, seed=2), 2, 3)


@examples(15)
@given(
    valid_specs(streams="two", causal=False, memories=("none", "recurrent")), st.integers(0, 999)
)
def test_later_tokens_of_the_order_do_change(spec: Spec, seed: int) -> None:
    """The last token of an order is reached by the first: the law above does not hold because
    nothing is seen.
    """
    if spec.attention.window or spec.layers or "same_length" in spec.attention.mask:
        spec = Spec.model_validate({**spec.to_dict(), "layers": None, "attention": {**spec.to_dict()["attention"], "window": None,
                                    "mask": ["permutation"], "infer_padding": "none"}})  # fmt: skip
    model = built(spec, None, seed=seed)
    order = torch.arange(LENGTH).expand(2, -1)
    inputs = inputs_for(spec, length=LENGTH, seed=seed, optional=False)
    inputs |= {
        "perm_mask": order_mask(order),
        "target_mapping": torch.eye(LENGTH).expand(2, -1, -1),
    }
    other = changed_from(inputs, spec, 0)
    other["input_ids"][:, 1:] = inputs["input_ids"][:, 1:]
    query, changed = streams_of(model, inputs)[1], streams_of(model, other)[1]
    assert not torch.allclose(changed[:, -1], query[:, -1])
    agree(changed[:, 0], query[:, 0], "the query state of the changed token")

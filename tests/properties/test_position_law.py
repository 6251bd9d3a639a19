"""Relative positions: shifting the whole input changes nothing; absolute ones notice."""

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from engine import Spec
from engine.laws.calls import answer, inputs_for
from engine.laws.compare import agree
from engine.laws.order import check_distances, goes_by_length
from engine.laws.table import not_rotary
from tests.searching import examples
from tests.strategies import SHIFTABLE, built, family, valid_specs

LENGTH = 5


@examples(20)
@given(valid_specs(positions=("rotary",)), st.integers(0, 999), st.integers(1, 500))
def test_rotary_positions_notice_only_distances(spec: Spec, seed: int, step: int) -> None:
    assume(not_rotary(spec) is None)
    model = built(spec, seed=seed)
    check_distances(model, seed, step)
    inputs = inputs_for(spec, length=LENGTH, seed=seed, targets=2)
    places = torch.arange(LENGTH).expand(2, -1)
    expected = answer(model(**inputs))
    spread = answer(model(**inputs, position_ids=places * 3))
    single = spec.attention.window == 1 or spec.attention.same_length == "remembered"
    if not single and spec.attention.score[-1] == "content" and len(spec.attention.mask) == 0:
        assert not torch.allclose(spread, expected, atol=1e-9), "distances are noticed"


@examples(20)
@given(
    valid_specs(positions=SHIFTABLE, causal=True, padding=False, memories=("none",), streams="one"),
    st.integers(0, 999),
)
def test_what_stands_out_of_sight_does_not_move_the_rest(spec: Spec, seed: int) -> None:
    """Under a window, tokens that no row can reach any more shift the rest without changing its
    answers.
    """
    settled = {**spec.to_dict()["attention"], "mask": ["causal"], "window": 2}
    spec = Spec.model_validate({**spec.to_dict(), "attention": settled, "layers": None})
    assume(not goes_by_length(spec))
    layers = spec.dims.layers
    model = built(spec, seed=seed)
    short = inputs_for(spec, length=LENGTH + layers, seed=seed)
    more = inputs_for(spec, length=4, seed=seed + 1)
    longer = {
        name: torch.cat((more[name], value), dim=1)
        if name in ("input_ids", "token_type_ids", "langs")
        else value
        for name, value in short.items()
    }
    agree(
        answer(model(**longer))[:, 4 + layers :],
        answer(model(**short))[:, layers:],
        "answers further right",
    )


@pytest.mark.parametrize("name", ("xlm", "xlm-roberta-xl", "xglm"))
def test_absolute_positions_notice_a_shift(name: str) -> None:
    spec = family(name)
    model = built(spec)
    inputs = inputs_for(spec, length=LENGTH)
    first = 0
    if name == "xlm-roberta-xl":
        padding = spec.embeddings.tables.tokens.padding
        assert padding is not None
        first = padding + 1
    places = torch.arange(LENGTH).expand(2, -1) + first
    expected = answer(model(**inputs))
    agree(answer(model(**inputs, position_ids=places)), expected, "positions as counted")
    assert not torch.allclose(answer(model(**inputs, position_ids=places + 3)), expected)


def test_mirrored_half_sees_mirrored_distances() -> None:
    """bi_data: the second half of a batch reads distances with the other sign, so it answers as the
    text reversed.
    """
    spec = family(
        "xlnet", **{"position.reversed_half": True, "attention.score": ["content", "position"]}
    )
    model = built(spec)
    row = inputs_for(spec, batch=1, length=LENGTH, permuted=False, optional=False)["input_ids"]
    states = answer(model(torch.cat((row, row.flip(1)))))
    agree(states[1].flip(0), states[0], "the reversed text in the mirrored half")

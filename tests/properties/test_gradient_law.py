"""Every parameter receives a finite gradient, and recomputing blocks in the backward pass changes
none of them.
"""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from engine import Spec
from engine.kernels.linear import build_linear, linear
from engine.laws.calls import answer, inputs_for
from engine.laws.learning import (
    check_checkpointing,
    check_gradients,
    covering,
    pulled,
    spreads,
)
from tests.searching import examples
from tests.strategies import FAMILIES, built, family, valid_specs


@examples(30)
@given(valid_specs(settle={"ffn.activation": "gelu"}).filter(spreads), st.integers(0, 999))
def test_every_parameter_receives_a_gradient(spec: Spec, seed: int) -> None:
    check_gradients(built(spec, seed=seed), seed)


@examples(15)
@given(
    valid_specs(positions=("rotary", "relative"), settle={"ffn.activation": "gelu"}).filter(
        spreads
    ),
    st.integers(0, 99),
)
def test_every_parameter_of_the_score_terms_receives_a_gradient(spec: Spec, seed: int) -> None:
    """Random specs seldom meet segments and query biases under these positions: here they always
    do.
    """
    data = spec.to_dict()
    data["attention"] |= {
        "score": [*dict.fromkeys((*data["attention"]["score"], "segment"))],
        "query_bias": "per_layer",
    }
    data["embeddings"]["tables"]["segments"] = None
    check_gradients(built(Spec.model_validate(data), seed=seed), seed)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_parameter_of_the_shipped_families_receives_a_gradient(name: str) -> None:
    check_gradients(built(family(name), seed=3), 3)


@examples(15)
@given(valid_specs(), st.integers(0, 999))
def test_gradient_checkpointing_is_one_switch_and_changes_no_gradient(
    spec: Spec, seed: int
) -> None:
    check_checkpointing(built(spec, seed=seed), seed)


@pytest.mark.parametrize("name", FAMILIES)
def test_gradient_checkpointing_of_the_shipped_families(name: str) -> None:
    """With dropout: blocks are recomputed under the random state that they first had."""
    spec = family(name, **{"dropout.residual": 0.3, "dropout.attention": 0.3})
    model = built(spec).train()
    inputs = inputs_for(spec, targets=2)
    gradients = []
    for switch in (False, True):
        model.gradient_checkpointing = switch
        torch.manual_seed(5)
        gradients.append(pulled(model, inputs))
    for name, expected in gradients[0].items():
        if expected is not None:
            torch.testing.assert_close(
                gradients[1][name], expected, rtol=1e-9, atol=1e-12, msg=f"gradient of {name}"
            )


def test_gradient_checkpointing_recomputes() -> None:
    """The switch does something: each block runs a second time in the backward pass."""
    model = built(family("xglm")).train()
    model.gradient_checkpointing = True
    runs: list[int] = []
    for block in model.blocks:
        block.register_forward_pre_hook(lambda *_: runs.append(1))
    answer(model(**inputs_for(model.spec))).sum().backward()
    assert len(runs) == 2 * model.spec.dims.layers


@pytest.mark.parametrize("name", ["xlnet", "xlm", "xglm"])
def test_a_parameter_that_learns_alone_has_the_gradient_that_it_has_among_others(name: str) -> None:
    """In float32, where products take a path of their own."""
    spec = family(name)
    model, call = built(spec, dtype=torch.float32), covering(spec, 0)
    call = {
        key: value.float() if value.is_floating_point() else value for key, value in call.items()
    }
    expected = pulled(model, call)
    for chosen in expected:
        for other, parameter in model.named_parameters():
            parameter.requires_grad_(other == chosen)
        found, wanted = pulled(model, call)[chosen], expected[chosen]
        assert (found is None) == (wanted is None), chosen
        assert (
            found is None or wanted is None or torch.allclose(found, wanted, rtol=1e-4, atol=1e-5)
        ), chosen


def test_vectors_learn_like_rows() -> None:
    layer, states = build_linear(6, 4), torch.randn(6, requires_grad=True)
    torch.nn.init.normal_(layer.weight), torch.nn.init.normal_(layer.bias)
    torch.autograd.backward(linear(layer, states).sum())
    assert states.grad is not None and layer.weight.grad is not None
    assert torch.allclose(states.grad, layer.weight.sum(0)) and torch.allclose(
        layer.weight.grad, states.expand(4, -1)
    )

"""All ways through attention agree: fused and with weights kept, in every dtype, and with nobody to
see.
"""

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from engine import Spec
from engine.kernels.attention import Softmax, additive, attend_whole, fused, plain, unfused
from engine.kernels.tuning import tuning
from engine.laws.calls import answer, inputs_for
from engine.laws.compare import agree
from engine.laws.ways import check_kept_weights
from tests.searching import examples
from tests.strategies import FAMILIES, built, family, valid_specs

needs_blocks = pytest.mark.skipif(
    not torch.backends.mkldnn.is_available(), reason="no oneDNN on this processor"
)
DTYPES = (torch.float32, torch.bfloat16, torch.float16)


def call_of(spec: Spec, seed: int, dtype: torch.dtype = torch.float64) -> dict[str, Any]:
    padded = "padding" in spec.attention.mask
    return inputs_for(spec, length=6, seed=seed, targets=2, padded=padded, dtype=dtype)


@examples(30)
@given(valid_specs(), st.integers(0, 999))
def test_attention_weights_do_not_change_the_answer(spec: Spec, seed: int) -> None:
    check_kept_weights(built(spec, seed=seed), seed)


@pytest.mark.parametrize("name", FAMILIES)
def test_attention_weights_of_the_shipped_families(name: str) -> None:
    check_kept_weights(built(family(name), seed=2), 2)


@needs_blocks
@examples(30)
@given(valid_specs(), st.integers(0, 999))
def test_prepacked_weights_do_not_change_the_answer(spec: Spec, seed: int) -> None:
    """Over calls of other lengths, and with what memory holds of the first."""
    plain, fast = (built(spec, seed=seed, dtype=torch.float32) for _ in range(2))
    fast.prepack()
    memories: list[Any] = [None, None]
    with torch.no_grad():
        for length in (6, 4, 8):
            call = inputs_for(spec, length=length, seed=seed, targets=2, dtype=torch.float32)
            for remembered in (False, True):
                given = [
                    {**call, "memory": memory} if remembered and memory else call
                    for memory in memories
                ]
                found, expected = fast(**given[0]), plain(**given[1])
                agree(answer(found), answer(expected), f"answers to {length} tokens", 1e-4)
            memories = [found.memory, expected.memory]


@examples(30)
@given(valid_specs(), st.integers(0, 999), st.sampled_from(DTYPES), st.booleans())
def test_every_dtype_runs_with_finite_gradients(
    spec: Spec, seed: int, dtype: torch.dtype, keep: bool
) -> None:
    model = built(spec, seed=seed, dtype=dtype).train()
    result = model(**call_of(spec, seed, dtype), output_attentions=keep, output_hidden_states=True)
    states = result.hidden_states
    assert all(state.dtype == dtype for state in states), "states keep the dtype of the weights"
    found = answer(result)
    assert bool(found.isfinite().all())
    (found.float().sum() / found.numel()).backward()
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    assert gradients and all(bool(gradient.isfinite().all()) for gradient in gradients)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FAMILIES)
def test_half_precision_stays_near_single(name: str, dtype: torch.dtype) -> None:
    spec = family(name)
    states = built(spec, None)(**call_of(spec, 1)).last_hidden_state
    found = built(spec, None, dtype=dtype)(**call_of(spec, 1, dtype)).last_hidden_state
    worst = float((found - states).detach().abs().max() / states.detach().abs().max())
    assert worst < {torch.float32: 1e-5, torch.float16: 0.02, torch.bfloat16: 0.12}[dtype]


@pytest.mark.parametrize("padded", (False, True))
@pytest.mark.parametrize("name", FAMILIES)
def test_scores_made_in_steps_stay_near_single(name: str, padded: bool) -> None:
    """Inference in bfloat16 over more than one block of rows, for which the processor makes the
    scores itself.
    """
    table = {"position.size": 300} if family(name).position.kind == "learned" else {}
    spec = family(name, **table)
    padded = padded and "padding" in spec.attention.mask
    call, half = (
        inputs_for(
            spec, length=tuning().tile_rows + 20, seed=3, targets=2, padded=padded, dtype=dtype
        )
        for dtype in (torch.float64, torch.bfloat16)
    )
    with torch.no_grad():
        states = answer(built(spec, None)(**call))
        fused, in_steps = torch.enable_grad(), torch.no_grad()
        worst = []
        for mode in (fused, in_steps):
            with mode:
                found = answer(built(spec, None, dtype=torch.bfloat16)(**half)).detach()
            worst.append(float((found - states).abs().max() / states.abs().max()))
    assert worst[1] < min(0.12, 2 * worst[0])


@pytest.mark.parametrize("causal", (False, True))
@pytest.mark.parametrize("way", (fused, unfused))
def test_every_way_gives_what_the_plain_definition_gives(way: Any, causal: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    query, bias = (
        torch.randn(2, 4, 5, n, dtype=torch.float64, generator=generator) for n in (3, 5)
    )
    key, value = (
        torch.randn(2, 2, 5, 3, dtype=torch.float64, generator=generator) for _ in range(2)
    )
    allowed = torch.rand(2, 1, 5, 5, generator=generator) > 0.4
    allowed[0, 0, 2] = False
    softmax = Softmax(0.5, causal, head_mask=torch.tensor([1.0, 0.5, 0.0, 2.0]).double())
    mask = None if causal else additive(allowed, torch.float64)
    terms = None if causal else bias
    expected, _ = plain(query, key, value, terms, mask, softmax)
    agree(way(query, key, value, terms, mask, softmax), expected, "weighted values")


@examples(20)
@given(valid_specs(padding=True), st.integers(0, 999), st.sampled_from(DTYPES), st.booleans())
def test_a_row_of_nothing_but_padding_is_finite(
    spec: Spec, seed: int, dtype: torch.dtype, keep: bool
) -> None:
    model = built(spec, seed=seed, dtype=dtype).train()
    inputs = call_of(spec, seed, dtype)
    inputs["attention_mask"] = torch.tensor([[0] * 6, [1] * 6])
    found = answer(model(**inputs, output_attentions=keep))
    assert bool(found.isfinite().all())
    (found.float().sum() / found.numel()).backward()
    assert all(bool(p.grad.isfinite().all()) for p in model.parameters() if p.grad is not None)
    other = {**inputs, "attention_mask": torch.ones(2, 6, dtype=torch.long)}
    agree(
        answer(model(**inputs))[1].double(),
        answer(model(**other))[1].double(),
        "the other row",
        tolerance=0.02,
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("keep", (False, True))
@pytest.mark.parametrize("in_steps", (False, True))
@pytest.mark.parametrize("biased", (False, True))
def test_rows_that_see_nobody_yield_zeros(
    dtype: torch.dtype, keep: bool, biased: bool, in_steps: bool
) -> None:
    generator = torch.Generator().manual_seed(0)
    query, key, value = (
        torch.randn(2, 2, 4, 3, generator=generator).to(dtype).requires_grad_() for _ in range(3)
    )
    bias = (
        torch.randn(2, 2, 4, 4, generator=generator).to(dtype).requires_grad_() if biased else None
    )
    allowed = torch.rand(2, 1, 4, 4, generator=generator) > 0.3
    allowed[0, 0, 1] = False
    allowed[1, 0] = False
    softmax = Softmax(0.5, keep_weights=keep, unfused=in_steps)
    mask = additive(allowed, dtype)
    mixed, weights = attend_whole(query, key, value, bias, mask, softmax)
    assert torch.equal(mixed[0, :, 1], torch.zeros_like(mixed[0, :, 1]))
    assert torch.equal(mixed[1], torch.zeros_like(mixed[1]))
    assert bool(mixed.isfinite().all()) and float(mixed[0, :, 0].detach().abs().max()) > 0
    if weights is not None:
        assert float(weights[1].detach().abs().max()) == 0
    mixed.float().sum().backward()
    for tensor in (query, key, value, *([bias] if bias is not None else [])):
        assert bool(tensor.grad.isfinite().all())


def test_silenced_heads_add_nothing() -> None:
    """A head mask of zeros leaves of attention only the output bias."""
    spec = family(
        "xglm", **{"attention.bias": {"query": True, "key": True, "value": True, "output": False}}
    )
    model = built(spec, None)
    inputs = inputs_for(spec)
    silent = model(
        **inputs, head_mask=torch.zeros(spec.dims.heads, dtype=torch.float64)
    ).last_hidden_state
    for block in model.blocks:
        torch.nn.init.zeros_(block.get_parameter("attention.output.weight"))
    agree(silent, model(**inputs).last_hidden_state, "states")


def test_memory_of_either_form_takes_a_cast() -> None:
    spec = family("transformer-xl")
    model = built(spec)
    memory = model(**inputs_for(spec), use_memory=True).memory
    cast = memory.to(torch.float32)
    assert cast.dtype == torch.float32 and memory.dtype == torch.float64
    assert replace(cast, mask=None).length == memory.length

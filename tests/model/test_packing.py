"""Rows of unequal lengths run apart from their padding give the same answers, losses and gradients."""

from typing import Any

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor

from engine import InputError, Model, Spec
from engine.laws.calls import inputs_for
from engine.laws.compare import agree
from engine.spec import axes
from engine.unpadded import run_unpadded
from tests.searching import examples
from tests.strategies import built, family, valid_specs

BATCH, LENGTH = 5, 9


def unequal(spec: Spec, seed: int, side: str) -> tuple[dict[str, Any], Tensor]:
    """A call over rows of 1 to 9 tokens, padded at the right, the left or both, and which tokens
    are real.
    """
    call = inputs_for(spec, batch=BATCH, length=LENGTH, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, LENGTH + 1, (BATCH, 1), generator=generator)
    room = LENGTH - lengths
    start = {"right": 0 * room, "left": room, "both": room // 2}[side]
    places = torch.arange(LENGTH)
    real = (places >= start) & (places < start + lengths)
    return {**call, "attention_mask": real.long()}, real


def learned(model: Model, loss: Tensor) -> dict[str, Tensor]:
    model.zero_grad(set_to_none=True)
    torch.autograd.backward(loss)
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def check(spec: Spec, seed: int, side: str, tokens: int) -> None:
    model = built(spec, seed=seed)
    call, real = unequal(spec, seed, side)
    real = (
        real
        if "target_mapping" not in call
        else torch.ones(call["target_mapping"].shape[:2], dtype=torch.bool)
    )
    if model.head is not None:
        labels = torch.randint(
            0, spec.dims.vocab, real.shape, generator=torch.Generator().manual_seed(seed)
        )
        call["labels"] = labels.masked_fill(~real, -100)
        call["output_logits"] = True
    expected, found = model(**call), run_unpadded(model, tokens, **call)
    agree(found.last_hidden_state[real], expected.last_hidden_state[real], "states", 1e-10)
    if model.head is None:
        return
    agree(found.logits[real], expected.logits[real], "logits", 1e-10)
    agree(found.losses, expected.losses, "losses", 1e-10)
    agree(found.loss, expected.loss, "loss", 1e-10)
    assert expected.loss is not None and found.loss is not None
    wanted, gradients = learned(model, expected.loss), learned(model, found.loss)
    largest = max(float(gradient.abs().max()) for gradient in wanted.values())
    for name, gradient in wanted.items():
        other = gradients.get(name, torch.zeros_like(gradient))
        assert float((other - gradient).abs().max()) <= 1e-10 * largest, name


@examples(30)
@given(
    valid_specs(padding=True, quirks=False),
    st.integers(0, 999),
    st.sampled_from(("right", "left", "both")),
    st.sampled_from((1, 20, 1000)),
)
def test_random_specs(spec: Spec, seed: int, side: str, tokens: int) -> None:
    assume(not getattr(spec.position, "reversed_half", False))
    check(spec, seed, side, tokens)


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("name", ["xlnet", "xlm", "xlm-roberta-xl", "xglm"])
def test_families(name: str, side: str) -> None:
    check(family(name), 1, side, 20)


def test_fewer_places_are_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of 1, 2, 3, 40 and 100 tokens cost little more than 146 places in place of 500."""
    monkeypatch.setattr("engine.unpadded.FEW", 1)
    model = built(family("xglm"), None)
    places = []
    model.blocks[0].register_forward_pre_hook(
        lambda _, given: places.append(given[0].shape[0] * given[0].shape[1])
    )
    lengths = torch.tensor([3, 100, 1, 40, 2])
    mask = torch.arange(100) < lengths[:, None]
    run_unpadded(model, input_ids=torch.full((5, 100), 7), attention_mask=mask)
    assert 146 <= sum(places) < 160 and max(places) == 100


def test_what_depends_on_padding_is_refused() -> None:
    model = built(family("xlm"), "sequence_classification", num_labels=2)
    ids = torch.full((2, 4), 7)
    with pytest.raises(InputError, match="only a bare body and language-model heads"):
        run_unpadded(model, input_ids=ids, attention_mask=torch.ones(2, 4))
    model = built(family("xglm"))
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])
    with pytest.raises(InputError, match="labels at padding must be -100"):
        run_unpadded(model, input_ids=ids, attention_mask=mask, labels=ids)
    with pytest.raises(InputError, match="by pair"):
        run_unpadded(model, input_ids=ids, attention_mask=torch.ones(2, 4, 4))
    with pytest.raises(InputError, match="rows run apart take no 'logits_to_keep'"):
        run_unpadded(model, input_ids=ids, attention_mask=mask, logits_to_keep=1)
    agree(run_unpadded(model, input_ids=ids).logits, model(ids).logits, "without padding", 0.0)
    spec = family("xlnet")
    assert isinstance(spec.position, axes.RelativePosition)
    mirrored = built(
        spec.model_copy(
            update={"position": spec.position.model_copy(update={"reversed_half": True})}
        )
    )
    with pytest.raises(InputError, match="reversed_half"):
        run_unpadded(mirrored, input_ids=ids, attention_mask=mask)


def test_what_lies_past_the_padding_keeps_its_distance() -> None:
    model = built(family("xlnet"), None)
    call = {
        "input_ids": torch.randint(2, 30, (3, 6)),
        "attention_mask": (torch.arange(6) < torch.tensor([[3], [6], [1]])),
    }
    mapping = torch.nn.functional.one_hot(torch.tensor([6, 0]), 7).expand(3, -1, -1)
    expected = model(**call, target_mapping=mapping).last_hidden_state
    agree(
        run_unpadded(model, 6, **call, target_mapping=mapping).last_hidden_state,
        expected,
        "states",
        1e-10,
    )


def test_an_encoder_may_be_masked_by_pair() -> None:
    spec = family("xglm", **{"attention.cross": True})
    model, real = built(spec, None), torch.arange(6) < torch.tensor([[3], [6], [1]])
    call = {
        "input_ids": torch.randint(2, 30, (3, 6)),
        "attention_mask": real,
        "encoder_hidden_states": torch.randn(3, 4, spec.dims.model, dtype=torch.float64),
        "encoder_attention_mask": torch.rand(3, 6, 4) < 0.7,
    }
    expected, found = (
        model(**call).last_hidden_state,
        run_unpadded(model, 6, **call).last_hidden_state,
    )
    agree(found[real], expected[real], "states", 1e-10)

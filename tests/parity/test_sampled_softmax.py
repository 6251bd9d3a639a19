"""The sampled softmax: against the authors' function, and what it is for."""

import json

import pytest
import torch

from engine import SpecError, build_model
from engine.laws.calls import randomise
from engine.network import output_layer
from engine.network.output_layer import draw_tokens, expected_count, log_uniform, sampled_losses
from tests.parity.golden import golden
from tests.parity.helpers import assert_close_relative

TINY = {
    "dims": {"layers": 1, "model": 12, "heads": 2, "vocab": 40},
    "heads": {"default": "masked_lm", "output": {"bias": True, "samples": 6}},
    "name": "tiny",
}


def test_like_the_authors_function(monkeypatch: pytest.MonkeyPatch) -> None:
    """Losses and gradients on a plain table, with some of the drawn tokens among the labels."""
    case = golden("authors_sampled_logits")
    settings, tensors = json.loads(case.config), case.tensors
    drawn = tensors["inputs.negative_samples"]
    monkeypatch.setattr(output_layer, "draw_tokens", lambda probability, tries: drawn)
    weight, bias = (
        tensors[f"weights.{name}"].clone().requires_grad_() for name in ("embedding.weight", "bias")
    )
    states, labels = tensors["inputs.inputs"].flatten(0, 1), tensors["inputs.labels"].flatten()
    losses = sampled_losses(states, labels, weight, bias, settings["n_sample"])
    assert_close_relative(losses, tensors["outputs.losses"].flatten(), "losses")
    torch.autograd.backward(losses.mean())
    assert_close_relative(
        weight.grad, tensors["gradients.embedding.weight"], "gradient of the table"
    )
    assert_close_relative(bias.grad, tensors["gradients.bias"], "gradient of the bias")


def test_chances_and_expected_counts() -> None:
    """The log-uniform law and how often a token is expected, as the authors compute them; chances
    sum to one.
    """
    case = golden("authors_sampled_logits")
    settings = json.loads(case.config)
    probability = log_uniform(settings["range_max"], torch.device("cpu"))
    assert float(probability.sum()) == pytest.approx(1)
    assert_close_relative(probability.float(), case.tensors["inputs.probability"], "probability")
    expected = expected_count(probability, 2 * settings["n_sample"]).log()
    assert_close_relative(
        expected.float(), case.tensors["inputs.log_expected_count"], "log of the expected count"
    )


def test_draws_follow_the_law() -> None:
    """Over many draws each token turns up as often as its chance says; tokens are different, and
    ascend.
    """
    torch.manual_seed(0)
    probability, tries, rounds = log_uniform(30, torch.device("cpu")), 8, 4000
    seen = torch.zeros(30, dtype=torch.float64)
    for _ in range(rounds):
        drawn = draw_tokens(probability, tries)
        assert bool((drawn.diff() > 0).all()) and len(drawn) <= tries
        seen[drawn] += 1
    chance = 1 - (1 - probability) ** tries
    deviation = (chance * (1 - chance) / rounds).sqrt()
    assert bool(((seen / rounds - chance).abs() < 5 * deviation).all())


def test_only_training_samples() -> None:
    """Training leaves logits out unless asked; evaluation scores the whole vocabulary, as does a
    model without samples.
    """
    model = build_model(TINY, seed=0)
    randomise(model)
    whole = build_model(TINY, overrides={"heads.output.samples": None})
    whole.load_state_dict(model.state_dict())
    ids = torch.arange(20).view(2, 10)
    labels = ids.clone()
    labels[0, :4] = -100
    sampled = model.train()(ids, labels=labels)
    assert sampled.logits is None
    assert model(ids, labels=labels, output_logits=True).logits.shape == (2, 10, 40)
    assert not sampled.losses[0, :4].any() and bool((sampled.losses[1] > 0).all())
    assert sampled.loss.item() == pytest.approx(sampled.losses.sum().item() / 16)
    assert torch.equal(
        model.eval()(ids, labels=labels).losses, whole.eval()(ids, labels=labels).losses
    )


def test_training_on_samples_teaches_the_whole() -> None:
    """Steps on the sampled loss lower the loss over the whole vocabulary."""
    torch.manual_seed(0)
    model = build_model(TINY, seed=0)
    ids = torch.randint(40, (4, 10))
    before = model.eval()(ids, labels=ids).loss.item()
    optimiser = torch.optim.Adam(model.parameters(), lr=0.02)
    model.train()
    for _ in range(60):
        optimiser.zero_grad()
        torch.autograd.backward(model(ids, labels=ids).loss)
        optimiser.step()
    assert model.eval()(ids, labels=ids).loss.item() < 0.3 * before


@pytest.mark.parametrize("option", [{"samples": 6}, {"scale": "sqrt_model"}])
def test_an_adaptive_layer_is_not_sampled(option: dict[str, object]) -> None:
    """Both options belong to the plain output layer, and the error says so."""
    output = {"kind": "adaptive", "cutoffs": [10], **option}
    with pytest.raises(SpecError, match=rf"heads\.output\.{next(iter(option))}.*linear"):
        build_model(TINY, overrides={"heads.output": output})

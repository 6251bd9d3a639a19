"""Mixtures of experts: each way to run them gives the definition, and tokens are spread by a loss."""

from typing import Any

import pytest
import torch

from engine import build_model, load_spec, run_unpadded
from engine.kernels.experts import Choice, grouped, plain
from engine.laws.calls import randomise
from engine.laws.compare import agree
from engine.network.experts import ExpertMaps, Experts
from engine.training.objectives.base import Batch
from engine.training.run.step import forward
from tests.strategies import family

EXPERTS: dict[str, Any] = {
    "ffn": {
        "gated": True,
        "experts": {"count": 5, "active": 2, "load_balance": {"coefficient": 0.1}},
    }
}


def maps() -> ExpertMaps:
    spec = family("xglm", **EXPERTS)
    assert spec.ffn.experts is not None
    return randomise(ExpertMaps(spec, spec.ffn.experts)).double()


@pytest.mark.parametrize("rows", [1, 7])
def test_sorted_rows_give_the_definition(rows: int) -> None:
    """And its gradients; the last expert has no row."""
    experts, generator = maps(), torch.Generator().manual_seed(rows)
    found = []
    for way in (grouped, plain):
        generator.manual_seed(rows)
        states = torch.randn(rows, 16, generator=generator, dtype=torch.float64, requires_grad=True)
        chosen = torch.rand(rows, 4, generator=generator).argsort(1)[:, :2]
        weights = torch.rand(rows, 2, generator=generator, dtype=torch.float64, requires_grad=True)
        choice = Choice(chosen, weights)
        mixed = experts.mix(states, choice) if way is grouped else plain(states, choice, experts, 5)
        learning = [states, weights, *experts.parameters()]
        found.append([mixed, *torch.autograd.grad(mixed.square().sum(), learning)])
    for number, (one, other) in enumerate(zip(*found, strict=True)):
        agree(one, other, f"result and gradients, {number}")


def labelled(batch: int, length: int) -> dict[str, Any]:
    ids = torch.randint(3, 40, (batch, length), generator=torch.Generator().manual_seed(0))
    return {"input_ids": ids, "labels": ids}


def test_spreading_tokens_is_part_of_the_loss_in_training_alone() -> None:
    """In shares where several calls make one step, and of real tokens alone without padding."""
    dry = {"dropout": dict.fromkeys(("embeddings", "attention", "residual", "inner"), 0.0)}
    model = build_model(family("xglm", **EXPERTS, **dry), seed=0, dtype=torch.float64).train()
    call = labelled(3, 6)
    out = model(**call)
    assert out.loss is not None and out.losses is not None and out.aux_loss is not None
    agree(out.loss, out.losses.mean() + out.aux_loss, "loss")
    # One number at least, where tokens are spread evenly.
    assert 0.1 < float(out.aux_loss.detach()) < 0.5
    batch = Batch(dict(call), 15, (0, 1, 2))
    part = forward(model, batch, "float32", of=60)
    agree(part.loss, out.loss / 4, "share of a step")
    mask = (torch.arange(6) < torch.tensor([[6], [4], [4]])).long()
    padded = {**call, "attention_mask": mask, "labels": call["labels"].masked_fill(mask == 0, -100)}
    whole, alone = model(**padded), run_unpadded(model, **padded)
    assert whole.aux_loss is not None and alone.aux_loss is not None
    assert alone.loss is not None and alone.losses is not None
    agree(alone.loss - alone.aux_loss, whole.loss - whole.aux_loss, "loss of labels")
    out = model.eval()(**call)
    assert out.aux_loss is None and out.losses is not None
    agree(out.loss, out.losses.mean(), "loss in evaluation")


def test_groups_and_correction_choose_and_do_not_weigh() -> None:
    """Scores 1, 3, 2 | 5, 0, 4 of two groups: the better group is chosen, then its best two."""
    changes = {"count": 6, "active": 2, "score": "sigmoid", "normalize": False, "correction_bias": True,
               "groups": {"count": 2, "active": 1, "score": "best_two"}}  # fmt: skip
    spec = load_spec("tiny/xglm", {"ffn.experts": changes, "dims.layers": 1})
    assert spec.ffn.experts is not None
    layer = Experts(spec, spec.ffn.experts)
    assert layer.correction_bias is not None
    scores = torch.tensor([[0.1, 0.3, 0.2, 0.5, 0.0, 0.4]])
    choice = layer._choose(scores, torch.float32)
    assert choice.experts.tolist() == [[3, 5]]
    torch.testing.assert_close(choice.weights, torch.tensor([[0.5, 0.4]]))
    with torch.no_grad():
        layer.correction_bias[:3] = 1.0
    choice = layer._choose(scores, torch.float32)
    assert choice.experts.tolist() == [[1, 2]]
    torch.testing.assert_close(choice.weights, torch.tensor([[0.3, 0.2]]))

"""Every registered head on randomly drawn specs: it trains, every parameter learns, and labels may
be ignored.
"""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from engine import InputError, Model, Spec
from engine.laws.calls import inputs_for
from engine.laws.compare import agree
from engine.spec.axes import Dropout
from heads import registered_heads
from tests.searching import examples
from tests.strategies import FAMILIES, built, family, valid_specs

OWN = {
    name: head for name, head in registered_heads().items() if head.__module__.startswith("heads.")
}
LENGTH, BATCH, CHOICES = 6, 2, 3


def drawn_options(head: str, spec: Spec, pick: Any) -> dict[str, Any]:
    """Options of a head, among them every pooling that the spec allows."""
    kinds: list[dict[str, Any] | None] = [
        None,
        {"kind": "cls_index"},
        {"kind": "attn"},
        {"kind": "token", "id": 0},
    ]
    kinds += [
        {"kind": kind, "padding": padding}
        for kind in ("last", "first", "mean")
        for padding in ("counted", "left_out", "from_first")
    ]
    kinds += [{"kind": "pooler"}] if spec.pooler else []
    if head == "beam_question_answering":
        return {"pooling": pick(*kinds), "start_n_top": pick(1, LENGTH), "end_n_top": pick(1, 3)}
    if head == "token_classification":
        return {"num_labels": pick(2, 4), "dropout": 0.0}
    if head in ("sequence_classification", "multiple_choice"):
        whole = {"projection": True, "projection_to_labels": True, "output": False}
        shapes = [
            {},
            {"projection": True, "activation": "tanh"},
            {"projection": True, "projection_to_labels": True},
        ]
        shapes += [whole] if head == "sequence_classification" else []
        return {"pooling": pick(*kinds), "num_labels": pick(1, 3), **pick(*shapes)}
    return {}


def labelled(
    model: Model, head: str, given: dict[str, Any], generator: torch.Generator
) -> dict[str, Any]:
    """The arguments of a call with labels for this head."""
    spec = model.spec

    def ids(limit: int, *shape: int) -> Tensor:
        return torch.randint(0, limit, shape, generator=generator)

    if head == "multiple_choice":
        fixed = ("memory",)
        given = {
            name: value
            if name in fixed
            else torch.stack([value.roll(shift, 0) for shift in range(CHOICES)], 1)
            for name, value in given.items()
        }
        return {**given, "labels": ids(CHOICES, BATCH)}
    if head == "sequence_classification":
        count = model.head.options.num_labels
        return {
            **given,
            "labels": torch.randn(BATCH, generator=generator) if count == 1 else ids(count, BATCH),
        }
    if head == "token_classification":
        return {**given, "labels": ids(model.head.options.num_labels, BATCH, LENGTH)}
    if "question_answering" in head:
        start = ids(LENGTH - 1, BATCH)
        given = {**given, "start_positions": start, "end_positions": start + 1}
        if head == "beam_question_answering":
            given["is_impossible"] = torch.tensor([1, 0])
            if model.head.pooling.options.kind == "cls_index":  # else it finds the token itself
                given["cls_index"] = ids(LENGTH, BATCH)
        return given
    return {**given, "labels": ids(spec.dims.vocab, BATCH, LENGTH)}


def trained(model: Model, given: dict[str, Any], steps: int = 5) -> tuple[float, float]:
    """The loss on a batch before and after a few small steps of plain gradient descent on it."""
    before = float(model(**given).loss.detach())
    rate = 0.02
    for _ in range(steps):
        model.zero_grad(set_to_none=True)
        loss = model(**given).loss
        torch.autograd.backward(loss)
        gradients = [
            parameter.grad for parameter in model.parameters() if parameter.grad is not None
        ]
        length = float(torch.stack([gradient.norm() for gradient in gradients]).norm())
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.grad is not None:
                    parameter.sub_(rate / steps * parameter.grad / max(length, 1e-12))
    return before, float(model(**given).loss.detach())


def check(spec: Spec, head: str, options: dict[str, Any], seed: int, padded: bool) -> None:
    model = built(spec, head, seed=seed, **options)
    for module in model.head.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    model.train()
    given = inputs_for(spec, batch=BATCH, length=LENGTH, seed=seed, padded=padded, permuted=False)
    given["input_ids"][:, 2] = 0
    call = labelled(model, head, given, torch.Generator().manual_seed(seed))
    before = {name: value.clone() for name, value in call.items()}
    first, last = trained(model, call)
    assert all(torch.equal(call[name], value) for name, value in before.items()), (
        "an argument was changed"
    )
    assert last < first
    for name, parameter in model.head.named_parameters():
        assert parameter.grad is not None, f"{name} has no gradient"
        # A bias that all places of a softmax share changes nothing.
        learns = parameter.dim() < 2 or not head.endswith(("classification", "choice", "answering"))
        assert learns or bool(parameter.grad.any()), f"{name} learns nothing"
    model.zero_grad(set_to_none=True)
    nothing = {"labels": -100, "start_positions": 10**6, "end_positions": 10**6}
    integers = {name for name in nothing if name in call and not call[name].is_floating_point()}
    if integers:
        ignored = {
            name: torch.full_like(value, nothing[name]) if name in integers else value
            for name, value in call.items()
        }
        ignored.pop("is_impossible", None)
        result = model(**ignored)
        loss = result.loss
        if result.aux_loss is not None:  # how experts are loaded is no matter of labels
            loss = loss - result.aux_loss
        torch.autograd.backward(loss)
        assert float(loss.detach()) == 0.0
        assert all(p.grad is None or bool((p.grad == 0).all()) for p in model.parameters())


@pytest.mark.parametrize("head", sorted(OWN))
@examples(8)
@given(data=st.data())
def test_a_few_steps_lower_the_loss(head, data):
    def pick(*values: Any) -> Any:
        return data.draw(st.sampled_from(values))

    two = head == "permutation_lm"
    spec = data.draw(valid_specs(head=None, streams="two" if two else None))
    padded = "padding" in spec.attention.mask and pick(False, True)
    check(spec, head, drawn_options(head, spec, pick), data.draw(st.integers(0, 9)), padded)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("head", sorted(OWN))
def test_every_head_on_every_family(name, head):
    options = {"start_n_top": 3, "end_n_top": 3} if head == "beam_question_answering" else {}
    check(family(name, dropout=dict.fromkeys(Dropout.model_fields, 0.0)), head, options, 0, False)


def test_choices_that_a_row_lacks() -> None:
    """A row with fewer choices has the answers that it has alone."""
    model = built(family("xlm-roberta-xl"), "multiple_choice")
    ids = torch.randint(5, 40, (2, 3, 6), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    mask[1, 2], mask[0, 0, 4:] = 0, 0
    labels = torch.tensor([2, 1])
    for call in ({"attention_mask": mask}, {"lengths": mask.sum(-1)}, {"input_mask": 1 - mask}):
        found = model(ids, labels=labels, **call)
        alone = model(ids[1:, :2], labels=labels[1:])
        agree(found.logits[1, :2], alone.logits[0], "logits")
        assert found.logits[1, 2] == -torch.inf
        first = model(ids[:1], attention_mask=mask[:1], labels=labels[:1])
        agree(found.loss, (first.loss + alone.loss) / 2, "loss")
    found.loss.backward()
    assert all(
        bool(weight.grad.isfinite().all())
        for weight in model.parameters()
        if weight.grad is not None
    )
    with pytest.raises(
        InputError, match="labels names choice 2 of row 1, of which the mask keeps no token"
    ):
        model(ids, labels=torch.tensor([2, 2]), attention_mask=mask)
    with pytest.raises(InputError, match="row 1 has no choice"):
        model(ids, attention_mask=mask * torch.tensor([1, 0])[:, None, None])

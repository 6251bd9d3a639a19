"""Transformer-XL against the golden files of its authors' code: attention types 0 to 3, plain and
sampled softmax.
"""

import json
from typing import Any

import pytest
import torch
from torch import Tensor

from engine import Memory, Model, Output
from engine.memory.layer import LayerMemory
from engine.network import output_layer
from tests.parity.authors import built, renamed
from tests.parity.golden import Golden, cases, golden
from tests.parity.helpers import assert_close_relative, drop_alike, smooth_dropout

ALONE = "authors_sampled_logits"
CASES = [name for name in cases("authors_") if name != ALONE]


@pytest.fixture
def fixed_draw(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Lets a case's own tokens stand for the random draw of the sampled softmax."""
    return lambda tokens: monkeypatch.setattr(
        output_layer, "draw_tokens", lambda probability, tries: tokens
    )


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("train", [False, True], ids=["eval", "train"])
def test_segments_with_memory(
    name: str, train: bool, fixed_draw: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """States, attentions, memory, losses of each segment, and all gradients of the second one."""
    case = golden(name)
    settings = json.loads(case.config)
    sampled = settings["sample_softmax"] > 0
    if case.bent:
        drop_alike(monkeypatch, smooth_dropout)
    if sampled:
        fixed_draw(case.tensors["inputs.negative_samples"])
    memory = None
    for segment, model in models(case, settings).items():
        model.train(train or sampled or case.bent)
        given = memory if remembers_alike(settings) else published_memory(case, segment, model)
        arguments = {**asked(case, segment), "memory": given}
        with torch.no_grad():
            shown = {"output_hidden_states": True, "output_attentions": True}
            answer = model(**arguments, **shown, use_memory="hidden_states")
        compare(case, segment, answer, settings)
        if segment == 1:
            model.zero_grad(set_to_none=True)
            torch.autograd.backward(model(**arguments, output_attentions=case.bent).loss)
            compare_gradients(case, model, settings)
        memory = answer.memory


def models(case: Golden, settings: dict[str, Any]) -> dict[int, Model]:
    """The model of each segment; where the case resets lengths, one with another memory and the
    same weights.
    """
    resets = case.case["called"].get("resets", {})
    made, length = {}, settings["mem_len"]
    for segment in case.segments:
        length = resets.get(str(segment), (0, 0, length))[2]
        if segment and length == made[segment - 1].spec.memory.length:
            made[segment] = made[segment - 1]
        else:
            made[segment] = built(settings, case.below("weights"), {"memory.length": length})
    return made


def remembers_alike(settings: dict[str, Any]) -> bool:
    """Whether memory follows the rule that is offered here: extended context with a memory follows
    another.
    """
    return not (settings["ext_len"] and settings["mem_len"])


def published_memory(case: Golden, segment: int, model: Model) -> Memory | None:
    """The memory that the authors' code gives to a segment."""
    if not segment:
        return None
    states = [layer.transpose(0, 1) for layer in case.several(f"outputs.{segment - 1}.mems")]
    layers = tuple(LayerMemory(hidden=state) for state in states[: model.spec.dims.layers])
    return Memory(layers, states[0].shape[1], spec=model.spec.name)


def asked(case: Golden, segment: int) -> dict[str, Tensor]:
    """Tokens, and labels for as many of the last ones as the authors have targets."""
    data, target = (case.tensors[f"inputs.{segment}.{name}"].t() for name in ("data", "target"))
    labels = torch.full_like(data, -100)
    labels[:, data.shape[1] - target.shape[1] :] = target
    return {"input_ids": data, "labels": labels}


def compare(case: Golden, segment: int, answer: Output, settings: dict[str, Any]) -> None:
    """What one segment returns; the authors' tensors are length first."""
    there = f"outputs.{segment}"
    last = case.tensors[f"{there}.last_hidden_state"].transpose(0, 1)
    assert_close_relative(answer.last_hidden_state, last, "last_hidden_state")
    states = [state.transpose(0, 1) for state in case.several(f"{there}.hidden_states")]
    assert_close_relative(answer.hidden_states, states, "hidden_states")
    attentions = [weights.permute(2, 3, 0, 1) for weights in case.several(f"{there}.attentions")]
    assert_close_relative(answer.attentions, attentions, "attentions")
    mems = [layer.transpose(0, 1) for layer in case.several(f"{there}.mems")][:-1]
    if remembers_alike(settings):
        assert (answer.memory is None) == (not mems)
    if answer.memory is not None and remembers_alike(settings):
        assert_close_relative(answer.memory.hidden_states, mems, "mems")
    name = "losses_in_order" if f"{there}.losses_in_order" in case.tensors else "losses"
    losses = case.tensors[f"{there}.{name}"].t()
    assert answer.losses is not None and not answer.losses[:, : -losses.shape[1]].any()
    assert_close_relative(answer.losses[:, -losses.shape[1] :], losses, "losses")
    assert_close_relative(answer.loss, losses.mean(), "loss")


def compare_gradients(case: Golden, model: Model, settings: dict[str, Any]) -> None:
    """Every gradient, under our names."""
    parameters = dict(model.named_parameters(remove_duplicate=False))
    compared = set()
    for name, expected in renamed(case.below("gradients"), settings):
        assert_close_relative(parameters[name].grad, expected, f"gradient of {name}")
        compared.add(id(parameters[name]))
    assert compared == {id(parameter) for parameter in model.parameters()}

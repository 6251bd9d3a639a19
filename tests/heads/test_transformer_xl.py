"""Transformer-XL's published classifier against the golden files of transformers 4.35.0."""

import json

import pytest
import torch
from safetensors import safe_open

from engine import load_model, save_model
from engine.checkpoint.config import differences
from tests.parity.golden import cases, golden
from tests.parity.helpers import assert_close_relative, assert_same_gradients
from tests.parity.test_transformer_xl import asked, opened

# Two labels are the default, which the given config.json leaves out and the written one names, for
# every head.
UNSET = [f"heads.options.{head}" for head in ("multiple_choice", "token_classification")]


@pytest.mark.parametrize("train", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("name", cases("classifier_"))
def test_two_segments(name, train, tmp_path):
    """Logits, loss and memory of both segments, and every gradient of the second loss."""
    case = golden(name)
    model = opened(case, tmp_path)
    assert not model.load_report, str(model.load_report)
    assert model.spec.heads.default == "sequence_classification"
    model.train(train)
    memory = None
    for segment in case.segments:
        there = f"outputs.{segment}"
        labels = case.tensors[f"inputs.{segment}.labels"]
        answer = model(
            **asked(case, segment), memory=memory, labels=labels, output_hidden_states=True
        )
        assert_close_relative(answer.logits, case.tensors[f"{there}.logits"], "logits")
        assert_close_relative(answer.loss, case.tensors[f"{there}.loss"], "loss")
        assert_close_relative(
            answer.hidden_states, case.several(f"{there}.hidden_states"), "hidden_states"
        )
        mems = [layer.transpose(0, 1) for layer in case.several(f"{there}.mems")]
        assert_close_relative(answer.memory.hidden_states, mems, "mems")
        memory = answer.memory
    torch.autograd.backward(answer.loss)
    without = dict.fromkeys(case.case["parameters_without_gradient"])
    assert_same_gradients(model, {**case.below("gradients"), **without})


@pytest.mark.parametrize("name", cases("classifier_"))
def test_weights_and_settings_go_back(name, tmp_path):
    case = golden(name)
    ours = opened(case, tmp_path / "theirs")
    save_model(ours, tmp_path / "back", format="huggingface")
    with safe_open(tmp_path / "back" / "model.safetensors", "pt") as file:
        written = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    # A tensor that layers share is written under all of its names; published files have one of
    # them.
    expected = {
        name: value
        for name, value in case.below("weights").items()
        if name != "transformer.pos_emb.inv_freq"
    }
    assert sorted(written) == sorted(expected)
    assert all(torch.equal(written[name], value) for name, value in expected.items())
    config, given = (
        json.loads(text) for text in ((tmp_path / "back" / "config.json").read_text(), case.config)
    )
    assert config["architectures"] == ["TransfoXLForSequenceClassification"]
    for field in ("id2label", "label2id", "problem_type", "pad_token_id"):
        assert config.get(field) == given.get(field), field
    again = load_model(tmp_path / "back")
    assert differences(ours.spec.to_dict(), again.spec.to_dict()) in ([], UNSET)


@pytest.mark.parametrize(
    ("row", "place"),
    [
        ([7, 8, 9, 10], 3),
        ([7, 8, 3, 3], 1),
        ([3, 3, 7, 8], 3),
        ([7, 3, 8, 9], 0),  # everything from the first padding on
        ([3, 7, 3, 8], 3),  # none in a row that begins with it
        ([3, 3, 3, 3], 3),
    ],
)
def test_place_before_the_first_padding(row, place, tmp_path):
    """transformers 4.35.0 takes index argmax(ids == padding) - 1, so -1 for a row that begins with
    padding.
    """
    model = opened(golden("classifier_single_label"), tmp_path)
    ids = torch.tensor([row])
    states = model(ids).last_hidden_state
    assert (torch.eq(ids, 3).long().argmax(-1) - 1) % 4 == place
    assert torch.equal(model(ids).logits, model.get_submodule("head.output")(states[:, place]))

"""An output reads like a mapping, an object, and transformers' numbered results."""

from typing import Any

import torch

from engine import Output, build_model

IDS = torch.tensor([[5, 6, 7]])


def test_names_numbers_and_attributes_agree():
    out: Output = build_model("tiny/xglm", seed=0).eval()(IDS, labels=IDS)
    assert isinstance(out, dict) and list(out) == out.keys() == [name for name, _ in out.items()]
    assert out[0] is out.loss is out["loss"] and out[1] is out.logits
    assert "losses" in out and "memory" in out
    assert not any(value is out.losses or value is out.memory for value in out[:])


def test_what_is_taken_back_is_gone():
    out = Output(loss=torch.ones(()), logits=IDS)
    out.logits = None
    assert out.keys() == ["loss"] and out.logits is None and "logits" not in out
    out["logits"] = IDS
    assert out.logits is IDS and out.keys() == ["loss", "logits"]


def test_made_anew_from_its_items():
    out = Output(loss=torch.ones(()), logits=IDS)
    kind: Any = type(out)  # as a mapping, which accelerate makes anew
    again = kind({name: value + 1 for name, value in out.items()})
    assert float(again.loss) == 2 and torch.equal(again["logits"], IDS + 1)

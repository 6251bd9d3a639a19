"""`load_state_dict`: ties are kept, whatever of their names a state has."""

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from engine import build_model, save_model
from engine.parameters.ties import shared_names

SHARED = {
    "tiny/xglm": {},
    "tiny/xlnet": {"attention.query_bias": "shared"},
    "tiny/transformer-xl": {},
}


def pair(name):
    return [build_model(name, overrides=SHARED[name], seed=seed).eval() for seed in (1, 2)]


@pytest.mark.parametrize("name", SHARED)
@pytest.mark.parametrize("assign", [True, False])
@pytest.mark.parametrize("names", ["all", "first", "last"])
def test_ties_are_kept(name, assign, names):
    first, second = pair(name)
    state = {}
    for key, group in shared_names(first).items():
        kept = {"all": group, "first": group[:1], "last": group[-1:]}[names]
        state |= dict.fromkeys(kept, first.state_dict()[key])
    before = shared_names(second)
    second.load_state_dict(state, assign=assign)
    assert shared_names(second) == before == shared_names(first)
    for key, parameter in first.named_parameters():
        assert torch.equal(second.get_parameter(key), parameter), key


def test_a_state_holds_every_name_and_shares_no_memory(tmp_path):
    """accelerate looks every name up; safetensors refuses shared memory, and with it transformers'
    Trainer.
    """
    first, second = pair("tiny/xglm")
    save_file(first.state_dict(), tmp_path / "state.safetensors")
    second.load_state_dict(load_file(tmp_path / "state.safetensors"))
    assert sorted(first.state_dict()) == sorted(
        name for names in shared_names(first).values() for name in names
    )
    assert all(
        torch.equal(*both) for both in zip(first.parameters(), second.parameters(), strict=True)
    )


def test_ties_are_kept_below_another_module():
    first, second = (nn.Sequential(model) for model in pair("tiny/xglm"))
    second.load_state_dict(first.state_dict(), assign=True)
    assert second[0].head.output.weight is second[0].embeddings.tokens.tables[0]


def test_tied_names_that_differ():
    first, second = pair("tiny/xglm")
    state = first.state_dict()
    state["head.output.weight"] = state["embeddings.tokens.tables.0"] + 1
    with pytest.raises(
        RuntimeError,
        match=r"embeddings.tokens.tables.0, head.output.weight are tied here, but hold",
    ):
        second.load_state_dict(state)


def test_a_tied_tensor_that_is_missing_is_told_with_all_its_names():
    first, second = pair("tiny/xglm")
    state = {name: value for name, value in first.state_dict().items() if name not in TIED}
    with pytest.raises(
        RuntimeError,
        match=r"Missing key\(s\) in state_dict: \"embeddings.tokens.tables.0\", \"head.out",
    ):
        second.load_state_dict(state)


TIED = ("embeddings.tokens.tables.0", "head.output.weight")


@pytest.mark.parametrize("strict", [True, False])
def test_names_of_another_library(tmp_path, strict):
    from safetensors.torch import load_file

    first, second = pair("tiny/xglm")
    save_model(first, tmp_path, format="huggingface")
    with pytest.raises(RuntimeError, match="opened by load_model, from their folder"):
        second.load_state_dict(load_file(tmp_path / "model.safetensors"), strict=strict)

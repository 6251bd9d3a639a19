"""Adapters: they alone learn, runs go on exactly, and what is saved opens here and in peft."""

import sys

import pytest
import torch

from engine import build_model, load_model, save_model
from engine.errors import CheckpointError, TrainingError
from engine.training.adapters import FOLDER, Adapter, require_peft
from engine.training.recipe.sections import LoraAdapter
from engine.training.run.loop import run
from tests.training.run.runs import LORA, Ends, ending, losses, plan, weights
from tokenization.errors import MissingExtraError

peft = pytest.importorskip("peft")
FAMILIES = ("xlnet", "xlm", "xlm-roberta-xl", "transformer-xl", "xglm")
IDS = torch.randint(9, 300, (2, 6), generator=torch.Generator().manual_seed(0))


def judge(name):
    """A network whose head is as if drawn anew."""
    model = build_model(
        f"tiny/{name}", "sequence_classification", seed=0, num_labels=3, dtype=torch.float64
    )
    return model.eval()


@pytest.mark.parametrize("name", FAMILIES)
def test_what_is_saved_answers_as_the_live_network_merged_and_in_peft(name, tmp_path):
    model, plain = judge(name), judge(name)
    section = LoraAdapter(kind="lora", rank=3, on=("query", "value", "down"))
    adapter = Adapter(model, section, 0, None)
    learned = [model.get_parameter(name) for name in adapter.files]
    assert learned == [one for one in model.parameters() if one.requires_grad]
    assert any(name.startswith("head.") for name in adapter.files)
    with torch.no_grad():
        for parameter in learned:
            parameter.normal_(generator=torch.Generator().manual_seed(1), std=0.3)
    live = model.eval()(IDS).logits.detach()
    assert float((live - plain(IDS).logits.detach()).abs().max()) > 1e-2
    adapter.save(adapter.learned(torch.Tensor.detach), tmp_path)
    merged = dict(adapter.merged(torch.Tensor.detach))
    opened = peft.PeftModel.from_pretrained(judge(name), tmp_path / FOLDER).eval()
    assert list(merged) == [name for name, _ in plain.named_parameters()]
    plain.load_state_dict(merged, strict=False)
    torch.testing.assert_close(plain(IDS).logits, live, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(opened(IDS).logits, live, rtol=1e-12, atol=1e-12)


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """A run with an adapter and dropout, and what its network was before it."""
    made = plan(tmp_path_factory.mktemp("ended"), adapter=LORA)
    before = weights(made.model)
    run(made)
    return made, before


def test_adapters_and_named_parts_alone_learn(ended):
    made, before = ended
    moved = {n for n, value in weights(made.model).items() if not torch.equal(before[n], value)}
    assert moved == set(made.adapter.files)
    assert {name for name in moved if "lora_" not in name} == {
        "final_norm.weight",
        "final_norm.bias",
    }


def test_a_run_goes_on_to_the_last_bit(ended, tmp_path):
    made, _ = ended
    with pytest.raises(Ends):
        run(ending(plan(tmp_path, adapter=LORA), 5))
    later = plan(tmp_path, adapter=LORA)
    assert run(later, resume=True).step == 8
    assert losses(tmp_path) == losses(made.output)
    expected = weights(made.model)
    assert all(torch.equal(value, expected[n]) for n, value in weights(later.model).items())
    held = {path.name for path in (tmp_path / "last" / FOLDER).iterdir()}
    assert held >= {"adapter_config.json", "adapter_model.safetensors"}


def test_last_is_a_network_like_any_other(ended, tmp_path):
    made, _ = ended
    model = load_model(made.output / "last")
    torch.testing.assert_close(model(IDS % 60).logits, made.model(IDS % 60).logits)
    model = load_model(made.output / "last", overrides={"dropout.residual": 0.0})
    save_model(model, tmp_path, format="huggingface")
    assert torch.equal(load_model(tmp_path)(IDS % 60).logits, model(IDS % 60).logits)


def test_a_head_drawn_anew_learns_where_nothing_else_is_said(ended):
    with pytest.warns(UserWarning, match="initialised anew"):
        model = load_model(ended[0].output / "last", head="sequence_classification")
    adapter = Adapter(model, LoraAdapter(kind="lora"), 0, None)
    whole = {name for name in adapter.files if "lora_" not in name}
    assert whole == {"head.output.weight", "head.output.bias"}


def test_other_frozen_weights_and_other_adapters_do_not_go_on(ended):
    made, _ = ended
    other = plan(made.output, adapter=LORA, about={"frozen weights": "others"})
    state = made.output / "last" / "state.json"
    state.write_text(state.read_text().replace("{", '{"frozen weights": "those",', 1))
    with pytest.raises(TrainingError, match=r"frozen weights were those .* and are others now"):
        run(other, resume=True)
    wider = LORA.model_copy(update={"rank": 3})
    with pytest.raises(CheckpointError, match=r"lora_A.weight \(3, 16\) is .* of another shape"):
        run(plan(made.output, adapter=wider), resume=True)


def test_an_adapter_needs_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(MissingExtraError, match=r"a recipe with an adapter .*blockgraph\[lora\]"):
        require_peft()

"""Weights of 8 bits: a rounding error of each entry, and nothing else, for all families."""

from pathlib import Path

import pytest
import torch

from engine import CheckpointError, build_model, load_model, save_model
from engine.linear import Linear
from tests.strategies import FAMILIES, agree, answer, built, family, inputs_for


@pytest.mark.parametrize("rows", [0, 1, 3, 40])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_a_layer_is_the_layer_of_its_rounded_weight(
    rows: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In parts of a few rows; no entry is off by more than half a step of its row; a row of zeros stays."""
    monkeypatch.setattr("engine.linear.WIDENED", 300)
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(48, 64, generator=generator) * torch.logspace(-3, 2, 48)[:, None]
    weight[5] = 0
    layer = Linear(64, 48).to(dtype)
    layer.narrow(weight)
    assert layer.weight.dtype == torch.int8 and layer.scale is not None
    rounded = layer.weight.double() * layer.scale.double()[:, None]
    step = weight.abs().amax(1, keepdim=True).double() / 127
    assert bool(((rounded - weight).abs() <= step * (0.5 + 1e-4)).all()) and not rounded[5].any()
    states = torch.randn(2, rows, 64, generator=generator).to(dtype)
    expected = states.double() @ rounded.t() + layer.bias.double()
    tolerance = {torch.float32: 1e-6, torch.bfloat16: 1e-2, torch.float64: 1e-12}[dtype]
    agree(layer(states).double(), expected, "product", tolerance)
    agree(layer(states, gelu=True).double(), torch.nn.functional.gelu(expected), "product and GELU", tolerance)
    assert layer(states).dtype == dtype


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family(name: str, tmp_path: Path) -> None:
    """A loaded model answers like one whose linear layers hold the rounded weights, and scores texts much as before."""
    model = built(family(name), dtype=torch.float32)
    save_model(model, tmp_path)
    small = load_model(tmp_path, weights="int8")
    narrowed = [path for path, module in small.named_modules() if isinstance(module, Linear)]
    assert len(narrowed) >= 6 * model.spec.dims.layers
    assert all(small.get_submodule(path).weight.dtype == torch.int8 for path in narrowed)
    rounded = load_model(tmp_path)
    with torch.no_grad():
        for path in narrowed:
            layer = small.get_submodule(path)
            rounded.get_submodule(path).weight.copy_(layer.weight * layer.scale[:, None])
    call = inputs_for(model.spec, length=8, dtype=torch.float32)
    with torch.no_grad():
        agree(answer(small(**call)), answer(rounded(**call)), "answers", 1e-5)
        labels = call["input_ids"] if "target_mapping" not in call else call["input_ids"][:, :2]
        before, after = (one(**call, labels=labels).losses for one in (model, small))
    assert 0 < float((before - after).abs().mean()) < 0.05 * float(before.abs().mean())
    with pytest.raises(CheckpointError, match="holds 8-bit weights"):
        save_model(small, tmp_path / "again")


def test_other_widths_are_refused(tmp_path: Path) -> None:
    save_model(build_model(family("xglm"), seed=0), tmp_path)
    with pytest.raises(ValueError, match=r"weights is 'int4'; allowed: None, 'int8'"):
        load_model(tmp_path, weights="int4")  # type: ignore[arg-type]


def test_bfloat16_generates(tmp_path: Path) -> None:
    """One row at a time goes through torch's 8-bit product."""
    save_model(build_model(family("xglm"), seed=0), tmp_path)
    small = load_model(tmp_path, weights="int8", dtype=torch.bfloat16)
    ids = torch.tensor([[5, 6, 7]])
    assert small.generate(ids, max_new_tokens=5, eos_token_id=()).shape == (1, 8)

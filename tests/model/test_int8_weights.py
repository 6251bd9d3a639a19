"""Weights of 8 bits: a rounding error of each entry, and nothing else, in the whole network of
every family.
"""

import copy
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from engine import CheckpointError, InputError, Model, build_model, load_model, save_model
from engine.kernels.int8 import Int8Weight
from engine.kernels.linear import build_linear, linear, linear_gelu, product
from engine.kernels.tuning import tuned
from engine.laws.calls import answer, inputs_for
from engine.laws.compare import agree
from engine.parameters.ties import shared_names
from engine.training import train
from tests.checkpoint.folders import memory_to_open, save_large
from tests.strategies import FAMILIES, built, family

UNTIED = "transformer-xl, untied"
ONE_TABLE = "transformer-xl, one table cut into clusters"
EXPERTS = "xglm, experts"
CASES = (*FAMILIES, UNTIED, ONE_TABLE, EXPERTS)
CHANGES: dict[str, dict[str, Any]] = {
    UNTIED: {"heads.output.tied": False, "heads.output.tied_projections": False},
    ONE_TABLE: {
        "embeddings.tables.tokens": {"width": 16, "cutoffs": [10, 20], "divisor": 1},
        "heads.output.tied_projections": False,
    },
    EXPERTS: {
        "ffn": {"gated": True, "experts": {"count": 4, "active": 2, "shared": {"gate": True}}}
    },
}


def both(name: str, folder: Path, **settled: Any) -> tuple[Model, Model]:
    """A toy network in 8 bits, and in float32 with exactly the weights that these stand for."""
    spec = family(name.split(",")[0], **CHANGES.get(name, {}), **settled)
    save_model(built(spec, dtype=torch.float32), folder)
    small, wide = load_model(folder, weights="int8"), load_model(folder)
    with torch.no_grad():
        for path, parameter in small.named_parameters():
            values = parameter.dequantize() if isinstance(parameter, Int8Weight) else parameter
            wide.get_parameter(path).copy_(values)
    return small, wide


def quantized(weight: Tensor, dtype: torch.dtype = torch.float32) -> Int8Weight:
    return Int8Weight.of(weight, dtype)


@pytest.mark.parametrize("rows", [0, 1, 3, 40])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_a_layer_is_the_layer_of_its_rounded_weight(rows: int, dtype: torch.dtype) -> None:
    """In parts of a few rows; no entry is off by more than half a step of its row; a row of zeros
    stays.
    """
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(48, 64, generator=generator) * torch.logspace(-3, 2, 48)[:, None]
    weight[5] = 0
    layer = build_linear(64, 48).to(dtype)
    layer.bias = nn.Parameter(torch.randn(48, generator=generator).to(dtype))
    small = quantized(weight, dtype)
    layer.weight = nn.Parameter(small, requires_grad=False)
    rounded = small.integers.double() * small.scale.double()[:, None]
    step = weight.abs().amax(1, keepdim=True).double() / 127
    assert bool(((rounded - weight).abs() <= step * (0.5 + 1e-4)).all()) and not rounded[5].any()
    states = torch.randn(2, rows, 64, generator=generator).to(dtype)
    expected = states.double() @ rounded.t() + layer.bias.double()
    tolerance = {
        torch.float32: 1e-6,
        torch.bfloat16: 1e-2,
        torch.float16: 2e-3,
        torch.float64: 1e-12,
    }[dtype]
    with tuned(dequantized_entries=300):
        agree(linear(layer, states).double(), expected, "product", tolerance)
        agree(
            linear_gelu(layer, states).double(),
            functional.gelu(expected),
            "product and GELU",
            tolerance,
        )
    agree(layer(states).double(), expected, "the layer itself", tolerance)
    assert layer(states).dtype == dtype


def test_sums_over_integers_stay_within_half_precision() -> None:
    weight = torch.full((3, 4096), 0.01)
    states = torch.ones(1, 4096, dtype=torch.float16)
    agree(
        product(states, quantized(weight, torch.float16)).float(),
        torch.full((1, 3), 40.96),
        "sum",
        2e-3,
    )


def test_a_table_gives_its_rounded_rows() -> None:
    """And is cut, joined, cast and copied along its rows like the table that it stands for."""
    table = quantized(torch.randn(20, 6, generator=torch.Generator().manual_seed(0)))
    wide, ids = table.dequantize(), torch.tensor([[3, 0], [19, 3]])
    assert torch.equal(functional.embedding(ids, table), wide[ids])
    assert isinstance(table[4:9], Int8Weight) and torch.equal(table[4:9].dequantize(), wide[4:9])
    assert torch.equal(
        torch.cat((table[:2], table[7:])).dequantize(), torch.cat((wide[:2], wide[7:]))
    )
    joined = torch.cat((table, torch.eye(2, 6)))
    assert isinstance(joined, Int8Weight) and torch.equal(
        joined.dequantize(), torch.cat((wide, torch.eye(2, 6)))
    )
    half = table.to(torch.bfloat16)
    assert half.dtype == functional.embedding(ids, half).dtype == torch.bfloat16
    assert isinstance(half, Int8Weight) and torch.equal(half.float().dequantize(), wide)
    assert table.nbytes == 20 * 6 + 20 * 4 and "Int8Weight((20, 6)" in repr(table)
    for asked in (
        lambda: table + 1,
        lambda: table.t(),
        lambda: table[:, 2:],
        lambda: torch.cat((table, table), dim=1),
    ):
        with pytest.raises(InputError, match="8-bit weights"):
            asked()


@pytest.mark.parametrize("name", CASES)
def test_answers_are_those_of_the_rounded_weights(name: str, tmp_path: Path) -> None:
    """Logits, losses in one piece and in slices, and everything that reads or scores tokens."""
    small, wide = both(name, tmp_path)
    call = inputs_for(small.spec, length=8, dtype=torch.float32)
    ids = call["input_ids"]
    labels = ids if "target_mapping" not in call else ids[:, :2]
    with torch.no_grad():
        agree(answer(small(**call)), answer(wide(**call)), "answers", 1e-5)
        call["labels"] = labels
        agree(small(**call).losses, wide(**call).losses, "losses", 1e-5)
        with tuned(kept_score_bytes=0, score_slice_bytes=1, score_slice_tokens=7):
            agree(small(**call).losses, wide(**call).losses, "losses in slices", 1e-5)
    scored: dict[str, Any] = {}
    if not small.spec.has_rule("causal") and not small.spec.two_streams:
        scored["mask_token_id"] = 3
    found, expected = (model.score(ids, **scored).log_probs for model in (small, wide))
    agree(found, expected, "scores", 1e-5)
    if scored:
        hidden = ids.index_fill(1, torch.tensor([2]), 3)
        fillings = (model.fill_mask(hidden, top_n=4, **scored) for model in (small, wide))
        for one, other in zip(*fillings, strict=True):
            assert one.tokens == other.tokens
            agree(
                torch.tensor(one.probabilities),
                torch.tensor(other.probabilities),
                "probabilities",
                1e-5,
            )


@pytest.mark.parametrize("name", [case for case in CASES if case not in ("xlm", "xlm-roberta-xl")])
@pytest.mark.parametrize("options", [{}, {"num_beams": 3}, {"do_sample": True, "seed": 5}], ids=str)
def test_texts_are_those_of_the_rounded_weights(
    name: str, options: dict[str, Any], tmp_path: Path
) -> None:
    small, wide = both(name, tmp_path)
    ids = torch.tensor([[5, 6, 27, 31]])
    found, expected = (
        model.generate(ids, max_new_tokens=6, eos_token_id=(), **options) for model in (small, wide)
    )
    assert torch.equal(found, expected) and found.shape == (1, 10)


@pytest.mark.parametrize("name", CASES)
def test_all_large_weights_are_narrow_and_ties_hold(name: str, tmp_path: Path) -> None:
    """At a width at which a scale a row counts little, the whole network takes about a quarter."""
    wider = {"dims.model": 128, "dims.inner": 512, "dims.vocab": 2000}
    wider |= {"position.size": 16} if name in ("xlm", "xlm-roberta-xl") else {}
    small, wide = both(name, tmp_path, **wider)
    sizes = [
        sum(tensor.nbytes for tensor in (*model.parameters(), *model.buffers()))
        for model in (small, wide)
    ]
    assert sizes[0] < 0.3 * sizes[1]
    assert list(shared_names(small).values()) == list(shared_names(wide).values())
    moved = copy.deepcopy(small).to(torch.float64)
    assert list(shared_names(moved).values()) == list(shared_names(wide).values())
    assert {parameter.dtype for parameter in moved.parameters()} == {torch.float64}


@pytest.mark.parametrize("name", FAMILIES)
def test_texts_are_about_as_likely_as_before(name: str, tmp_path: Path) -> None:
    """Rounding changes a weight by at most 1/254 of its row's largest: a few percent of a
    log-likelihood's spread.
    """
    model = built(family(name, **CHANGES.get(name, {})), dtype=torch.float32)
    save_model(model, tmp_path)
    small = load_model(tmp_path, weights="int8")
    call = inputs_for(model.spec, batch=4, length=8, dtype=torch.float32)
    labels = call["input_ids"] if "target_mapping" not in call else call["input_ids"][:, :2]
    with torch.no_grad():
        before, after = (one(**call, labels=labels).losses for one in (model, small))
    assert 0 < float((before - after).abs().mean()) < 0.05 * float(before.abs().mean())


@pytest.mark.anywhere
def test_compiles_without_a_graph_break(tmp_path: Path) -> None:
    """The family that also cuts and joins its tables."""
    torch._dynamo.reset()
    small, _ = both("transformer-xl", tmp_path, **{"dims.layers": 1})
    call = inputs_for(small.spec, length=6, dtype=torch.float32)
    compiled = torch.compile(small, fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        found, expected = (answer(model(**call, use_memory=False)) for model in (compiled, small))
    agree(found, expected, "compiled", 1e-5)


def test_what_they_do_not_serve(tmp_path: Path) -> None:
    """Each is refused before anything is changed."""
    small, _ = both("xglm", tmp_path)
    with pytest.raises(CheckpointError, match="holds 8-bit weights"):
        save_model(small, tmp_path / "again")
    with pytest.raises(InputError, match="8-bit weights take no training"):
        train(
            small,
            iter([{"input_ids": torch.tensor([[5, 6]]), "labels": torch.tensor([[5, 6]])}]),
            steps=1,
        )
    with pytest.raises(InputError, match="keeps its vocabulary"):
        small.resize_vocabulary(50)
    assert not small.training and small(torch.tensor([[5, 6]])).logits.shape == (1, 2, 40)
    with pytest.raises(ValueError, match=r"weights is 'int4'; allowed: None, 'int8'"):
        load_model(tmp_path, weights="int4")  # type: ignore[arg-type]


def test_values_that_8_bits_cannot_say(tmp_path: Path) -> None:
    save_model(build_model(family("xglm"), seed=0), tmp_path)
    file = tmp_path / "model.safetensors"
    tensors = load_file(file)
    tensors["embeddings.tokens.tables.0"][3, 4] = torch.nan
    save_file(tensors, file)
    with pytest.raises(
        CheckpointError, match=r"embeddings\.tokens\.tables\.0 holds values that are not finite"
    ):
        load_model(tmp_path, weights="int8")


def test_bfloat16_generates(tmp_path: Path) -> None:
    """One row at a time goes through torch's 8-bit product."""
    wide = {"dims.model": 32, "dims.inner": 64}
    save_model(build_model(family("xglm", **wide), seed=0), tmp_path)
    small = load_model(tmp_path, weights="int8", dtype=torch.bfloat16)
    ids = torch.tensor([[5, 6, 7]])
    assert small.generate(ids, max_new_tokens=5, eos_token_id=()).shape == (1, 8)
    assert small(ids).last_hidden_state.dtype == torch.bfloat16


@pytest.mark.parametrize("width", [24, 40, 64])
def test_few_rows_of_any_width_in_bfloat16(width: int) -> None:
    """torch's 8-bit product answers for whole vectors of numbers alone."""
    generator = torch.Generator().manual_seed(width)
    weight = quantized(torch.randn(12, width, generator=generator), torch.bfloat16)
    states = torch.randn(3, width, generator=generator).bfloat16()
    expected = states.double() @ weight.dequantize().double().t()
    agree(functional.linear(states, weight).double(), expected, "product", 2e-2)


def test_a_new_head_over_a_narrow_body(tmp_path: Path) -> None:
    """What a checkpoint lacks is drawn anew and stays wide: clusters beside a narrow table among
    them.
    """
    spec = family("transformer-xl")
    save_model(build_model(spec, head=None, seed=0), tmp_path)
    with pytest.warns(UserWarning, match="initialised anew"):
        small = load_model(tmp_path, head="causal_lm", weights="int8")
    assert small(torch.tensor([[5, 6, 7]])).logits.shape == (1, 3, 40)


PREPARE = """
from engine.kernels.tuning import tuned
from engine.kernels.int8 import Int8Weight
build_model("tiny/xglm")
Int8Weight.of(torch.ones(1, 1), torch.float32).detach()  # torch imports much at the first such tensor
"""


@pytest.mark.anywhere
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_loading_never_holds_the_wide_network(tmp_path: Path) -> None:
    """Beside the narrow weights, only pages of the file that were just read and a part that is
    being rounded.
    """
    wide = save_large(tmp_path)
    grown, size = memory_to_open(tmp_path, PREPARE, arguments='weights="int8"')
    assert wide > 190 * 2**20 and size < 0.26 * wide
    assert grown < size + 80 * 2**20 < 0.7 * wide, (
        f"{grown / 2**20:.0f} MiB for {size / 2**20:.0f} MiB"
    )

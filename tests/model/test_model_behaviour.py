"""A network behaves as PyTorch modules do: it moves, casts, copies, compiles, exports, and repeats
itself by its seed.
"""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from engine import Model, build_model
from engine.laws.calls import answer, inputs_for, randomise
from engine.laws.compare import agree
from engine.spec import axes
from tests.strategies import FAMILIES, built, family

CASES = (*FAMILIES, "two streams")


# Further blocks repeat its graph.
ONE_BLOCK: dict[str, Any] = {"dims.layers": 1}


def case(name: str, **settled: Any) -> tuple[Model, dict[str, Any]]:
    """A toy network in float32 and a call without memory; "two streams" gives XLNet something to
    predict.
    """
    spec = family("xlnet" if name == "two streams" else name, **settled)
    model = built(spec, dtype=torch.float32)
    two = name == "two streams"
    inputs = inputs_for(
        spec, length=6, targets=2 if two else None, permuted=two, dtype=torch.float32
    )
    return model, {
        **inputs,
        **({} if isinstance(spec.memory, axes.NoMemory) else {"use_memory": False}),
    }


class Logits(nn.Module):
    """The logits of a call whose tensors come by place."""

    def __init__(self, model: Model, names: list[str]) -> None:
        super().__init__()
        self.model, self.names = model, names

    def forward(self, *tensors: Tensor) -> Tensor:
        plain = self.model.spec.memory.kind == "none"
        given = dict(zip(self.names, tensors, strict=True))
        return answer(self.model(**given, **({} if plain else {"use_memory": False})))


def same_gradients(model: Model, found: Tensor, expected: Tensor) -> None:
    """Those of the table of tokens, through which all others come."""
    table = model.embeddings.tokens.tables[0]
    (one,), (other,) = (
        torch.autograd.grad(result.square().mean(), table) for result in (found, expected)
    )
    agree(one, other, "gradients", 1e-5)


def test_the_body_compiles_without_a_graph_break() -> None:
    """Without a mask and a memory; test_tracing.py compiles with a mask, and in training."""
    torch._dynamo.reset()
    model, inputs = case("xlm", **ONE_BLOCK)
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    agree(answer(compiled(**inputs)), answer(model(**inputs)), "compiled", 1e-5)


@pytest.mark.parametrize("name", ("xlnet", "transformer-xl", "xglm"))
def test_memory_compiles_without_a_graph_break(name: str) -> None:
    torch._dynamo.reset()
    spec = family(name, **ONE_BLOCK)
    model = built(spec, dtype=torch.float32)
    first, second = (
        inputs_for(spec, length=4, seed=seed, permuted=False, optional=False) for seed in (0, 1)
    )
    memory = model(**first, use_memory=True).memory
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    agree(
        answer(compiled(**second, memory=memory)),
        answer(model(**second, memory=memory)),
        "compiled",
        1e-5,
    )


def test_code_for_the_backward_pass_compiles() -> None:
    """AOT autograd traces forward and backward of the tallest graph in training: two streams."""
    torch._dynamo.reset()
    none = dict.fromkeys(axes.Dropout.model_fields, 0.0)
    model, inputs = case("two streams", dropout=none, **ONE_BLOCK)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    model.train()
    found, expected = answer(compiled(**inputs)), answer(model(**inputs))
    agree(found, expected, "compiled", 1e-5)
    same_gradients(model, found, expected)


def test_two_streams_export() -> None:
    model, inputs = case("two streams", **ONE_BLOCK)
    names = [key for key, value in inputs.items() if isinstance(value, Tensor)]
    wrapped = Logits(model, names)
    tensors = tuple(inputs[key] for key in names)
    program = torch.export.export(wrapped, tensors, strict=False)
    other = {**inputs, "input_ids": inputs["input_ids"].flip(1)}
    again = tuple(other[key] for key in names)
    agree(program.module()(*again), wrapped(*again), "exported", 1e-5)


def test_an_export_without_a_mask_has_a_length_of_its_own() -> None:
    """Within bounds; test_tracing.py exports every family with a mask."""
    model, inputs = case("xglm", **ONE_BLOCK)
    names = [key for key, value in inputs.items() if isinstance(value, Tensor)]
    wrapped = Logits(model, names)
    batch, length = (
        torch.export.Dim("batch", min=2, max=64),
        torch.export.Dim("length", min=3, max=24),
    )
    shapes = (tuple({0: batch, 1: length} for _ in names),)
    program = torch.export.export(
        wrapped, tuple(inputs[key] for key in names), dynamic_shapes=shapes, strict=False
    )
    longer = inputs_for(model.spec, batch=3, length=9, permuted=False, dtype=torch.float32)
    tensors = tuple(longer[key] for key in names)
    agree(program.module()(*tensors), wrapped(*tensors), "exported", 1e-5)


@pytest.mark.parametrize("dtype", (torch.float32, torch.bfloat16, torch.float16, torch.float64))
@pytest.mark.parametrize("name", FAMILIES)
def test_casts(name: str, dtype: torch.dtype) -> None:
    model, inputs = case(name)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    cast = model.to(dtype)
    assert cast is model and {parameter.dtype for parameter in model.parameters()} == {dtype}
    found = model(**inputs).last_hidden_state
    assert found.dtype == dtype and bool(found.isfinite().all())
    direct = build_model(model.spec, dtype=dtype).eval()
    direct.load_state_dict(before)
    agree(
        direct(**inputs).last_hidden_state.float(), found.float(), "a network built in that dtype"
    )


@pytest.mark.parametrize("name", FAMILIES)
def test_moves_through_the_meta_device(name: str) -> None:
    spec = family(name)
    empty = build_model(spec, device="meta")
    assert {parameter.device.type for parameter in empty.parameters()} == {"meta"}
    moved = empty.to_empty(device="cpu")
    moved.tie()
    full = built(spec, dtype=torch.float32)
    moved.load_state_dict(full.state_dict())
    inputs = inputs_for(spec, dtype=torch.float32)
    agree(answer(moved.eval()(**inputs)), answer(full(**inputs)), "answers")
    assert len(list(moved.parameters())) == len(list(full.parameters()))


@pytest.mark.parametrize("name", FAMILIES)
def test_copies_share_nothing(name: str) -> None:
    model, inputs = case(name)
    expected = answer(model(**inputs)).detach().clone()
    other = copy.deepcopy(model)
    mine, theirs = (
        {parameter.data_ptr() for parameter in one.parameters()} for one in (model, other)
    )
    assert not mine & theirs
    randomise(other, seed=5)
    assert torch.equal(answer(model(**inputs)), expected)


@pytest.mark.parametrize("name", FAMILIES)
def test_state_dict_round_trip(name: str) -> None:
    model, inputs = case(name)
    other = build_model(model.spec, seed=3).eval()
    result = other.load_state_dict(model.state_dict())
    assert not result.missing_keys and not result.unexpected_keys
    assert torch.equal(answer(other(**inputs)), answer(model(**inputs)))


def test_a_seed_repeats_itself_and_leaves_the_global_state_alone() -> None:
    spec = family("xlnet")
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    one, two, three = (build_model(spec, seed=seed) for seed in (7, 7, 8))
    assert torch.equal(torch.rand(1), expected)
    pairs = [
        (one.state_dict()[name], two.state_dict()[name], value)
        for name, value in three.state_dict().items()
    ]
    assert all(torch.equal(a, b) for a, b, _ in pairs)
    assert any(not torch.equal(a, c) for a, _, c in pairs)


@pytest.mark.parametrize("name", FAMILIES)
def test_training_with_dropout_repeats_itself_by_its_seed(name: str) -> None:
    everywhere = dict.fromkeys(
        ("embeddings", "positions", "attention", "residual", "inner", "output"), 0.2
    )
    spec = family(name, dropout=everywhere)
    model = built(spec, dtype=torch.float32).train()
    inputs = inputs_for(spec, dtype=torch.float32)
    answers = []
    for seed in (4, 4, 5):
        torch.manual_seed(seed)
        answers.append(answer(model(**inputs)))
    assert torch.equal(answers[0], answers[1]) and not torch.equal(answers[0], answers[2])


def test_layer_drop_skips_whole_blocks_in_training_only() -> None:
    spec = family("xglm", **{"block.layer_drop": 0.9, "dims.layers": 4})
    model = built(spec, dtype=torch.float32)
    runs: list[int] = []
    for block in model.blocks:
        block.register_forward_pre_hook(lambda *_: runs.append(1))
    inputs = inputs_for(spec, dtype=torch.float32)
    model(**inputs)
    assert len(runs) == 4
    runs.clear()
    torch.manual_seed(0)
    for _ in range(20):
        model.train()(**inputs, use_memory=False)
    assert 0 < len(runs) < 30


NAMES = """
embeddings.tokens.tables.0 embeddings.query_start
blocks.0.attention.query.weight blocks.0.attention.key.weight blocks.0.attention.value.weight
blocks.0.attention.output.weight
blocks.0.attention.scores.content_bias blocks.0.attention.scores.position_bias blocks.0.attention.scores.segment_bias
blocks.0.attention.scores.segments blocks.0.attention.scores.projection.weight
blocks.0.attention_norm.weight blocks.0.attention_norm.bias
blocks.0.feed_forward.up.weight blocks.0.feed_forward.up.bias
blocks.0.feed_forward.down.weight blocks.0.feed_forward.down.bias
blocks.0.feed_forward_norm.weight blocks.0.feed_forward_norm.bias
head.output.bias
"""


def test_parameter_names_are_a_contract() -> None:
    """Saved networks hold these names: a change here breaks every folder written before."""
    model = build_model(family("xlnet", **{"dims.layers": 1}))
    assert sorted(name for name, _ in model.named_parameters()) == sorted(NAMES.split())


MORE_NAMES = {
    "xlm": {
        "embeddings.positions.weight",
        "embeddings.languages",
        "embeddings.norm.weight",
        "head.output.bias",
    },
    "xlm-roberta-xl": {
        "embeddings.segments",
        "final_norm.weight",
        "head.output.dense.weight",
        "head.output.norm.bias",
    },
    "transformer-xl": {
        "embeddings.tokens.projections.1",
        "head.output.cluster_weight",
        "head.output.biases.2",
    },
    "xglm": {"blocks.1.attention.key.bias", "final_norm.bias"},
}


@pytest.mark.parametrize("name", MORE_NAMES)
def test_parameter_names_of_the_other_axes(name: str) -> None:
    assert MORE_NAMES[name] <= {name for name, _ in build_model(family(name)).named_parameters()}

"""Memory as a value: shared buffers, projection, rows, files, and what it is refused for."""

import itertools
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from engine import InputError, Memory, Model, Spec
from engine.laws.calls import answer, inputs_for
from engine.laws.compare import agree
from engine.memory.layer import LayerMemory
from engine.spec.axes import Recurrent
from tests.generation.cases import CONTINUED, ids, network
from tests.searching import examples
from tests.strategies import built, family, valid_specs

CACHED = [name for name in CONTINUED if name != "xlnet"]


@torch.no_grad()
def remembered(model: Model, tokens: Tensor, projected: bool = True) -> Memory:
    batch = len(tokens)
    if projected:
        return model(tokens, memory=model.start_memory(batch), use_memory="keys_values").memory
    hidden = model.spec.memory.kind == "recurrent"
    memory = model(tokens, use_memory="hidden_states" if hidden else True).memory
    assert memory is not None
    return memory


@torch.no_grad()
def after(model: Model, tokens: Tensor, memory: Memory | None) -> tuple[Tensor, Memory]:
    out = model(tokens, memory=memory, use_memory=True)
    assert out.logits is not None and out.memory is not None
    return out.logits, out.memory


def held_bytes(layer: LayerMemory) -> int:
    """Of the buffer behind a layer's keys."""
    assert layer.keys is not None
    return layer.keys.untyped_storage().nbytes()


def pointer(memory: Memory) -> int:
    keys = memory.layers[0].keys
    assert keys is not None
    return keys.untyped_storage().data_ptr()


@pytest.mark.parametrize("name", CACHED)
def test_growing_copies_nothing_and_changes_no_holder(name: str) -> None:
    model, texts = network(name), ids(2, 9)
    first = remembered(model, texts[:, :4])
    _, second = after(model, texts[:, 4:5], first)
    held = [layer.keys.clone() for layer in second.layers]
    expected, third = after(model, texts[:, 5:6], second)
    assert pointer(second) == pointer(third), "a step copied the past"
    assert third.length == (second.length + 1 if name != "transformer-xl" else second.length)
    other, branch = after(model, texts[:, 6:7], second)
    assert pointer(branch) != pointer(second), "two futures of one past share a buffer"
    again, _ = after(model, texts[:, 5:6], second)
    agree(again, expected)
    assert not torch.equal(other, expected)
    agree([layer.keys for layer in second.layers], held)
    agree(
        after(model, texts[:, 8:], third)[0],
        after(model, texts[:, 8:], third.select(torch.arange(2)))[0],
    )


@pytest.mark.parametrize("name", ["xlnet", "transformer-xl"])
@pytest.mark.parametrize("piece", [1, 3])
def test_cost_and_memory_stay_flat_past_the_memory_length(name: str, piece: int) -> None:
    model, text = network(name, **{"memory.length": 12}), ids(2, 36)
    memory, costs, held = model.start_memory(2), [], []
    for start in range(0, 36, piece):
        with FlopCounterMode(display=False) as counter:
            _, memory = after(model, text[:, start : start + piece], memory)
        costs.append(counter.get_total_flops())
        held.append(sum(held_bytes(layer) for layer in memory.layers))
        full = start + piece >= 12
        assert memory.length == (12 if full or name == "transformer-xl" else start + piece)
    settled = costs[18 // piece :]
    assert len(set(settled)) == 1, costs
    assert name == "transformer-xl" or costs[2] < settled[0], (
        "a step costs less before the memory is full"
    )
    assert max(held) == max(held[: 18 // piece + 1]), held


def test_a_full_window_slides_without_copying_each_step() -> None:
    model = network("transformer-xl", **{"memory.length": 20})
    memory = remembered(model, ids(1, 5))
    places = []
    for token in ids(1, 200)[0]:
        _, memory = after(model, token.view(1, 1), memory)
        places.append(pointer(memory))
    assert memory.length == 20
    assert 1 <= sum(one != other for one, other in itertools.pairwise(places)) <= 5
    room = memory.layers[0].buffer
    assert room is not None and room.keys.shape[-2] < 120
    assert memory.layers[0].distances is not None and memory.layers[0].distances.keys.shape[2] < 60


def test_distances_are_projected_once() -> None:
    model = network("transformer-xl", **{"memory.length": 20})
    memory = remembered(model, ids(1, 5))
    rows: list[int] = []
    for block in model.blocks:
        projection = block.attention.scores.projection
        projection.register_forward_hook(lambda _, given, out: rows.append(given[0].shape[-2]))
    for token in ids(1, 30)[0]:
        _, memory = after(model, token.view(1, 1), memory)
    assert not rows
    after(model, ids(1, 12), memory)
    assert rows, "a longer segment reaches distances that no step needed"


def keeps_projected_memory(spec: Spec) -> bool:
    """Whether its memory holds tokens, and keys that no later token changes."""
    assert isinstance(spec.memory, Recurrent)
    return spec.memory.length != 0 and spec.position.kind != "from_end"


@examples(20)
@given(
    valid_specs(causal=True, streams="one", memories=("recurrent",), cross=False).filter(
        keeps_projected_memory
    ),
    st.integers(0, 999),
)
def test_projected_memory_is_hidden_memory(spec: Spec, seed: int) -> None:
    """Pre-norm and zero-filled starts too; over three segments, and half-way from one form to the
    other.
    """
    model = built(spec, seed=seed)
    texts = inputs_for(spec, length=9, seed=seed, optional=False)["input_ids"]
    hidden: Memory | None = None
    projected = model.start_memory(2)
    with torch.no_grad():
        for start in (0, 3, 6):
            part = texts[:, start : start + 3]
            if hidden is not None:
                agree(
                    answer(model(part, memory=model.project_memory(hidden))),
                    answer(model(part, memory=hidden)),
                )
            one = model(part, memory=hidden, use_memory="hidden_states")
            other = model(part, memory=projected, use_memory=True)
            hidden, projected = one.memory, other.memory
            agree(answer(other), answer(one))
            assert hidden is not None and projected is not None
            assert projected.projected and not hidden.projected
            assert len(hidden.hidden_states) == spec.dims.layers
            with pytest.raises(InputError, match="keys and values, not hidden states"):
                _ = projected.hidden_states
            with pytest.raises(InputError, match="the memory that was given holds keys and values"):
                model(part, memory=projected, use_memory="hidden_states")


@pytest.mark.parametrize("name", ["transformer-xl", "xlnet"])
@pytest.mark.parametrize("saved", [False, True], ids=("begun here", "hidden states from a file"))
def test_without_gradients_nothing_remembered_is_projected_again(
    name: str, saved: bool, tmp_path: Path
) -> None:
    """The natural loop, `memory=out.memory`, costs what the loop that starts from keys and values
    does.
    """
    model, text = network(name), ids(2, 12)
    rows: list[int] = []
    for block in model.blocks:
        block.attention.key.register_forward_hook(
            lambda _, given, out: rows.append(given[0].shape[1])
        )
    memory = None
    if saved:
        model(text, use_memory="hidden_states").memory.save(tmp_path / "memory.safetensors")
        memory = Memory.load(tmp_path / "memory.safetensors")
    for step in range(4):
        rows.clear()
        _, memory = after(model, text[:, 3 * step : 3 * step + 3], memory)
        assert memory.projected
        assert step == 0 or set(rows) == {3}
    with pytest.raises(InputError, match="ask for use_memory='hidden_states' from its start"):
        _ = memory.hidden_states


def test_forms_of_memory_are_asked_for() -> None:
    model, decoder, text = network("transformer-xl"), network("xglm"), ids(2, 5)
    assert not model(text).memory.projected, "gradients reach the projections through hidden states"
    assert model(text, use_memory="keys_values").memory.projected
    assert not any(
        layer.keys.requires_grad for layer in model(text, use_memory="keys_values").memory.layers
    )
    with torch.no_grad():
        assert model(text).memory.projected
        assert not model(text, use_memory="hidden_states").memory.projected
        assert not model.train()(text).memory.projected
    with refused(
        match="use_memory is 'keys', expected True, False, None or 'hidden_states' or 'keys_values'"
    ):
        model(text, use_memory="keys")
    with refused(match="memory.kind keys_values holds keys and values"):
        decoder(text, use_memory="hidden_states")
    changes = {
        "position": {"kind": "from_end", "table": "sinusoid"},
        "attention.query_bias": "none",
    }
    counted = network("transformer-xl", **changes)
    with torch.no_grad(), refused(match="change with every token where position.kind is from_end"):
        counted(text, use_memory="keys_values")


def test_rows_that_no_memory_has() -> None:
    model = network("xglm")
    memory = remembered(model, ids(2, 5))
    with refused(match="rows holds 2, outside 0 … 1"):
        model.reset_memory(memory, [2])
    with refused(match=r"rows has shape \(3,\), expected \(2,\)"):
        model.reset_memory(memory, torch.tensor([True, False, True]))


@pytest.mark.parametrize("name", CACHED)
def test_reset_rows_are_selected_joined_and_saved(name: str, tmp_path: Path) -> None:
    model, text = network(name), ids(3, 8)
    first = remembered(model, text[:, :4])
    reset = model.reset_memory(first, torch.tensor([False, True, False]))
    expected = torch.cat((after(model, text[:1, 4:], first.select(torch.tensor([0])))[0],
                          after(model, text[1:2, 4:], model.start_memory(1))[0]))  # fmt: skip
    agree(after(model, text[:, 4:], reset)[0][:2], expected)
    reset.save(tmp_path / "memory.safetensors")
    again = Memory.load(tmp_path / "memory.safetensors").select(torch.tensor([1, 0, 2]))
    agree(after(model, text[[1, 0, 2], 4:], again)[0][:2], expected.flip(0))
    parts = [first.select(torch.tensor([0])), reset.select(torch.tensor([1]))]
    agree(after(model, text[:2, 4:], Memory.concatenate(parts))[0], expected)
    if name != "transformer-xl":  # which would begin with more zeros than that
        shorter = model.reset_memory(first, [1]).last(3).drop_newest(1)
        agree(after(model, text[:, 4:], shorter)[0][1], expected[1])


@pytest.mark.parametrize("projected", [True, False])
@pytest.mark.parametrize("name", CACHED)
def test_rows_files_and_lengths(name: str, projected: bool, tmp_path: Path) -> None:
    model, texts = network(name), ids(3, 8)
    whole = remembered(model, texts[:, :6], projected)
    expected = after(model, texts[:, 6:], whole)[0]
    parts = [remembered(model, texts[row : row + 1, :6], projected) for row in range(3)]
    agree(after(model, texts[:, 6:], Memory.concatenate(parts))[0], expected)
    order = torch.tensor([2, 0, 2])
    agree(after(model, texts[order, 6:], whole.select(order))[0], expected[order])
    whole.save(tmp_path / "memory.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["memory.safetensors"]
    loaded = Memory.load(tmp_path / "memory.safetensors")
    agree(after(model, texts[:, 6:], loaded)[0], expected)
    assert (loaded.length, loaded.spec, loaded.keeps) == (whole.length, whole.spec, whole.keeps)
    assert torch.equal(torch.as_tensor(loaded.seen), torch.as_tensor(whole.seen))
    assert whole.to(torch.float32).dtype == torch.float32
    assert whole.last(2).length == 2
    assert not whole.detach()._any().requires_grad


def test_gradients_reach_the_projections_through_hidden_memory_only() -> None:
    model, texts = network("transformer-xl").train(), ids(2, 8)
    memory = model(texts[:, :4]).memory
    answer(model(texts[:, 4:], memory=memory)).sum().backward()
    key = model.get_parameter("blocks.0.attention.key.weight")
    with_past = key.grad
    model.zero_grad(set_to_none=True)
    answer(model(texts[:, 4:], memory=model.project_memory(memory).detach())).sum().backward()
    assert with_past is not None and key.grad is not None
    assert not torch.allclose(with_past, key.grad)


def refused(**changes: Any) -> Any:
    return pytest.raises(InputError, **changes)


def test_foreign_memory_is_refused(tmp_path: Path) -> None:
    model, texts = network("xglm"), ids(2, 5)
    memory = remembered(model, texts)
    with refused(match="made by 'xglm' with 2 layers, not by 'xlm'"):
        network("xlm")(texts, memory=memory)
    with refused(match="holds 2 rows, the input has 1"):
        model(texts[:1], memory=memory)
    with refused(match="holds torch.float32, the network computes in torch.float64"):
        model(texts, memory=memory.to(torch.float32))
    with refused(match=r"holds states of shape \(4, 4\), 'xglm' has \(2, 8\)"):
        network("xglm", **{"dims.heads": 2})(texts, memory=memory)
    with refused(match="holds 2 rows"):
        model.generate(ids(3, 2), memory=memory)
    with refused(match="memory.kind none"):
        built(family("xlm"))(texts, memory=memory)
    with refused(match="same spec and length"):
        Memory.concatenate([memory, remembered(model, ids(2, 4))])
    with refused(match="no memory to stack"):
        Memory.concatenate([])
    with refused(match="memory is a tuple, expected the Memory"):
        model(texts, memory=memory.layers)
    (tmp_path / "no.safetensors").write_bytes(b"nothing")
    save_file({"seen": torch.ones(1)}, tmp_path / "other.safetensors", metadata={"memory": "{}"})
    save_file({"seen": torch.ones(1)}, tmp_path / "text.safetensors", metadata={"memory": "text"})
    for name in ("no.safetensors", "other.safetensors", "text.safetensors", "."):
        with refused(match="not a file that Memory.save wrote"):
            Memory.load(tmp_path / name)
    with refused(match="no memory file"):
        Memory.load(tmp_path / "missing.safetensors")


@pytest.mark.parametrize("name", ["transformer-xl", "xlnet"])
def test_a_memory_may_be_empty(name: str) -> None:
    """All of it given up, it is as none, in every call that takes a memory."""
    model, text = network(name, **{"memory.initial": "empty"}), ids(2, 6)
    empty = remembered(model, text, projected=False).last(0)
    assert empty.length == 0
    agree(answer(model(text, memory=empty)), answer(model(text)))
    call: dict[str, Any] = {"max_new_tokens": 3, "eos_token_id": ()}
    assert torch.equal(model.generate(text, memory=empty, **call), model.generate(text, **call))


def test_counts_that_no_memory_has() -> None:
    memory = remembered(network("xglm"), ids(2, 5))
    with pytest.raises(InputError, match="cannot keep -1"):
        memory.last(-1)
    for count in (-1, 6):
        with pytest.raises(InputError, match=f"5 tokens cannot lose {count}"):
            memory.drop_newest(count)
    assert memory.drop_newest(5).length == 0


@pytest.mark.parametrize("projected", [False, True])
def test_segments_after_segments_learn_what_they_may(projected: bool) -> None:
    """The past is cut off from the gradient whole: keys, values, and those of an encoder."""
    model = network(
        "transformer-xl", **{"attention.cross": True, "memory.initial": "empty"}
    ).train()
    states = torch.randn(2, 3, model.spec.dims.model, dtype=torch.float64)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not projected or name.endswith("value.weight"))
    memory = model.start_memory(2) if projected else None
    for segment in ids(2, 9).split(3, dim=1):
        out = model(segment, memory=memory, encoder_hidden_states=states, use_memory=True)
        torch.autograd.backward(answer(out).sum())
        memory = out.memory
        assert memory is not None
        assert not any(
            tensor.requires_grad for layer in memory.layers for tensor in layer.tensors().values()
        )


def test_dropped_layers_leave_no_hole_in_a_memory_of_keys() -> None:
    model = network(
        "transformer-xl", **{"block.layer_drop": 0.5, "memory.initial": "empty"}
    ).train()
    with pytest.raises(InputError, match="training drops whole blocks"):
        model(ids(2, 3), memory=model.start_memory(2), use_memory=True)


@pytest.mark.parametrize("given", [None, torch.ones(2, 3), "memory"])
def test_what_is_no_memory(given: Any) -> None:
    model = network("xglm")
    for call in (model.project_memory, partial(model.reset_memory, rows=[0])):
        with pytest.raises(InputError, match="expected the Memory"):
            call(given)
    number: Any
    for number in (2.0, None, "2"):
        with pytest.raises(InputError, match="batch is"):
            model.start_memory(number)
        with pytest.raises(InputError, match="cannot lose"):
            remembered(model, ids(1, 3)).drop_newest(number)

"""The arithmetic of docs/scaling.md against real networks."""

import pytest
import torch

from benchmarks.scaling import (
    FULL,
    PAGE,
    RUNS,
    block_activations,
    block_parameters,
    memory,
    page,
    sizes_of,
    tensor_wire,
    wire,
)
from engine import build_model
from engine.training.recipe.load import open_recipe

FAMILIES = ("transformer-xl", "xglm", "xlm", "xlm-roberta-xl", "xlnet")


@pytest.mark.parametrize("family", FAMILIES)
def test_the_formula_counts_a_block(family):
    model = build_model(f"tiny/{family}")
    assert block_parameters(model.spec) == sizes_of(model).block


@pytest.mark.parametrize("name", RUNS)
def test_the_formula_counts_the_large_networks(name):
    recipe, head = RUNS[name]
    spec = open_recipe(recipe).spec
    assert spec is not None
    with torch.device("meta"):
        model = build_model(spec, head)
    sizes = sizes_of(model)
    assert block_parameters(model.spec) == sizes.block
    assert sizes.all == sum(parameter.numel() for parameter in model.parameters())
    held = memory(model.spec, sizes, 64, 1, 512, True)
    assert held.moments == 2 * held.weights == 2 * held.gradients == 8 * sizes.all / 64


def kept(layers, ids):
    """Bytes that a network of so many blocks keeps for the backward pass, beside its weights."""
    model = build_model("tiny/xglm", overrides={"dims.layers": layers}).train()
    weights, found = {parameter.data_ptr() for parameter in model.parameters()}, {}

    def note(tensor):
        storage = tensor.untyped_storage()
        if tensor.is_floating_point() and tensor.data_ptr() not in weights:
            found[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        out = model(ids, labels=ids)  # held, so that no storage is used twice
    assert out.loss.requires_grad
    return model.spec, sum(found.values())


@pytest.mark.parametrize("length", [32, 64])
def test_a_block_keeps_as_much_as_the_formula_says(length):
    ids = torch.randint(5, 60, (4, length))
    (spec, more), (_, less) = kept(3, ids), kept(2, ids)
    assert more - less == pytest.approx(block_activations(spec, FULL) * ids.numel(), rel=0.01)


def test_what_is_sent_grows_with_the_others():
    model = build_model("tiny/xglm")
    sizes = sizes_of(model)
    assert wire(sizes, 1) == 0 and wire(sizes, 2) == 6 * sizes.all - 2 * sizes.outside
    assert tensor_wire(model.spec, 10, 1) == 0
    assert tensor_wire(model.spec, 10, 2) == 4 * 2 * model.spec.dims.model * 2 * 10


def test_the_page_is_current():
    text = PAGE.read_text(encoding="utf-8")
    assert page(text) == text and "| 1024 |" in text

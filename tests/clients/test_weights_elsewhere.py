"""Weights that other libraries keep elsewhere, wrap or replace."""

import copy
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

from engine import CheckpointError, InputError, Model, build_model, save_model

FAMILIES = ("xlnet", "xlm", "xlm-roberta-xl", "transformer-xl", "xglm")
IDS = torch.randint(9, 300, (2, 6), generator=torch.Generator().manual_seed(0))


def small(name: str) -> Model:
    return build_model(f"tiny/{name}", seed=0).eval()


@pytest.mark.parametrize("name", FAMILIES)
def test_accelerate_brings_weights_when_they_are_read(name: str) -> None:
    """In float64: the products that a hooked layer goes by round otherwise than the fast ones."""
    accelerate = pytest.importorskip("accelerate")
    model = small(name).double()
    expected = model(IDS, labels=IDS, output_logits=True)
    away = accelerate.cpu_offload(copy.deepcopy(model), execution_device="cpu")
    assert all(parameter.is_meta for parameter in away.parameters())
    found = away(IDS, labels=IDS, output_logits=True)
    torch.testing.assert_close(found.logits, expected.logits, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(found.loss, expected.loss)
    if name == "xlnet":
        mapping = torch.eye(6)[[2, 3]].expand(2, -1, -1)
        some, wanted = (one(IDS, target_mapping=mapping).logits for one in (away, model))
        torch.testing.assert_close(some, wanted, rtol=1e-12, atol=1e-12)
    if name in ("xlnet", "transformer-xl", "xglm"):
        assert torch.equal(
            away.generate(IDS, max_new_tokens=3), model.generate(IDS, max_new_tokens=3)
        )
    assert all(parameter.is_meta for parameter in away.parameters())


@pytest.mark.parametrize("name", FAMILIES)
def test_peft_merges_what_it_trained(name: str) -> None:
    peft = pytest.importorskip("peft")
    model = small(name)
    linear = [path for path, module in model.named_modules() if isinstance(module, nn.Linear)]
    wrapped = peft.get_peft_model(
        model, peft.LoraConfig(r=2, target_modules=linear, init_lora_weights=False)
    ).eval()
    live = wrapped(IDS).logits
    torch.testing.assert_close(wrapped.merge_and_unload()(IDS).logits, live, rtol=1e-4, atol=1e-4)


@pytest.fixture(scope="module")
def one_process() -> Iterator[None]:
    """A group of processes with one member; no port, which another run may hold."""
    store = torch.distributed.HashStore()
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("name", FAMILIES)
def test_sharded_weights_are_gathered_for_every_method(name: str, one_process: None) -> None:
    from torch.distributed.fsdp import fully_shard

    model, sharded = small(name), small(name)
    for block in sharded.blocks:
        fully_shard(block)
    fully_shard(sharded)
    if name in ("xlnet", "transformer-xl", "xglm"):
        assert torch.equal(
            sharded.generate(IDS, max_new_tokens=3), model.generate(IDS, max_new_tokens=3)
        )
    asked: dict[str, Any] = (
        {} if name in ("xlnet", "transformer-xl", "xglm") else {"mask_token_id": 5}
    )
    torch.testing.assert_close(
        sharded.score(IDS, **asked).log_probs, model.score(IDS, **asked).log_probs
    )
    for one in (model, sharded):
        one(IDS, labels=IDS).loss.backward()
    for (key, plain), shard in zip(model.named_parameters(), sharded.parameters(), strict=True):
        if plain.grad is not None:
            gathered = shard.grad.full_tensor()
            torch.testing.assert_close(gathered, plain.grad, msg=partial("{}: {}".format, key))
    with pytest.raises(CheckpointError, match="DTensor"):
        save_model(sharded, "nowhere")


class Other(torch.Tensor):
    """A tensor of another library."""


def test_tensors_of_another_library_are_named(tmp_path) -> None:
    model = small("xglm")
    layer = model.get_submodule("blocks.0.feed_forward.up")
    layer.weight = nn.Parameter(
        layer.get_parameter("weight").detach().as_subclass(Other), requires_grad=False
    )
    with pytest.raises(CheckpointError, match=r"blocks\.0\.feed_forward\.up\.weight is a Other"):
        save_model(model, tmp_path / "saved")
    assert not (tmp_path / "saved").exists()
    with pytest.raises(InputError, match="Other"):
        model.prepack()


@pytest.mark.parametrize("name", FAMILIES)
def test_every_parameter_that_a_loss_can_reach_has_a_gradient(name: str) -> None:
    """So that distributed training asks for no search for unused ones."""
    model = build_model(f"tiny/{name}", seed=0).train()
    everything = {"token_type_ids": IDS % 2} if name in ("xlnet", "xlm") else {}
    if name == "xlm":
        everything["langs"] = IDS % model.spec.embeddings.tables.languages.count
    if name == "xlnet":
        everything["target_mapping"] = torch.eye(6).expand(2, -1, -1)
    model(IDS, labels=IDS, **everything).loss.backward()
    assert [
        key
        for key, parameter in model.named_parameters()
        if parameter.requires_grad and parameter.grad is None
    ] == []

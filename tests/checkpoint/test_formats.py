"""Checkpoints as other tools leave them: wrapped, pruned, in other formats."""

import copy
import json

import pytest
import safetensors.torch
import torch
import transformers as t

from engine import load_model, save_model
from engine.laws.calls import randomise
from tests.checkpoint.folders import (
    as_bin,
    edit_config,
    loaded,
    refused,
    replace_tensors,
    small,
    tensors,
)

IDS = torch.tensor([[4, 17, 23, 42, 9], [8, 30, 11, 5, 6]])


def logits(model):
    with torch.no_grad():
        return model(IDS).logits


@pytest.mark.parametrize(
    "wrap",
    [
        lambda name: f"module.{name}",
        lambda name: f"_orig_mod.{name}",
        lambda name: f"module._orig_mod.module.{name}",
        lambda name: f"_orig_mod.module.{name}",
        lambda name: name.replace("layers.1.", "layers.1._orig_mod."),
        lambda name: name.replace("layers.", "_fsdp_wrapped_module.layers."),
    ],
)
def test_names_that_wrappers_made_longer(theirs, wrap):
    expected = logits(loaded(theirs))
    replace_tensors(theirs, {wrap(name): tensor for name, tensor in tensors(theirs).items()})
    model = loaded(theirs)
    assert torch.equal(logits(model), expected) and not model.load_report


def test_wrapped_names_of_our_own_format(tmp_path):
    model = small()
    save_model(model, tmp_path)
    state = {f"module.{name}": tensor for name, tensor in tensors(tmp_path).items()}
    replace_tensors(tmp_path, {**state, "n_averaged": torch.tensor(3)})
    assert torch.equal(logits(loaded(tmp_path)), logits(model.eval()))


def test_two_tensors_of_one_name(theirs):
    first = tensors(theirs)
    replace_tensors(
        theirs, {**first, "_orig_mod.model.layer_norm.bias": first["model.layer_norm.bias"] + 1}
    )
    refused(theirs, "_orig_mod.model.layer_norm.bias", "two tensors of one name")


@pytest.mark.parametrize("format", ["engine", "huggingface"])
@pytest.mark.parametrize("head", ["default", None])
def test_files_of_safetensors_save_model(tmp_path, format, head):
    """It writes a tied tensor under one name, and the others in the metadata."""
    model = small()
    save_model(model, tmp_path, format=format)
    if format == "engine":
        safetensors.torch.save_model(model, str(tmp_path / "model.safetensors"))
    else:
        safetensors.torch.save_model(
            t.XGLMForCausalLM.from_pretrained(tmp_path), str(tmp_path / "model.safetensors")
        )
    again = loaded(tmp_path, head=head)
    bare = [name for name in again.load_report.left_over if "head" not in name]
    assert not bare and not again.load_report.initialised
    for name, parameter in again.named_parameters():
        assert torch.equal(parameter, model.get_parameter(name)), name


@pytest.mark.parametrize("kept", ["embeddings.tokens.tables.0", "head.output.weight"])
@pytest.mark.parametrize("head", ["default", None])
def test_either_name_of_a_tied_tensor(tmp_path, kept, head):
    model = small()
    save_model(model, tmp_path)
    state = tensors(tmp_path)
    table = state.pop("embeddings.tokens.tables.0")
    safetensors.torch.save_file(
        {**state, kept: table},
        tmp_path / "model.safetensors",
        metadata={
            name: kept
            for name in ("embeddings.tokens.tables.0", "head.output.weight")
            if name != kept
        },
    )
    again = loaded(tmp_path, head=head)
    assert torch.equal(again.embeddings.tokens.tables[0], table) and not again.load_report


@pytest.mark.parametrize("key", ["model", "state_dict", "model_state_dict", "module"])
@pytest.mark.parametrize("zipped", [True, False])
def test_tensors_below_a_key(theirs, key, zipped):
    expected = logits(loaded(theirs))
    as_bin(
        theirs,
        {"epoch": 3, key: tensors(theirs), "optimizer": {"lr": 0.1}},
        _use_new_zipfile_serialization=zipped,
    )
    assert torch.equal(logits(loaded(theirs)), expected)


def pruned(kind, config, heads):
    model = kind(copy.deepcopy(config)).eval()
    randomise(model)
    model.prune_heads(heads)
    return model


PRUNED = {
    "xlm": (
        t.XLMWithLMHeadModel,
        t.XLMConfig(vocab_size=60, emb_dim=32, n_layers=2, n_heads=4, max_position_embeddings=24),
    ),
    "xlm-roberta-xl": (
        t.XLMRobertaXLForMaskedLM,
        t.XLMRobertaXLConfig(
            vocab_size=60, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48,
            max_position_embeddings=24,
        ),
    ),
    "bert": (
        t.BertForMaskedLM,
        t.BertConfig(
            vocab_size=60, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48,
            max_position_embeddings=24,
        ),
    ),
    "gpt2": (t.GPT2LMHeadModel, t.GPT2Config(vocab_size=60, n_embd=32, n_layer=2, n_head=4, n_positions=24, bos_token_id=1, eos_token_id=2)),
}  # fmt: skip


@pytest.mark.parametrize("name", PRUNED)
@pytest.mark.parametrize("heads", [{0: [1], 1: [0, 3]}, {1: [0, 1, 2]}])
def test_pruned_heads_are_silent_heads(name, heads, tmp_path):
    theirs = pruned(*PRUNED[name], heads)
    theirs.save_pretrained(tmp_path)
    model = load_model(tmp_path)
    assert not model.load_report
    with torch.no_grad():
        assert torch.allclose(model(IDS).logits, theirs(IDS).logits, atol=1e-5, rtol=1e-5)
    model(IDS).logits.square().sum().backward()
    width = model.spec.dims.head
    for block, gone in heads.items():
        attention = model.blocks[block].attention
        for head in gone:
            place = slice(head * width, (head + 1) * width)
            for part in (
                attention.query.weight[place],
                attention.value.weight[place],
                attention.output.weight[:, place],
            ):
                assert not part.any()
            assert (
                not attention.output.weight.grad[:, place].any()
                and not attention.value.weight.grad[place].any()
            )


def test_pruned_heads_that_the_network_has_not(tmp_path):
    pruned(*PRUNED["xlm"], {0: [1]}).save_pretrained(tmp_path)
    edit_config(tmp_path, pruned_heads={"0": [4]})
    refused(tmp_path, "pruned_heads says 0: [4]", "blocks 0 to 1 with heads 0 to 3")
    edit_config(tmp_path, pruned_heads={"1": [1]})
    refused(
        tmp_path,
        "config.json says pruned_heads, but blocks.1.attention",
        "32 features of heads instead of 24",
    )
    edit_config(tmp_path, pruned_heads=[1])
    refused(tmp_path, "pruned_heads should give heads a block, found [1]")
    save_model(small("xlnet"), tmp_path / "xlnet", format="huggingface")
    edit_config(tmp_path / "xlnet", pruned_heads={"0": [1]})
    refused(
        tmp_path / "xlnet", "pruned_heads, which the published code of this family does not know"
    )


@pytest.mark.parametrize(
    ("file", "told"),
    [
        ("tf_model.h5", "TensorFlow weights (tf_model.h5)"),
        ("flax_model.msgpack", "from_flax=True"),
        ("model.onnx", "an exported ONNX graph"),
        ("xglm.q4.gguf", "llama.cpp"),
        ("rust_model.ot", "rust-bert"),
        ("model.ckpt.index", "transfo_xl.convert_transfo_xl_original_tf_checkpoint_to_pytorch"),
        ("xlnet_model.ckpt.index", "xlnet.convert_xlnet_original_tf_checkpoint_to_pytorch"),
    ],
)
@pytest.mark.parametrize("config", [True, False])
def test_other_formats_are_named(theirs, file, told, config):
    (theirs / "model.safetensors").rename(theirs / file)
    if not config:
        (theirs / "config.json").unlink()
    refused(theirs, told, "holds no weights" if config else "there is no config.json")


def test_a_folder_of_something_else(tmp_path):
    (tmp_path / "README.md").write_text("hello")
    refused(tmp_path, "there is no config.json", "it holds README.md")


def test_adapters_name_their_base(tmp_path):
    (tmp_path / "adapter_config.json").write_text(
        json.dumps({"base_model_name_or_path": "facebook/xglm-564M"})
    )
    safetensors.torch.save_file(
        {"base_model.lora_A": torch.zeros(2)}, tmp_path / "adapter_model.safetensors"
    )
    refused(tmp_path, "a PEFT adapter", "facebook/xglm-564M", "merge_and_unload")


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_pointers_of_git_lfs(theirs, name):
    (theirs / "model.safetensors").unlink()
    (theirs / name).write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
    )
    refused(theirs, "git-LFS pointer", "git lfs pull")


def test_a_pointer_in_the_place_of_config(theirs):
    (theirs / "config.json").write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
    )
    refused(theirs, "config.json is a git-LFS pointer")


@pytest.mark.parametrize("method", ["bitsandbytes", "gptq", "awq"])
def test_quantised_checkpoints(theirs, method):
    edit_config(theirs, quantization_config={"quant_method": method})
    refused(theirs, "quantised weights", method, "weights='int8'")


def test_quantised_tensors_without_a_word_in_config(theirs):
    replace_tensors(
        theirs, {**tensors(theirs), "model.layers.0.fc1.qweight": torch.zeros(2, dtype=torch.int32)}
    )
    refused(theirs, "quantised weights (model.layers.0.fc1.qweight)")


def test_what_was_looked_for_and_what_is_near(theirs):
    kept = tensors(theirs)
    kept["model.layers.1.fc1.wieght"] = kept.pop("model.layers.1.fc1.weight")
    replace_tensors(theirs, kept)
    refused(
        theirs,
        "lacks blocks.1.feed_forward.up.weight (there model.layers.1.fc1.weight; left over and near it: "
        "model.layers.1.fc1.wieght): it holds another network",
    )

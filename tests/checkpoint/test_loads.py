"""What a load reports, where it looks, and the memory that it needs."""

import json
import sys

import huggingface_hub
import pytest
import torch
import transformers

from engine import CheckpointError, build_model, load_model, save_model
from tests.checkpoint.folders import (
    as_bin,
    edit_config,
    loaded,
    memory_to_open,
    refused,
    replace_tensors,
    save_large,
    small,
    tensors,
)


def test_nothing_to_report(theirs):
    assert not loaded(theirs).load_report and str(loaded(theirs).load_report) == "all taken over"


def test_head_tensors_of_another_shape_are_drawn_anew(tmp_path):
    save_model(small("xlm-roberta-xl"), tmp_path, format="huggingface")
    changed = tensors(tmp_path)
    old = changed["lm_head.dense.weight"]
    changed["lm_head.dense.weight"] = old[:7].clone()
    replace_tensors(tmp_path, changed)
    model = loaded(tmp_path)
    assert model.load_report.other_shape == ("head.output.dense.weight",)
    assert not model.load_report.initialised
    weight = model.head.output.dense.weight
    assert weight.shape == old.shape and 0.01 < float(weight.detach().std()) < 0.03


def test_a_new_head_is_reported_and_drawn_by_its_seed(theirs):
    first, again, other = (
        loaded(theirs, head="token_classification", num_labels=3, seed=seed) for seed in (1, 1, 2)
    )
    names = [name for name, _ in first.named_parameters() if name.startswith("head.")]
    assert names and set(first.load_report.initialised) == set(names)
    weights = [dict(model.named_parameters())[names[0]] for model in (first, again, other)]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


def test_loading_leaves_the_random_state_as_it_was(theirs):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    loaded(theirs, head="token_classification", num_labels=3)
    assert torch.equal(torch.rand(3), expected)


def test_left_over_tensors_and_config_fields_are_reported(theirs):
    replace_tensors(
        theirs,
        {**tensors(theirs), "model.layers.7.fc1.weight": torch.zeros(2), "own": torch.zeros(1)},
    )
    edit_config(theirs, use_magic=True, transformers_version="5.0.0")
    report = loaded(theirs).load_report
    assert report.left_over == ("model.layers.7.fc1.weight", "own")
    assert report.config_left_over == ("use_magic",)
    assert str(report) == (
        "left over in the checkpoint: model.layers.7.fc1.weight, own; "
        "fields of config.json that no axis reads: use_magic"
    )


def test_a_long_report_is_cut_but_kept_whole(theirs):
    extra = {f"extra.{number}": torch.zeros(1) for number in range(30)}
    replace_tensors(theirs, {**tensors(theirs), **extra})
    report = loaded(theirs).load_report
    assert len(report.left_over) == 30 and str(report).endswith("and 22 more")


def test_tied_tensors_that_differ(theirs):
    changed = tensors(theirs)
    changed["lm_head.weight"] = changed["model.embed_tokens.weight"] + 1
    replace_tensors(theirs, changed)
    refused(theirs, "lm_head.weight", "model.embed_tokens.weight", "differ, but the spec ties them")
    edit_config(theirs, tie_word_embeddings=False)
    model = loaded(theirs)
    assert (
        torch.equal(model.head.output.weight, changed["lm_head.weight"]) and not model.load_report
    )


def test_a_tied_copy_that_agrees_is_no_left_over(theirs):
    changed = tensors(theirs)
    changed["lm_head.weight"] = changed["model.embed_tokens.weight"].clone()
    replace_tensors(theirs, changed)
    model = loaded(theirs)
    assert not model.load_report and model.head.output.weight is model.embeddings.tokens.tables[0]


def test_hub_ids_go_through_the_hub_client(theirs, monkeypatch):
    asked = []

    def snapshot(repository, revision=None, allow_patterns=None):
        asked.append((repository, revision))
        assert {"*.json", "*.safetensors", "*.bin"} <= set(allow_patterns)
        return str(theirs)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    model = load_model("facebook/xglm-564M", revision="abc")
    assert asked == [("facebook/xglm-564M", "abc")] and model.spec.dims.layers == 2


def test_what_the_hub_does_not_give(monkeypatch):
    def snapshot(*_, **__):
        raise ConnectionError("no route")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    refused(
        "nobody/nothing",
        "'nobody/nothing' is no folder here, and the hub did not give it: no route",
    )


@pytest.mark.parametrize("kind", ["safetensors", "bin"])
def test_a_loaded_model_neither_changes_its_file_nor_follows_it(kind, tmp_path):
    first, second = (build_model("tiny/xglm", seed=seed) for seed in (0, 1))
    save_model(first, tmp_path, format="huggingface")
    if kind == "bin":
        as_bin(tmp_path)
    opened = load_model(tmp_path)
    with torch.no_grad():
        for parameter in opened.parameters():
            parameter.add_(1.0)
    for name, parameter in load_model(tmp_path).named_parameters():
        assert torch.equal(parameter, first.get_parameter(name)), name
    save_model(second, tmp_path, format="huggingface")
    for name, parameter in opened.named_parameters():
        assert torch.equal(parameter, first.get_parameter(name) + 1.0), name


@pytest.mark.parametrize("begin", ["train", "prepare_for_inference"])
def test_weights_that_a_file_keeps_transposed_are_laid_out_where_one_asks_for_it(begin, tmp_path):
    save_model(build_model("tiny/xlnet", seed=0), tmp_path, format="huggingface")
    opened = load_model(tmp_path)
    held, ids = dict(opened.named_parameters()), torch.arange(9, 15)[None]
    assert not all(parameter.is_contiguous() for parameter in held.values())
    opened.generate(ids, max_new_tokens=20)
    assert not all(parameter.is_contiguous() for parameter in held.values()), (
        "a call moves no weights"
    )
    before = {name: parameter.detach().clone() for name, parameter in held.items()}
    assert getattr(opened, begin)().training == (begin == "train")
    for name, parameter in opened.named_parameters():
        assert (
            parameter is held[name]
            and parameter.is_contiguous()
            and torch.equal(parameter, before[name])
        ), name


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("kind", ["safetensors", "bin"])
def test_a_loaded_model_needs_little_more_memory_than_its_weights(kind, tmp_path):
    save_large(tmp_path)
    if kind == "bin":
        as_bin(tmp_path)
    used = "assert sum(float(parameter.detach().sum()) for parameter in model.parameters()) > 0  # brings every page in"
    grown, size = memory_to_open(tmp_path, 'build_model("tiny/xglm")', use=used)
    assert size > 190 * 2**20
    assert 0.9 * size < grown < size + 110 * 2**20, (
        f"{grown / 2**20:.0f} MiB for {size / 2**20:.0f} MiB"
    )


def test_learned_tensors_without_use_are_told(tmp_path):
    """BERT's pretraining checkpoints hold a head for sentence order that no head here takes."""
    config = transformers.BertConfig(
        vocab_size=40,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=24,
    )
    transformers.BertForPreTraining(config).save_pretrained(tmp_path)
    with pytest.warns(
        UserWarning,
        match=r"learned tensors for which this network has no use: cls\.seq_relationship",
    ):
        model = load_model(tmp_path, head="masked_lm")
    assert model.load_report.unused == ("cls.seq_relationship.bias", "cls.seq_relationship.weight")


def test_the_spec_says_what_the_tokenizer_files_say(tmp_path):
    """A cased XLM: its files beside config.json are what a saved spec describes."""
    config = transformers.XLMConfig(vocab_size=40, emb_dim=16, n_layers=1, n_heads=2)
    transformers.XLMModel(config).save_pretrained(tmp_path / "theirs")
    told = {
        "tokenizer_class": "XLMTokenizer",
        "do_lowercase_and_remove_accent": False,
        "added_tokens_decoder": {},
    }
    (tmp_path / "theirs" / "tokenizer_config.json").write_text(json.dumps(told))
    model = load_model(tmp_path / "theirs")
    assert not model.spec.tokenizer.lower_case_and_remove_accents
    save_model(model, tmp_path / "ours")
    assert not load_model(tmp_path / "ours").spec.tokenizer.lower_case_and_remove_accents


@pytest.mark.parametrize(
    "name", ["XLMWithLMHeadModel", "TFXLMWithLMHeadModel", "BertForPreTraining", "Mine"]
)
def test_names_of_classes(tmp_path, name):
    config = transformers.XLMConfig(vocab_size=40, emb_dim=16, n_layers=1, n_heads=2)
    transformers.XLMWithLMHeadModel(config).save_pretrained(tmp_path)
    fields = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**fields, "architectures": [name]}))
    if "XLM" in name:
        assert load_model(tmp_path).spec.heads.default == "masked_lm"
        return
    with pytest.warns(UserWarning, match=f"names the class {name}, which the spec does not know"):
        assert load_model(tmp_path).head is None


@pytest.mark.parametrize("fields", [{"pad_token_id": 7}, {"pad_token_id": 7, "pad_index": 7}])
def test_padding_under_either_name(tmp_path, fields):
    config = transformers.XLMConfig(vocab_size=40, emb_dim=16, n_layers=1, n_heads=2)
    transformers.XLMModel(config).save_pretrained(tmp_path)
    told = json.loads((tmp_path / "config.json").read_text())
    told.pop("pad_index")
    (tmp_path / "config.json").write_text(json.dumps({**told, **fields}))
    model = load_model(tmp_path)
    assert model.spec.tokens.padding == model.spec.embeddings.tables.tokens.padding == 7


@pytest.mark.parametrize("name", ["xlnet", "xlm", "xlm-roberta-xl", "transformer-xl", "xglm"])
def test_what_was_saved_here_is_still_exported(tmp_path, name):
    model = build_model(f"tiny/{name}", seed=0).eval()
    ids = torch.tensor([[5, 6, 7, 8]])
    save_model(model, tmp_path / "ours")
    save_model(load_model(tmp_path / "ours"), tmp_path / "theirs", format="huggingface")
    torch.testing.assert_close(load_model(tmp_path / "theirs")(ids).logits, model(ids).logits)


@pytest.mark.parametrize(
    ("name", "changes", "path"),
    [
        ("xglm", {"norm.eps": 0.5}, "norm.eps"),
        ("xglm", {"position": {"kind": "rotary"}}, "position.kind"),
        ("xlnet", {"memory": {"kind": "none"}}, "memory.kind"),
        ("xglm", {"dims.head": 8}, "dims.head"),
        ("xlm", {"attention.scale": False}, "attention.scale"),
        ("xlm-roberta-xl", {"ffn.gated": True}, "ffn.gated"),
    ],
)
def test_what_no_field_can_say_is_refused(tmp_path, name, changes, path):
    with pytest.raises(CheckpointError, match=rf"config\.json cannot say: .*{path}"):
        save_model(
            build_model(f"tiny/{name}", overrides=changes),
            tmp_path / "theirs",
            format="huggingface",
        )
    assert not (tmp_path / "theirs").exists()

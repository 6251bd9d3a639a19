"""Checkpoints that are missing, damaged, foreign, or only a part of what a network needs."""

import json
import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from engine import save_model
from tests.checkpoint.folders import (
    as_bin,
    edit_config,
    loaded,
    refused,
    replace_tensors,
    small,
    tensors,
)


def test_missing_folder(tmp_path):
    refused(tmp_path / "nowhere", f"there is no folder {tmp_path / 'nowhere'}")


def test_a_file_instead_of_a_folder(theirs):
    refused(theirs / "model.safetensors", "is a file; give the folder")


def test_no_config(theirs):
    (theirs / "config.json").unlink()
    refused(theirs, "there is no config.json in", str(theirs))


def test_no_weights(theirs):
    (theirs / "model.safetensors").unlink()
    refused(theirs, "holds no weights: expected model.safetensors or pytorch_model.bin")


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"model_type": "xglm"', "\x00\x01"])
def test_damaged_config(theirs, text):
    (theirs / "config.json").write_text(text)
    refused(theirs, "config.json is damaged")


@pytest.mark.parametrize("size", [0, 4, 100, 2000, -1])
def test_truncated_safetensors(theirs, size):
    path = theirs / "model.safetensors"
    path.write_bytes(path.read_bytes()[:size])
    refused(theirs, "model.safetensors is damaged or no weight file")


@pytest.mark.parametrize("zipped", [True, False])
def test_bin_files_of_both_kinds_open(theirs, zipped):
    expected = tensors(theirs)
    as_bin(theirs, _use_new_zipfile_serialization=zipped)
    model = loaded(theirs)
    assert (
        torch.equal(model.final_norm.weight, expected["model.layer_norm.weight"])
        and not model.load_report
    )


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("size", [0, 1, 2, 300, -1000])
def test_truncated_bin(theirs, zipped, size):
    path = as_bin(theirs, _use_new_zipfile_serialization=zipped)
    path.write_bytes(path.read_bytes()[:size])
    refused(theirs, "pytorch_model.bin is damaged")


class Touches:
    """Makes a file when unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("zipped", [True, False, None], ids=["zip", "legacy", "plain pickle"])
def test_a_pickle_that_would_run_code_runs_nothing(theirs, tmp_path, zipped):
    mark = tmp_path / "mark"
    evil = {**tensors(theirs), "extra": Touches(mark)}
    if zipped is None:
        as_bin(theirs, {}).write_bytes(pickle.dumps(evil))
        pickle.loads(pickle.dumps(evil))
    else:
        path = as_bin(theirs, evil, _use_new_zipfile_serialization=zipped)
        torch.load(path, weights_only=False)
    assert mark.is_file()  # the trap works where code may run
    mark.unlink()
    reasons = {None: "torch.save did not write it"}
    refused(theirs, reasons.get(zipped, "holds more than tensors; nothing in it was run"))
    assert not mark.exists()


def test_a_pickle_of_something_else(theirs):
    as_bin(theirs, {"weights": tensors(theirs), "epoch": 3})
    refused(theirs, "holds no tensors by name")


@pytest.mark.parametrize("name", [b"x", 3, None, ("a",)])
def test_tensors_under_what_is_no_name(theirs, name):
    as_bin(theirs, {**tensors(theirs), name: torch.zeros(1)})
    refused(theirs, "holds no tensors by name")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_pipe_in_the_place_of_a_file(theirs, name):
    (theirs / name).unlink()
    os.mkfifo(theirs / name)
    refused(theirs, name, "it is no plain file")


@pytest.fixture
def sharded(tmp_path):
    folder = tmp_path / "sharded"
    save_model(small(), folder, format="huggingface", shard_bytes=20_000)
    assert len(list(folder.glob("model-*-of-*.safetensors"))) > 2
    return folder


def test_index_that_names_absent_shards(sharded):
    gone = sorted(sharded.glob("model-*.safetensors"))[1:3]
    for path in gone:
        path.unlink()
    refused(sharded, "lacks shards that its index names", *(path.name for path in gone))


@pytest.mark.parametrize("text", ["{}", '{"weight_map": []}', '{"weight_map": {}}', "nothing"])
def test_damaged_index(sharded, text):
    (sharded / "model.safetensors.index.json").write_text(text)
    refused(sharded, "index.json is damaged")


def test_an_index_leads_nowhere_else(sharded, tmp_path):
    outside = tmp_path / "outside.safetensors"
    save_file({"model.layer_norm.weight": torch.zeros(32)}, outside)
    for name in ("../outside.safetensors", str(outside), "..", "", "a\\b", 3, None, ["x"], {}):
        index = {"weight_map": {"model.layer_norm.weight": name}}
        (sharded / "model.safetensors.index.json").write_text(json.dumps(index))
        refused(sharded, f"index.json: {name!r} is no name of a file beside it")


def test_foreign_model_type_names_the_nearest(theirs):
    edit_config(theirs, model_type="xglm-roberta-xl")
    refused(theirs, "model_type 'xglm-roberta-xl'", "did you mean 'xlm-roberta-xl'?", "spec=")


def test_a_config_that_describes_no_network(theirs):
    edit_config(theirs, num_layers="two", attention_heads=5)
    refused(
        theirs,
        f"{theirs / 'config.json'}: num_layers (dims.layers): should be a whole number, found 'two'",
    )


def test_a_config_value_that_the_family_has_not(tmp_path):
    save_model(small("xlnet"), tmp_path, format="huggingface")
    edit_config(tmp_path, attn_type="sideways")
    refused(tmp_path, "attn_type is 'sideways'", "'bi', 'uni'")


def test_tensors_of_another_network(theirs):
    replace_tensors(
        theirs, {"bert.embeddings.weight": torch.zeros(3), "classifier.bias": torch.zeros(2)}
    )
    refused(
        theirs,
        "lacks embeddings.tokens.tables.0",
        "more: it holds another network, or only a part of this one",
    )


def test_missing_body_tensors_are_named(theirs):
    kept = tensors(theirs)
    del kept["model.layers.1.fc1.weight"], kept["model.layer_norm.bias"]
    replace_tensors(theirs, kept)
    refused(
        theirs,
        "lacks blocks.1.feed_forward.up.weight (there model.layers.1.fc1.weight), final_norm.bias (there model.layer_norm.bias):",
    )


def test_body_tensors_of_another_shape_are_named_with_both_shapes(theirs):
    changed = tensors(theirs)
    changed["model.layers.0.fc1.weight"] = torch.zeros(48, 32)
    changed["model.layer_norm.weight"] = torch.zeros(16)
    replace_tensors(theirs, changed)
    refused(
        theirs,
        "blocks.0.feed_forward.up.weight (48, 32) instead of (64, 32)",
        "final_norm.weight (16,) instead of (32,)",
    )


def test_config_and_weights_of_different_sizes(theirs):
    edit_config(theirs, ffn_dim=128)
    refused(theirs, "blocks.0.feed_forward.up.weight (64, 32) instead of (128, 32)")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id2label", {"one": "x"}),
        ("id2label", 3),
        ("architectures", "XGLMModel"),
        ("architectures", [3]),
        ("architectures", ""),
    ],
)
def test_fields_of_another_type_in_config(theirs, field, value):
    edit_config(theirs, **{field: value})
    refused(theirs, f"config.json: {field} should ", repr(value))


def test_a_head_that_its_config_leaves_without_labels(tmp_path):
    """XLM's summary may leave out the layer that gives the labels, and is then as wide as the
    network.
    """
    save_model(
        small("xlm", "sequence_classification", dims__inner=128), tmp_path, format="huggingface"
    )
    edit_config(tmp_path, summary_proj_to_labels=False)
    refused(tmp_path, str(tmp_path), "this summary ends 32 wide, but 2 scores are wanted")

"""Checkpoints that are missing, damaged, foreign or only in part what a network needs; saves that are cut short."""

import json
import pickle
import subprocess
import sys
import warnings
from pathlib import Path

import huggingface_hub
import pytest
import torch
from safetensors.torch import load_file, save_file

from engine import CheckpointError, SpecError, build_model, load_model, save_model
from engine.checkpoint import files

SMALL = {"dims.layers": 2, "dims.model": 32, "dims.inner": 64, "dims.vocab": 60}


def small(name="xglm", head="default", **overrides):
    changes = {**SMALL, **{path.replace("__", "."): value for path, value in overrides.items()}}
    return build_model(name, head, overrides=changes, seed=0)


@pytest.fixture
def theirs(tmp_path):
    """A folder with a small XGLM in transformers' format."""
    folder = tmp_path / "theirs"
    save_model(small(), folder, format="huggingface")
    return folder


def tensors(folder):
    return load_file(folder / "model.safetensors")


def replace_tensors(folder, changed):
    save_file(changed, folder / "model.safetensors", metadata={"format": "pt"})


def edit_config(folder, **fields):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def refused(folder, *words, error=CheckpointError, **options):
    with pytest.raises(error) as caught:
        load_model(folder, **options)
    for word in words:
        assert word in str(caught.value)


def loaded(folder, **options):
    """A model and the one warning of its load."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        model = load_model(folder, **options)
    assert [str(warning.message) for warning in told] == (
        [f"{folder}: {model.load_report}"] if model.load_report else []
    )
    return model


# --- missing and damaged -------------------------------------------------------------------------------------------


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


def as_bin(folder, state=None, **options):
    state = tensors(folder) if state is None else state
    (folder / "model.safetensors").unlink(missing_ok=True)
    torch.save(state, folder / "pytorch_model.bin", **options)
    return folder / "pytorch_model.bin"


@pytest.mark.parametrize("zipped", [True, False])
def test_bin_files_of_both_kinds_open(theirs, zipped):
    expected = tensors(theirs)
    as_bin(theirs, _use_new_zipfile_serialization=zipped)
    model = loaded(theirs)
    assert torch.equal(model.final_norm.weight, expected["model.layer_norm.weight"]) and not model.load_report


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
    refused(theirs, "pytorch_model.bin is damaged, or holds more than tensors; nothing in it was run")
    assert not mark.exists()


def test_a_pickle_of_something_else(theirs):
    as_bin(theirs, {"state_dict": tensors(theirs)})
    refused(theirs, "holds no tensors by name")


# --- shards --------------------------------------------------------------------------------------------------------


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
    index = {"weight_map": {"model.layer_norm.weight": "../outside.safetensors"}}
    (sharded / "model.safetensors.index.json").write_text(json.dumps(index))
    refused(sharded, "lacks shards that its index names: outside.safetensors")


# --- foreign -------------------------------------------------------------------------------------------------------


def test_foreign_model_type_names_the_nearest(theirs):
    edit_config(theirs, model_type="xglm-roberta-xl")
    refused(theirs, "model_type 'xglm-roberta-xl'", "did you mean 'xlm-roberta-xl'?", "spec=")


def test_a_config_that_describes_no_network(theirs):
    edit_config(theirs, num_layers="two", attention_heads=5)
    refused(theirs, f"{theirs / 'config.json'}: dims.layers: should be a whole number, found 'two'", error=SpecError)


def test_a_config_value_that_the_family_has_not(tmp_path):
    save_model(small("xlnet"), tmp_path, format="huggingface")
    edit_config(tmp_path, attn_type="sideways")
    refused(tmp_path, "attn_type is 'sideways'", "'bi', 'uni'")


def test_tensors_of_another_network(theirs):
    replace_tensors(theirs, {"bert.embeddings.weight": torch.zeros(3), "classifier.bias": torch.zeros(2)})
    refused(theirs, "lacks embeddings.tokens.tables.0", "more: it holds another network, or only a part of this one")


def test_missing_body_tensors_are_named(theirs):
    kept = tensors(theirs)
    del kept["model.layers.1.fc1.weight"], kept["model.layer_norm.bias"]
    replace_tensors(theirs, kept)
    refused(theirs, "lacks blocks.1.feed_forward.up.weight, final_norm.bias:")


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


# --- what a load reports -------------------------------------------------------------------------------------------


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
    first, again, other = (loaded(theirs, head="token_classification", num_labels=3, seed=seed) for seed in (1, 1, 2))
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
    replace_tensors(theirs, {**tensors(theirs), "model.layers.7.fc1.weight": torch.zeros(2), "own": torch.zeros(1)})
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
    assert torch.equal(model.head.output.weight, changed["lm_head.weight"]) and not model.load_report


def test_a_tied_copy_that_agrees_is_no_left_over(theirs):
    changed = tensors(theirs)
    changed["lm_head.weight"] = changed["model.embed_tokens.weight"].clone()
    replace_tensors(theirs, changed)
    model = loaded(theirs)
    assert not model.load_report and model.head.output.weight is model.embeddings.tokens.tables[0]


# --- the hub -------------------------------------------------------------------------------------------------------


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
    refused("nobody/nothing", "'nobody/nothing' is no folder here, and the hub did not give it: no route")


# --- saves ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "paths"),
    [
        ({"attention.window": 4, "attention.mask": ["padding", "causal", "window"]}, ["attention.window"]),
        ({"norm.kind": "rms", "norm.bias": False, "ffn.gated": True}, ["norm.kind", "ffn.gated"]),
        ({"position": {"kind": "rotary"}}, ["position.kind"]),
        ({"dropout.embeddings": 0.3}, ["dropout.residual"]),
    ],
)
def test_export_of_what_the_other_config_cannot_say(changes, paths, tmp_path):
    model = build_model("xglm", overrides={**SMALL, **changes})
    with pytest.raises(CheckpointError, match=r"a xglm config.json cannot say: ") as caught:
        save_model(model, tmp_path / "out", format="huggingface")
    assert all(path in str(caught.value) for path in paths)
    assert not (tmp_path / "out").exists()


def test_export_without_a_layout_or_class(tmp_path):
    plain = {"name": "own", "dims": {"layers": 1, "model": 32, "heads": 4, "vocab": 60}}
    with pytest.raises(CheckpointError, match=r"no checkpoint\.huggingface section"):
        save_model(build_model(plain), tmp_path, format="huggingface")
    with pytest.raises(CheckpointError, match="transformers has no xglm class for the head 'masked_lm'; it has: "):
        save_model(small(head="masked_lm"), tmp_path, format="huggingface")


def test_models_without_weights_and_bad_arguments(tmp_path):
    with pytest.raises(CheckpointError, match="meta device"):
        save_model(build_model("xglm", device="meta"), tmp_path)
    with pytest.raises(ValueError, match="allowed: 'engine', 'huggingface'"):
        save_model(small(), tmp_path, format="onnx")
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match="is a file, not a folder"):
        save_model(small(), tmp_path / "file")


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("format", ["engine", "huggingface"])
@pytest.mark.parametrize("shard_bytes", [20_000, 10**9])
def test_an_interrupted_save_leaves_the_old_files_whole(format, shard_bytes, tmp_path, monkeypatch):
    save_model(small(), tmp_path, format=format, shard_bytes=shard_bytes)
    before = contents(tmp_path)
    calls = []

    def interrupted(shard, path, metadata):
        calls.append(path)
        if len(calls) == (1 if shard_bytes == 10**9 else 3):
            Path(path).write_bytes(b"half")
            raise KeyboardInterrupt
        save_file(shard, path, metadata=metadata)

    monkeypatch.setattr(files, "save_file", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_model(build_model("xglm", overrides=SMALL, seed=7), tmp_path, format=format, shard_bytes=shard_bytes)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("first", ["engine", "huggingface"])
@pytest.mark.parametrize("second", ["engine", "huggingface"])
@pytest.mark.parametrize("shards", [(20_000, 10**9), (10**9, 20_000), (20_000, 60_000)])
def test_a_save_over_another_one_replaces_it(first, second, shards, tmp_path):
    """Neither the other format's description nor the other number of shards is left to be read."""
    (tmp_path / "tokenizer.json").write_text("{}")
    save_model(small(), tmp_path, format=first, shard_bytes=shards[0])
    new = build_model("xglm", overrides={**SMALL, "dims.layers": 3}, seed=9)
    save_model(new, tmp_path, format=second, shard_bytes=shards[1])
    opened = loaded(tmp_path)
    assert not opened.load_report and (tmp_path / "tokenizer.json").is_file()
    for (name, ours), (again, theirs) in zip(new.named_parameters(), opened.named_parameters(), strict=True):
        assert name == again and torch.equal(ours, theirs)
    fresh = tmp_path / "fresh"
    save_model(new, fresh, format=second, shard_bytes=shards[1])
    assert {*contents(fresh), "fresh", "tokenizer.json"} == {path.name for path in tmp_path.iterdir()}


def test_a_loaded_model_can_be_saved_where_it_came_from(theirs):
    model = loaded(theirs)
    expected = {name: parameter.clone() for name, parameter in model.named_parameters()}
    save_model(model, theirs, format="huggingface")
    again = dict(loaded(theirs).named_parameters())
    assert all(torch.equal(again[name], value) for name, value in expected.items())
    assert all(torch.equal(value, expected[name]) for name, value in model.named_parameters())


# --- memory --------------------------------------------------------------------------------------------------------

MEASURE = """
import sys
from pathlib import Path
import torch
import engine.checkpoint.load, huggingface_hub
from engine import build_model, load_model
build_model("tiny/xglm")
def peak():
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024
before = peak()
model = load_model(sys.argv[1])
print(peak() - before, sum(p.numel() * p.element_size() for p in model.parameters()))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("kind", ["safetensors", "bin"])
def test_loading_needs_little_more_memory_than_the_model(kind, tmp_path):
    changes = {"dims.layers": 12, "dims.model": 512, "dims.inner": 2048, "dims.vocab": 24_000, "dims.heads": 8}
    model = build_model("xglm", overrides=changes, device="meta").to_empty(device="cpu")
    save_model(model, tmp_path, format="huggingface")
    del model
    if kind == "bin":
        as_bin(tmp_path)
    command = [sys.executable, "-c", MEASURE, str(tmp_path)]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    grown, size = map(int, output.split())
    assert size > 190 * 2**20
    assert size <= grown + 2**20 and grown < size + 110 * 2**20, f"{grown / 2**20:.0f} MiB for {size / 2**20:.0f} MiB"

"""Saves that are refused, cut short, or written over another."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from engine import CheckpointError, build_model, save_model
from engine.checkpoint.files import sharding
from tests.checkpoint.folders import SMALL, loaded, small


@pytest.mark.parametrize(
    ("changes", "paths"),
    [
        (
            {"attention.window": 4},
            ["attention.window"],
        ),
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


def test_how_fresh_weights_were_drawn_does_not_stand_in_the_way(tmp_path):
    model = build_model("xglm", overrides={**SMALL, "init.embeddings": 0.3, "init.kind": "uniform"})
    save_model(model, tmp_path, format="huggingface")
    opened = loaded(tmp_path)
    for name, weight in model.named_parameters():
        assert torch.equal(opened.get_parameter(name), weight), name


def test_export_without_a_layout_or_class(tmp_path):
    plain = {"name": "own", "dims": {"layers": 1, "model": 32, "heads": 4, "vocab": 60}}
    with pytest.raises(CheckpointError, match=r"no checkpoint\.huggingface section"):
        save_model(build_model(plain), tmp_path, format="huggingface")
    with pytest.raises(
        CheckpointError, match="transformers has no xglm class for the head 'masked_lm'; it has: "
    ):
        save_model(small(head="masked_lm"), tmp_path, format="huggingface")


def test_models_without_weights_and_bad_arguments(tmp_path):
    with pytest.raises(CheckpointError, match="meta device"):
        save_model(build_model("xglm", device="meta"), tmp_path)
    with pytest.raises(ValueError, match="allowed: 'engine', 'huggingface'"):
        unknown: Any = "onnx"  # no format
        save_model(small(), tmp_path, format=unknown)
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

    monkeypatch.setattr(sharding, "save_file", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_model(
            build_model("xglm", overrides=SMALL, seed=7),
            tmp_path,
            format=format,
            shard_bytes=shard_bytes,
        )
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
    for (name, ours), (again, theirs) in zip(
        new.named_parameters(), opened.named_parameters(), strict=True
    ):
        assert name == again and torch.equal(ours, theirs)
    fresh = tmp_path / "fresh"
    save_model(new, fresh, format=second, shard_bytes=shards[1])
    assert {*contents(fresh), "fresh", "tokenizer.json"} == {
        path.name for path in tmp_path.iterdir()
    }


def test_a_loaded_model_can_be_saved_where_it_came_from(theirs):
    model = loaded(theirs)
    expected = {name: parameter.clone() for name, parameter in model.named_parameters()}
    save_model(model, theirs, format="huggingface")
    again = dict(loaded(theirs).named_parameters())
    assert all(torch.equal(again[name], value) for name, value in expected.items())
    assert all(torch.equal(value, expected[name]) for name, value in model.named_parameters())

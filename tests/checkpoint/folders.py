"""Small checkpoint folders, and what is done to them."""

import json
import warnings

import pytest
import torch
from safetensors.torch import load_file, save_file

from engine import CheckpointError, build_model, load_model

SMALL = {"dims.layers": 2, "dims.model": 32, "dims.inner": 64, "dims.vocab": 60}


def small(name="xglm", head="default", **overrides):
    changes = {**SMALL, **{path.replace("__", "."): value for path, value in overrides.items()}}
    return build_model(name, head, overrides=changes, seed=0)


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


def as_bin(folder, state=None, **options):
    state = tensors(folder) if state is None else state
    (folder / "model.safetensors").unlink(missing_ok=True)
    torch.save(state, folder / "pytorch_model.bin", **options)
    return folder / "pytorch_model.bin"

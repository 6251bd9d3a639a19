"""Small checkpoint folders, and what is done to them."""

import json
import subprocess
import sys
import warnings

import pytest
import torch
from safetensors.torch import load_file, save_file

from engine import CheckpointError, build_model, load_model, save_model

SMALL = {"dims.layers": 2, "dims.model": 32, "dims.inner": 64, "dims.vocab": 60}


def small(name="xglm", head="default", **overrides):
    changes = {**SMALL, **{path.replace("__", "."): value for path, value in overrides.items()}}
    return build_model(name, head, overrides=changes, seed=0)


def tensors(folder):
    """Copies, since a test may write over the file that they would be pages of."""
    held = load_file(folder / "model.safetensors")
    return {name: tensor.clone() for name, tensor in held.items()}


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


MEASURE = """
import sys
from pathlib import Path
import torch
import engine.checkpoint.load, huggingface_hub
from engine import build_model, load_model
{prepare}
def memory(field):
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field)]
    return int(line.split()[1]) * 1024
before = memory("VmRSS")
model = load_model(sys.argv[1], {arguments})
{use}
print(memory("VmHWM") - before, sum(parameter.nbytes for parameter in model.parameters()))
"""


def save_large(folder):
    """A folder in transformers' format with about 190 MiB of float32 weights, all ones; returns
    their bytes.
    """
    changes = {
        "dims.layers": 12,
        "dims.model": 512,
        "dims.inner": 2048,
        "dims.vocab": 24_000,
        "dims.heads": 8,
    }
    model = build_model("xglm", overrides=changes, device="meta").to_empty(device="cpu")
    model.tie()
    for parameter in model.parameters():
        torch.nn.init.ones_(parameter)
    save_model(model, folder, format="huggingface")
    return sum(parameter.nbytes for parameter in model.parameters())


def memory_to_open(folder, prepare, arguments="", use=""):
    """By how many bytes a fresh process grows at its peak when it opens a folder and uses the
    model, and the weights'.
    """
    script = MEASURE.format(prepare=prepare, arguments=arguments, use=use)
    ended = subprocess.run(
        [sys.executable, "-c", script, str(folder)], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    grown, size = map(int, ended.stdout.split())
    return grown, size

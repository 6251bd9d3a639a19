"""A network goes through both formats and back, twice; the order of keys in a spec, or in a spec.yaml
that another program wrote, changes nothing.
"""

import json
import warnings
from typing import Any

import pytest
import torch

from engine import build_model, load_model, load_spec, save_model
from engine.spec.load import shipped
from tokenization.files.plain_yaml import parse_yaml, write_yaml

NARROW = {"dims.layers": 1, "dims.model": 32, "dims.inner": 128}
VARIANT = {**NARROW, "dims.heads": 2, "dims.vocab": 120}
ENCODER = {"layers": 1, "heads": 2, "inner": 128}
NAMES = [name for name in sorted(shipped()) if name.startswith(("tiny/", "variants/"))]


def narrow(name):
    changes: dict[str, Any] = dict(NARROW)
    if name.startswith("variants/"):
        spec = load_spec(name)
        ids = {f"tokens.{key}": 3 for key, value in vars(spec.tokens).items() if value is not None}
        changes |= {**VARIANT, **ids, "dims.kv_heads": None}
        if spec.embeddings.tables.tokens.padding is not None:
            changes["embeddings.tables.tokens.padding"] = 3
        said = (spec.to_dict().get("encoder") or {}).get("dims", {})
        changes |= {f"encoder.dims.{key}": value for key, value in ENCODER.items() if key in said}
        if getattr(spec.position, "width", None) is not None:
            changes["position.width"] = 8
        if spec.layers is not None:
            changes["dims.layers"] = len(spec.layers.pattern)
    return load_spec(name, changes).to_dict()


def backwards(value):
    """The same data in which every two keys stand the other way around."""
    if isinstance(value, dict):
        return {key: backwards(value[key]) for key in reversed(value)}
    if isinstance(value, list):
        return [backwards(part) for part in value]
    return value


def config_of(folder):
    return json.loads((folder / "config.json").read_text())


def reopened(folder, **options):
    """What a folder holds, which is taken over whole."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return load_model(folder, **options)


@pytest.mark.parametrize("name", NAMES)
def test_both_formats_twice_in_any_order_of_keys(name, tmp_path):
    plain = narrow(name)
    first = build_model(plain, seed=0)
    weights = first.state_dict()
    save_model(first, tmp_path / "first", format="huggingface")
    config = config_of(tmp_path / "first")
    model = build_model(backwards(plain), seed=0)
    assert model.spec == first.spec
    for turn in range(2):
        ours, theirs = tmp_path / f"ours-{turn}", tmp_path / f"theirs-{turn}"
        save_model(model, ours)
        written, _ = parse_yaml((ours / "spec.yaml").read_text())
        order = [
            lambda data: write_yaml(data, sort_keys=True),
            lambda data: write_yaml(backwards(data)),
        ]
        (ours / "spec.yaml").write_text(order[turn](written))
        save_model(reopened(ours), theirs, format="huggingface")
        assert config_of(theirs) == config
        # The family of a network that the project does not ship comes as a spec of the caller's.
        model = reopened(theirs, spec=backwards(plain))
        again = model.state_dict()
        assert model.spec.heads.default == first.spec.heads.default
        assert list(again) == list(weights)
        assert all(torch.equal(again[key], weights[key]) for key in weights)

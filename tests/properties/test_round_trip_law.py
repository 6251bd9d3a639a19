"""What is written reads back as it was: YAML, names and settings of another library, in both
directions.
"""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from engine import Spec, load_model, load_spec, save_model
from engine.laws.calls import answer, inputs_for
from engine.laws.compare import agree
from engine.spec.load import shipped
from tests.searching import examples
from tests.strategies import FAMILIES, built, family, valid_specs
from tokenization.files.plain_yaml import write_yaml


def written(spec: Spec, folder: Path) -> Path:
    path = folder / "spec.yaml"
    path.write_text(write_yaml(spec.to_dict()), encoding="utf-8")
    return path


@examples(30)
@given(spec=valid_specs())
def test_yaml_to_spec_to_yaml_is_the_identity(
    spec: Spec, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = written(spec, tmp_path_factory.mktemp("spec"))
    again = load_spec(path)
    assert again == spec and again.to_dict() == spec.to_dict()
    before = path.read_bytes()
    assert written(again, path.parent).read_bytes() == before


@pytest.mark.parametrize("name", sorted(shipped()))
def test_shipped_yaml_is_lossless(name: str, tmp_path: Path) -> None:
    spec = load_spec(name)
    assert load_spec(written(spec, tmp_path)) == spec


SETTINGS: dict[str, dict[str, list[Any]]] = {
    "xlnet": {
        "ffn.activation": ["gelu", "relu", "silu", "gelu_tanh"],
        "position.clamp": [None, 3],
        "position.reversed_half": [False, True],
        "memory.length": [None, 7],
        "memory.reuse": [None, 2],
        "heads.output.tied": [True, False],
    },
    "xlm": {
        "ffn.activation": ["gelu", "relu"],
        "embeddings.tables.languages.count": [3, 1],
        "embeddings.tables.languages.embed": [True, False],
        "position.size": [512, 20],
        "norm.eps": [1e-12, 1e-5],
        "heads.output.tied": [True, False],
    },
    "xlm-roberta-xl": {
        "position": [
            {
                "kind": "learned",
                "size": 30,
                "start": "after_padding",
                "count": "real",
                "ids": "rows",
            },
            {"kind": "relative_key", "size": 30},
            {"kind": "relative_key_query", "size": 30},
        ],
        "embeddings.tables.segments.count": [1, 2],
        "attention.cross": [False, True],
        "decoder": [False, True],
        "heads.output.tied": [True, False],
    },
    "transformer-xl": {
        "dims.head": [6, 3],
        "norm.placement": ["post", "pre"],
        "position.clamp": [9, None],
        "attention.query_bias": ["per_layer", "shared"],
        "heads.output.tied": [True, False],
        "heads.output.tied_projections": [[False, True, True], [False, False, False]],
        "memory.length": [24, 3],
    },
    "xglm": {
        "ffn.activation": ["gelu", "relu", "gelu_tanh"],
        "embeddings.scale": ["sqrt_model", "none"],
        "attention.cross": [False, True],
        "heads.output.tied": [True, False],
    },
}


def settled(name: str, chosen: dict[str, Any]) -> Spec:
    """A shrunk family with these settings; values that depend on one another are set together."""
    position = chosen.get("position", {})
    if position.get("kind") in ("relative_key", "relative_key_query"):
        chosen = {**chosen, "attention.score": ["content", "position"]}
    decoder = chosen.pop("decoder", False)
    if decoder:
        chosen = {**chosen, "attention.mask": ["padding", "causal"]}
        chosen["memory"] = {"kind": "keys_values", "train": True, "eval": True}
    return family(name, **chosen)


@st.composite
def family_specs(draw: Any) -> Spec:
    name = draw(st.sampled_from(FAMILIES))
    return settled(
        name, {path: draw(st.sampled_from(values)) for path, values in SETTINGS[name].items()}
    )


@examples(20)
@given(spec=family_specs(), bare=st.booleans(), seed=st.integers(0, 99))
def test_export_and_import_are_inverse(
    spec: Spec, bare: bool, seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Our model → their folder → our model → their folder: the same tensors bit by bit, settings
    and answers.
    """
    folder = tmp_path_factory.mktemp("both")
    model = built(spec, None if bare else "default", seed=seed, dtype=torch.float32)
    save_model(model, folder / "one", format="huggingface")
    again = load_model(folder / "one").eval()
    report = again.load_report
    assert not report.initialised and not report.left_over and not report.other_shape, str(report)
    theirs = again.state_dict()
    assert set(theirs) == set(model.state_dict())
    for name, value in model.state_dict().items():
        assert torch.equal(theirs[name], value), name
    save_model(again, folder / "two", format="huggingface")
    first, second = (load_file(folder / part / "model.safetensors") for part in ("one", "two"))
    assert set(first) == set(second) and all(
        torch.equal(first[name], second[name]) for name in first
    )
    configs = [json.loads((folder / part / "config.json").read_text()) for part in ("one", "two")]
    assert configs[0] == configs[1]
    inputs = inputs_for(spec, seed=seed, targets=2, dtype=torch.float32)
    agree(answer(again(**inputs)), answer(model(**inputs)), "answers")


@examples(15)
@given(spec=valid_specs(), seed=st.integers(0, 99))
def test_our_own_format_is_lossless(
    spec: Spec, seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("own")
    model = built(spec, seed=seed, dtype=torch.float32)
    save_model(model, folder)
    again = load_model(folder).eval()
    assert again.spec == model.spec
    for name, value in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name

"""Weight maps that fit nothing are errors of the spec, with their place and the nearest name."""

import re

import pytest
from hypothesis import given

from engine import Spec, SpecError, build_model, load_spec
from engine.spec.load import SPECS
from engine.spec.weight_maps import PARAMETERS
from tests.searching import examples
from tests.strategies import valid_specs

SPEC = """\
extends: families/xglm
checkpoint:
  huggingface:
    names:
      {}
"""


def problems(entry, tmp_path):
    path = tmp_path / "spec.yaml"
    path.write_text(SPEC.format(entry), encoding="utf-8")
    with pytest.raises(SpecError) as caught:
        load_spec(path)
    assert all((p.source, p.line, p.column) == (str(path), 5, 7) for p in caught.value.problems)
    return str(caught.value)


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ("blocks.*.atention.query: layers.*.q", "did you mean 'blocks.*.attention.query'?"),
        (
            "blocks.attention.query: layers.q",
            "no network has a parameter or module 'blocks.attention.query', did you",
        ),
        (
            "embeddings.tokens: embed_tokens.weight.x.*",
            "each * of ours stands for one of theirs: 0 here, 1 in",
        ),
        ("blocks.*.attention.query: layers.q_proj", "1 here, 0 in 'layers.q_proj'"),
        ("blocks.*.feed_forward.experts.up: l.*.e.*.w.*", "1 here, 3 in 'l.*.e.*.w.*'"),
        ("final_nrom: layer_norm", "did you mean 'final_norm'?"),
        ("heads.casual_lm.output: lm_head", "no head named 'casual_lm', did you mean 'causal_lm'?"),
        ("heads.causal_lm: lm_head", "say which parameter or module of the head"),
        ('final_norm.weight: [layer_norm, "d - d"]', "should be 'their axes -> our axes'"),
        ('final_norm.weight: [layer_norm, "d (h -> d h"]', "does not parse"),
        ('final_norm.weight: [layer_norm, "d e -> d"]', "has e on one side only"),
        (
            'blocks.*.feed_forward.up.weight: [l.*.w, "(a b) -> a b"]',
            "leaves the sizes of a, b open; known: c, d, e, f",
        ),
        ("blocks.*.attention.(query key).weight: l.*.qk", "need a pattern, in which c counts them"),
        (
            'blocks.*.attention.(query kye).weight: [l.*.qk, "(c o) i -> c o i"]',
            "'blocks.*.attention.kye.weight', did",
        ),
        (
            'blocks.*.attention.(query key).weight: [l.*.qk, "(c o) i -> o c i"]',
            "c as the first of our axes",
        ),
        ('blocks.*.attention.(query).weight: [l.*.q, "(c o) i -> c o i"]', "should name the parts"),
    ],
)
def test_entries_that_fit_nothing(entry, told, tmp_path):
    assert told in problems(entry, tmp_path)


def test_heads_that_transformers_is_said_to_have(tmp_path):
    (tmp_path / "spec.yaml").write_text(
        "extends: families/xglm\ncheckpoint: {huggingface: {architectures: {casual_lm: XGLMForCausalLM}}}\n"
    )
    with pytest.raises(SpecError, match="no head named 'casual_lm', did you mean 'causal_lm'"):
        load_spec(tmp_path / "spec.yaml")


@pytest.mark.parametrize("path", sorted(SPECS.rglob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_maps_fit(path):
    load_spec(path)


@examples(20)
@given(spec=valid_specs())
def test_every_parameter_of_a_body_is_known(spec: Spec) -> None:
    for name, _ in build_model(spec, None, device="meta").named_parameters(remove_duplicate=False):
        assert re.sub(r"(?<=\.)\d+(?=\.|$)", "*", name) in PARAMETERS

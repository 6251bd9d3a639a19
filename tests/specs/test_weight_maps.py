"""Weight maps that fit nothing are errors of the spec, with their place and the nearest name."""

import re

import pytest
import torch
from hypothesis import given

from engine import Spec, SpecError, build_model, load_spec
from engine.checkpoint.names import Slot, slots_of
from engine.spec.axes import Layout
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
        (
            'blocks.*.attention.(query:h key:x).weight: [l.*.qk, "(c k) i -> (c k) i"]',
            "'key:x' should say how many steps of c are its own: d, e, f, g, h",
        ),
        (
            'blocks.*.attention.(query:h key).weight: [l.*.qk, "(c k) i -> (c k) i"]',
            "'key' should say how many steps of c",
        ),
        (
            'blocks.*.attention.query.weight: [l.*.q, "(2 a b) i -> (2 a b) i"]',
            "leaves the sizes of a, b open",
        ),
        ("blocks.*.attention.query: layers.2*+1.*.q", "1 here, 2 in"),
        ('blocks.*.attention.(query).weight: [l.*.q, "(c o) i -> c o i"]', "should name the parts"),
    ],
)
def test_entries_that_fit_nothing(entry, told, tmp_path):
    assert told in problems(entry, tmp_path)


SIZES = {"h": 4, "g": 2, "q": 2, "k": 3, "d": 5}


@pytest.mark.parametrize(
    ("lengths", "pattern", "rows"),
    [
        (("h", "g", "g"), "(c k) d -> (c k) d", (range(12), range(12, 18), range(18, 24))),
        (
            ("q", "1", "1"),
            "(g c k) d -> (g c k) d",
            ([*range(6), *range(12, 18)], [6, 7, 8, 18, 19, 20], [9, 10, 11, 21, 22, 23]),
        ),
    ],
)
def test_unequal_parts_of_one_tensor(lengths, pattern, rows):
    theirs = torch.arange(24 * 5).view(24, 5)
    slot = Slot("qkv", ("query", "key", "value"), pattern, lengths)
    parts = slot.read(theirs, SIZES)
    for name, wanted in zip(slot.ours, rows, strict=True):
        assert torch.equal(parts[name], theirs[list(wanted)])
    assert torch.equal(slot.write(parts, SIZES), theirs)


def test_numbers_of_theirs_for_layers_of_ours():
    layout = Layout(
        model_type="any",
        names={
            "blocks.*.attention_norm": "l.2*.norm",
            "blocks.*.feed_forward_norm": "l.2*+1.norm",
        },
    )
    ours = ["blocks.0.attention_norm.bias", "blocks.3.feed_forward_norm.bias"]
    assert [slot.theirs for slot in slots_of(ours, None, layout, "")] == [
        "l.0.norm.bias",
        "l.7.norm.bias",
    ]


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

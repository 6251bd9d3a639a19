"""Every cross-axis rule, broken once."""

import ast
import sys
from pathlib import Path

import pytest

from engine import SpecError, build_model, load_spec
from engine.spec import rules

PLAIN = {"name": "plain", "dims": {"layers": 2, "model": 32, "heads": 4, "vocab": 100}}
ADAPTIVE = {
    "embeddings.tables.tokens": {"cutoffs": [20, 50], "divisor": 2},
    "heads.output.kind": "adaptive",
}
RELATIVE = {"position": {"kind": "relative"}}
BUCKETS = {"kind": "distance_bias", "numbers": "buckets"}
SLOPES = {"kind": "distance_bias", "numbers": "slopes"}
CAUSAL = {"attention.mask": ["causal"]}
TWO_STREAMS = {**RELATIVE, "attention.mask": ["permutation"], "attention.cross": True}
DECODER = {"attention.mask": ["causal"], "attention.cross": True}


def scaled(kind, **fields):
    return {"position": {"kind": "rotary", "scaling": {"kind": kind, **fields}}}


def layered(pattern=("one",), **fields):
    return {"layers": {"pattern": list(pattern), "kinds": {"one": fields}}}


# What is changed in PLAIN, the path that is named, and a part of the sentence.
BROKEN = [
    ({"dims.heads": 5}, "dims.heads", "32 is not a multiple of dims.heads 5"),
    ({"dims.kv_heads": 3}, "dims.kv_heads", "4 is not a multiple of dims.kv_heads 3"),
    (
        {"embeddings.tables.tokens.padding": 100},
        "embeddings.tables.tokens.padding",
        "outside the vocabulary of 100",
    ),
    (
        {"embeddings.tables.tokens.cutoffs": [50, 20]},
        "embeddings.tables.tokens.cutoffs",
        "[50, 20] must ascend",
    ),
    (
        {"embeddings.tables.tokens.cutoffs": [20, 100]},
        "embeddings.tables.tokens.cutoffs",
        "below dims.vocab 100",
    ),
    (
        {**ADAPTIVE, "embeddings.tables.tokens": {"cutoffs": [20, 50], "divisor": 8}},
        "embeddings.tables.tokens.divisor",
        "no width",
    ),
    (
        {"embeddings.tables.tokens.projection_bias": True},
        "embeddings.tables.tokens.projection_bias",
        "nothing to bias",
    ),
    ({"embeddings.tables.segments": {}}, "embeddings.tables.segments.count", "needs a count"),
    (
        {"embeddings.tables.segments": {"source": "tokens", "count": 2}},
        "embeddings.tables.segments.count",
        "no count of their own",
    ),
    ({"attention.score": ["content", "position"]}, "attention.score", "none has no distances"),
    (
        {**RELATIVE, "attention.score": ["position"]},
        "attention.score",
        "'content' is always needed",
    ),
    ({"attention.score": ["content", "content"]}, "attention.score", "stands once"),
    (
        {"position": {"kind": "learned", "size": 9, "start": "after_padding"}},
        "position.start",
        "needs embeddings",
    ),
    (
        {
            "position": {"kind": "learned", "size": 2, "start": "after_padding"},
            "embeddings.tables.tokens.padding": 1,
        },
        "position.size",
        "leave none",
    ),
    (
        {"position": {"kind": "learned", "size": 9, "start": 9}},
        "position.start",
        "start at 9 but the table has 9",
    ),
    (
        {"position": {"kind": "sinusoid", "basis": "interleaved", "size": 9, "start": 9}},
        "position.start",
        "start at 9 but position.size is 9",
    ),
    (
        {"position": {"kind": "sinusoid", "basis": "interleaved", "stored": True}},
        "position.size",
        "needs a size",
    ),
    (
        {
            "position": {"kind": "sinusoid", "basis": "interleaved"},
            "dims.model": 33,
            "dims.head": 8,
        },
        "dims.model",
        "even",
    ),
    (
        {
            "position": {"kind": "sinusoid", "basis": "tensor2tensor"},
            "dims.model": 2,
            "dims.head": 8,
        },
        "dims.model",
        "at least 4",
    ),
    (
        {**RELATIVE, "dims.model": 33, "dims.head": 8},
        "dims.model",
        "relative positions need an even",
    ),
    ({"position": {"kind": "from_end", "table": "learned"}}, "position.size", "needs a size"),
    (
        {"position": {"kind": "from_end", "table": "sinusoid"}, "embeddings.width": 6},
        "embeddings.width",
        "leave width out",
    ),
    (
        {"position": {"kind": "from_end", "table": "sinusoid"}, "dims.model": 9, "dims.heads": 3},
        "dims.model",
        "even dims.model",
    ),
    (
        {
            **CAUSAL,
            "position": {"kind": "from_end", "table": "sinusoid"},
            "memory": {"kind": "keys_values"},
        },
        "memory.kind",
        "recurrent or none",
    ),
    (
        {"position": {"kind": "from_end", "table": "sinusoid"}, "embeddings.width": 16},
        "embeddings.width",
        "leave width out",
    ),
    (
        {"position": {"kind": "from_end", "table": "sinusoid"}, "dims.model": 33, "dims.head": 8},
        "dims.model",
        "need an even dims.model",
    ),
    ({"position": {"kind": "rotary", "fraction": 0.4}}, "position.fraction", "found 3 of head 8"),
    ({"position": {"kind": "rotary", "width": 10}}, "position.width", "found 10 of head 8"),
    ({"position": {"kind": "rotary", "width": 4, "fraction": 0.5}}, "position.width", "not both"),
    (
        scaled("dynamic", factor=2.0, trained=8) | {"position.width": 2},
        "position.scaling.kind",
        "more than one pair",
    ),
    (scaled("yarn", factor=2.0, trained=8, fast=1.0), "position.scaling.fast", "above slow 1.0"),
    (
        scaled("yarn", factor=2.0, trained=8) | {"position.base": 1.0},
        "position.base",
        "other than 1",
    ),
    (scaled("llama3", factor=2.0, trained=8, high=1.0), "position.scaling.high", "above low 1.0"),
    (
        scaled("longrope", short=[1.0] * 4, long=[1.0] * 3, trained=8, reach=9),
        "position.scaling.long",
        "are 4 pairs, found 3",
    ),
    (
        scaled("dynamic", factor=2.0, trained=8) | {"memory": {"kind": "recurrent"}},
        "memory.kind",
        "which a recurrent memory does not hold",
    ),
    (
        scaled("dynamic", factor=2.0, trained=8) | {"attention.mask": ["permutation"]},
        "attention.mask",
        "leave out the rule permutation",
    ),
    (
        {"position": {"kind": "sinusoid", "basis": "interleaved"}, "embeddings.width": 15},
        "embeddings.width",
        "even embeddings.width",
    ),
    (
        {"position": {"kind": "learned", "size": 9, "count": "real"}},
        "position.count",
        "needs embeddings",
    ),
    ({"attention.mask": ["causal", "causal"]}, "attention.mask", "stands once"),
    ({"attention.mask": ["window"]}, "attention.window", "needs a number"),
    (
        {"attention.mask": ["same_length"], "memory": {"kind": "recurrent", "length": 4}},
        "attention.mask",
        "needs the rule causal",
    ),
    (
        {"attention.mask": ["causal", "same_length"]},
        "attention.mask",
        "needs memory.kind recurrent",
    ),
    (
        {"attention.mask": ["causal", "same_length"], "memory": {"kind": "recurrent"}},
        "memory.length",
        "at least 1",
    ),
    ({"attention.query_bias": "shared"}, "attention.query_bias", "besides content"),
    (
        {"attention.score": ["content", "segment"], "embeddings.tables.segments": {"count": 2}},
        "embeddings.tables.segments",
        "not both",
    ),
    (
        {"attention.infer_padding": "count"},
        "attention.infer_padding",
        "needs embeddings.tables.tokens.padding",
    ),
    (
        {
            "attention.infer_padding": "count",
            "attention.mask": [],
            "embeddings.tables.tokens.padding": 1,
        },
        "attention.infer_padding",
        "needs the mask rule padding",
    ),
    ({"memory": {"kind": "keys_values"}}, "memory.kind", "only under the mask rule causal"),
    ({"attention.mask": ["permutation"]}, "position.kind", "relative or rotary"),
    ({**RELATIVE, "streams.kind": "two"}, "streams.kind", "lacks the rule permutation"),
    (
        {**RELATIVE, "attention.mask": ["permutation"], "streams.kind": "one"},
        "streams.kind",
        "has the rule permutation",
    ),
    ({"block.order": "parallel"}, "norm.placement", "needs norm.placement pre"),
    ({"block.shared_norm": True}, "block.shared_norm", "needs block.order parallel"),
    (
        {"block.order": "parallel", "norm.placement": "pre", "attention.cross": True},
        "attention.cross",
        "block.order sequential",
    ),
    ({"tokens.decoder_start": 1}, "tokens.decoder_start", "beside an encoder"),
    ({"encoder": {}}, "attention.cross", "say cross true"),
    ({"encoder": {}, **TWO_STREAMS}, "encoder", "takes no encoder"),
    (
        {**DECODER, "encoder": {"attention": {"cross": True}}},
        "encoder.attention.cross",
        "cross false",
    ),
    (
        {**DECODER, "encoder": {"attention": {"mask": ["permutation"]}}},
        "encoder.attention.mask",
        "leave permutation out",
    ),
    (
        {**DECODER, "encoder": {"dims": {"vocab": 9}}},
        "encoder.shared_tokens",
        "shared_tokens false",
    ),
    ({**DECODER, "encoder": {"dims": {"heads": 7}}}, "encoder.dims.heads", "say dims.head"),
    ({**DECODER, "encoder": {"dims": {"heds": 4}}}, "encoder.dims.heds", "did you mean 'heads'?"),
    ({**DECODER, "encoder": {"ffn": {"gated": 3}}}, "encoder.ffn.gated", "true or false"),
    (
        {"ffn.experts": {"count": 4, "active": 5}},
        "ffn.experts.active",
        "5 of 4 experts (ffn.experts.count)",
    ),
    *(
        (
            {"ffn.experts": {"count": 6, "active": 3, "groups": groups}},
            f"ffn.experts.groups.{field}",
            sentence,
        )
        for groups, field, sentence in (
            ({"count": 4, "active": 2}, "count", "are no 4 groups of one size"),
            ({"count": 2, "active": 3}, "active", "3 of 2 groups"),
            ({"count": 3, "active": 1}, "active", "hold fewer than 3 experts"),
            ({"count": 6, "active": 3, "score": "best_two"}, "score", "use best"),
        )
    ),
    ({"norm.query": False}, "norm.query", "need norm.placement pre"),
    ({"norm.kind": "rms"}, "norm.bias", "set norm.bias false"),
    ({"heads.output.cutoffs": [20]}, "heads.output.cutoffs", "kind adaptive"),
    ({**ADAPTIVE, "heads.output.kind": "linear"}, "heads.output.tied", "set tied false"),
    (
        {**ADAPTIVE, "heads.output.cutoffs": [20]},
        "heads.output.tied",
        "need the cutoffs and divisor",
    ),
    (
        {**ADAPTIVE, "heads.output.tied_projections": [True]},
        "heads.output.tied_projections",
        "3 clusters",
    ),
    (
        {"heads.output.tied_projections": True},
        "heads.output.tied_projections",
        "no projection to share",
    ),
    (
        {"embeddings.tables.tokens.width": 4, "heads.output.tied_projections": [True, False]},
        "heads.output.tied_projections",
        "one projection",
    ),
    (
        {"embeddings.width": 6, "heads.output.tied_projections": True},
        "heads.output.tied_projections",
        "projections from",
    ),
    (
        {"embeddings.width": 16, "heads.output.tied_projections": True},
        "heads.output.tied_projections",
        "set tied_projections false",
    ),
    (
        {"heads.output.samples": 5, "heads.output.kind": "transform"},
        "heads.output.samples",
        "kind linear",
    ),
    ({"heads.output.samples": 100}, "heads.output.samples", "all of them"),
    (
        {**ADAPTIVE, "heads.output.tied": False, "heads.output.divisor": 8},
        "heads.output.divisor",
        "no width",
    ),
    ({**ADAPTIVE, "heads.output.softcap": 2.0}, "heads.output.softcap", "kind linear"),
    (
        {"heads.output.samples": 9, "heads.output.softcap": 2.0},
        "heads.output.softcap",
        "leave samples out",
    ),
    (
        {"block": {"order": "parallel", "shared_norm": True}, "norm.placement": ["output"]},
        "norm.placement",
        "one norm for both halves",
    ),
    (
        {
            "block": {"order": "parallel", "shared_norm": True},
            "norm": {"placement": "pre", "attention": False},
        },
        "norm.attention",
        "leave it true",
    ),
    ({"heads.output.dense_bias": False}, "heads.output.dense_bias", "only heads.output.kind"),
    ({"norm.placement": ["before", "after"]}, "norm.placement", "not both"),
    ({"norm.placement": ["output", "output"]}, "norm.placement", "each place stands once"),
    ({"norm.weight": False}, "norm.bias", "without weight has no bias"),
    (
        {"norm": {"weight": False, "bias": False, "offset": 1.0}},
        "norm.offset",
        "nothing to add it to",
    ),
    (
        {"attention.head_norm": {"over": "all", "own": True}},
        "attention.head_norm.own",
        "leave own out",
    ),
    (
        {"attention.head_norm": {"weight": False, "bias": True}},
        "attention.head_norm.bias",
        "has no bias either",
    ),
    (
        {"attention.head_norm": {"when": "after_position"}},
        "attention.head_norm.when",
        "needs position.kind rotary",
    ),
    (
        {**ADAPTIVE, "heads.output.scale": 2.0},
        "heads.output.scale",
        "kind linear",
    ),
    ({"tokens.mask": 100}, "tokens.mask", "id 100 is outside the vocabulary of 100"),
    ({"position": {**SLOPES, "shared": True}}, "position.shared", "nothing to share"),
    ({"position": {**BUCKETS, "count": 5}}, "position.count", "no two for each side"),
    ({"position": {**BUCKETS, "max_distance": 8}}, "position.max_distance", "must be above 8"),
    (layered() | {"position": {**BUCKETS, "shared": True}}, "position.shared", "of one kind"),
    (layered(pattern=["one", "two"]), "layers.pattern", "no kind 'two' among layers.kinds: one"),
    (layered(pattern=["one"] * 3), "layers.pattern", "3 names for 2 layers"),
    (
        layered() | RELATIVE | {"attention.query_bias": "shared"},
        "attention.query_bias",
        "layers of one kind",
    ),
    (layered(dims={"inner": 3}), "layers.kinds.one.dims", "sections of its own among attention"),
    (
        layered(attention={"mask": []}),
        "layers.kinds.one.attention.mask",
        "the same in all layers",
    ),
    (layered(position=None), "layers.kinds.one.position", "should be a section"),
    (
        layered(position={"kind": "learned", "size": 9}),
        "layers.kinds.one.position.kind",
        "no part of a block",
    ),
    (
        layered(position={"base": 3.0}) | {"position": {"kind": "learned", "size": 9}},
        "position.kind",
        "no part of a block",
    ),
    (
        layered(norm={"placement": "past"}),
        "layers.kinds.one.norm.placement",
        "should be 'pre' or 'post' or a list",
    ),
    (
        layered(norm={"kind": "rms"}),
        "layers.kinds.one.norm",
        "an rms norm has no bias",
    ),
]


def broken(changes):
    with pytest.raises(SpecError) as caught:
        load_spec(PLAIN, changes)
    return caught.value.problems


@pytest.mark.parametrize(("changes", "path", "sentence"), BROKEN)
def test_rule(changes, path, sentence):
    assert [(problem.path, sentence in problem.message) for problem in broken(changes)] == [
        (path, True)
    ]


def test_the_network_that_the_examples_break_is_whole():
    assert load_spec(PLAIN).dims.head == 8
    assert load_spec(PLAIN, ADAPTIVE).heads.output.kind == "adaptive"
    assert load_spec(PLAIN, RELATIVE).position.kind == "relative"


def test_every_rule_has_an_example():
    files = {str(path): path.stem for path in Path(rules.__file__).parent.glob("*.py")}
    yields = {
        (name, node.lineno, node.end_lineno or node.lineno)
        for file, name in files.items()
        for node in ast.walk(ast.parse(Path(file).read_text(encoding="utf-8")))
        if isinstance(node, ast.Yield)
    }
    seen = set()

    def trace(frame, event, _):
        name = files.get(frame.f_code.co_filename)
        if name is None:
            return None
        seen.add((name, frame.f_lineno))
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        for changes, _, _ in BROKEN:
            broken(changes)
    finally:
        sys.settrace(before)
    without = [
        f"{name}.py:{first}"
        for name, first, last in yields
        if not seen & {(name, line) for line in range(first, last + 1)}
    ]
    assert without == [], "no example breaks the rules that begin at these lines"


def test_broken_rules_are_told_beside_broken_fields():
    problems = broken(
        {"ffn.activation": "gleu", "dims.heads": 5, "tokens.mask": 100, "position.kind": "spiral"}
    )
    assert {problem.path for problem in problems} == {
        "ffn.activation",
        "dims.heads",
        "tokens.mask",
        "position.kind",
    }


def test_no_rule_is_told_about_a_section_that_is_not_whole():
    """The misspelt key may be what the rule misses, so nothing is said about it."""
    changes = {
        "memory": {"kind": "recurrent", "lenght": 4},
        "attention.mask": ["causal", "same_length"],
    }
    assert [problem.path for problem in broken(changes)] == ["memory.lenght"]


def test_all_broken_rules_at_once():
    changes = {
        "dims.heads": 5,
        "dims.kv_heads": 3,
        "norm.kind": "rms",
        "tokens.bos": 100,
        "tokens.eos": 100,
    }
    assert [problem.path for problem in broken(changes)] == [
        "dims.heads",
        "dims.kv_heads",
        "norm.bias",
        "tokens.bos",
        "tokens.eos",
    ]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("dims.layers", 10**9),
        ("dims.model", 2**40),
        ("dims.vocab", 2**31),
        ("position", {"kind": "learned", "size": 10**12}),
        ("heads.output.samples", 10**12),
        ("init.std", 1e39),
        ("init.embeddings", float("inf")),
        ("norm.eps", float("inf")),
        ("norm.eps", float("nan")),
        ("position", {"kind": "rotary", "base": 1e300}),
        ("dropout.residual", float("nan")),
        ("tokens.eos", 10**30),
    ],
)
def test_numbers_that_no_network_can_have(path, value):
    (problem, *_) = broken({path: value})
    assert problem.path.startswith(path)


@pytest.mark.parametrize(
    ("options", "path", "sentence"),
    [
        ({"pooling": {"kind": "token"}}, "pooling.kind", "tokens.classification in the spec"),
        ({"pooling": {"kind": "token", "id": 100}}, "pooling.id", "outside the vocabulary of 100"),
        ({"pooling": {"kind": "pooler"}}, "pooling.kind", "pooler null"),
        ({"num_labels": 2, "id2label": {1: "a", 2: "b"}}, "", "id 2, outside 0 … 1"),
        ({"num_labels": 2, "label2id": {"a": 5}}, "", "id 5, outside 0 … 1"),
        ({"id2label": {0: "a", 1: "b"}, "label2id": {"a": 1, "b": 0}}, "", "id2label calls 'b'"),
        ({"num_labels": "3"}, "num_labels", "whole number"),
        ({"projection": "yes"}, "projection", "true or false"),
    ],
)
def test_options_of_a_head_that_contradict(options, path, sentence):
    """A file with such options is refused, and so is a call."""
    head = "heads.options.sequence_classification"
    for call in (
        lambda: load_spec(PLAIN, {head: options}),
        lambda: build_model(PLAIN, "sequence_classification", device="meta", **options),
    ):
        with pytest.raises(SpecError) as caught:
            call()
        (problem,) = caught.value.problems
        assert problem.path == f"{head}.{path}".rstrip(".") and sentence in problem.message

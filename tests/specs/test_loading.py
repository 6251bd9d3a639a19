"""Specs from files, names, dicts and Specs: inheritance, overrides, and errors that name the place."""

from pathlib import Path

import pytest

from engine import Spec, SpecError, build_model, load_spec
from engine.spec.axes import RotaryPosition
from engine.spec.load import SPECS, merge, shipped
from tokenization.files.plain_yaml import write_yaml

SMALL = """\
name: small
dims: {layers: 2, model: 32, heads: 4, vocab: 100}
"""


@pytest.fixture
def write(tmp_path):
    """Writes a spec file and gives its path."""

    def write(text: str, name: str = "spec.yaml") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return write


def problems(source, overrides=None):
    with pytest.raises(SpecError) as caught:
        load_spec(source, overrides)
    found = caught.value.problems
    assert len(set(map(str, found))) == len(found)
    return found


def placed(source, overrides=None):
    """(file name, line, column, path) of every problem."""
    return [(Path(p.source).name, p.line, p.column, p.path) for p in problems(source, overrides)]


MISSPELT = [
    ("dmis: {}\n", "dmis", 3, 1, "dims"),
    ("dropout: {atention: 0.1}\n", "dropout.atention", 3, 11, "attention"),
    (
        "embeddings:\n  tables:\n    tokens: {paddign: 1}\n",
        "embeddings.tables.tokens.paddign",
        5,
        14,
        "padding",
    ),
    ("position: {kind: learned, size: 9, strat: 1}\n", "position.strat", 3, 36, "start"),
    ("position: {kind: rotary, bse: 1.0}\n", "position.bse", 3, 26, "base"),
    (
        "attention:\n  mask: [causal]\nmemory:\n  kind: recurrent\n  lenght: 4\n",
        "memory.lenght",
        7,
        3,
        "length",
    ),
    (
        "attention:\n  bias: {query: true, key: true, value: true, outptu: true, output: true}\n",
        "attention.bias.outptu",
        4,
        47,
        "output",
    ),
    ("heads:\n  output: {tide: true}\n", "heads.output.tide", 4, 12, "tied"),
    (
        "heads:\n  options:\n    causal_lm: {lables: 1}\n",
        "heads.options.causal_lm.lables",
        5,
        17,
        None,
    ),
    ("heads:\n  options:\n    casual_lm: {}\n", "heads.options.casual_lm", 5, 5, "causal_lm"),
    ("heads:\n  default: masked_ml\n", "heads.default", 4, 3, "masked_lm"),
    ("tokenizer: {algorithm: words, delimeter: x}\n", "tokenizer.delimeter", 3, 31, "delimiter"),
    (
        "tokenizer:\n  algorithm: sentencepiece\n  ids: {ofset: 1}\n",
        "tokenizer.ids.ofset",
        5,
        9,
        "offset",
    ),
    (
        "tokenizer:\n  algorithm: bpe\n  special_tokens:\n    additional:\n    - {content: x, lstripe: true}\n",
        "tokenizer.special_tokens.additional.0.lstripe",
        7,
        20,
        "lstrip",
    ),
    ("checkpoint: {hugingface: {model_type: x}}\n", "checkpoint.hugingface", 3, 14, "huggingface"),
    (
        "checkpoint:\n  huggingface:\n    model_type: x\n    prefex: y\n",
        "checkpoint.huggingface.prefex",
        6,
        5,
        "prefix",
    ),
    (
        "checkpoint:\n  huggingface:\n    model_type: x\n    config:\n      act: {path: ffn.activation, vlaues: {}}\n",
        "checkpoint.huggingface.config.act.vlaues",
        7,
        35,
        "values",
    ),
]


@pytest.mark.parametrize(
    ("text", "path", "line", "column", "nearest"), MISSPELT, ids=[row[1] for row in MISSPELT]
)
def test_misspelt_key_has_its_place_and_the_nearest_name(write, text, path, line, column, nearest):
    (problem,) = problems(write(SMALL + text))
    assert (problem.path, problem.line, problem.column) == (path, line, column)
    assert problem.source.endswith("spec.yaml")
    assert nearest is None or f"did you mean '{nearest}'?" in problem.message


WRONG = [
    ("final_norm: 3\n", "final_norm", "should be true or false, found 3"),
    ("final_norm: yes\n", "final_norm", "should be true or false, found 'yes'"),
    ("norm: {eps: small}\n", "norm.eps", "should be a number or a section of keys, found 'small'"),
    ("norm: {eps: 0}\n", "norm.eps", "should be greater than 0, found 0"),
    ("embeddings: {scale: .inf}\n", "embeddings.scale", "should be a finite number, found inf"),
    ("dropout: {residual: 1.0}\n", "dropout.residual", "should be less than 1, found 1.0"),
    ("norm: post\n", "norm", "should be a section of keys, found 'post'"),
    ("norm: [post]\n", "norm", "should be a section of keys"),
    ("attention: {score: content}\n", "attention.score", "should be a list, found 'content'"),
    (
        "attention: {bias: 1}\n",
        "attention.bias",
        "should be true or false or a section of keys, found 1",
    ),
    ("attention: {mask: [casual]}\n", "attention.mask.0", "did you mean 'causal'?"),
    ("ffn: {activation: gleu}\n", "ffn.activation", "did you mean 'gelu'?"),
    ("position: {kind: learnt, size: 9}\n", "position.kind", "did you mean 'learned'?"),
    ("position: {size: 9}\n", "position", "needs a key 'kind'"),
    ("position: {kind: learned}\n", "position.size", "this key is missing"),
    (
        "position: {kind: learned, size: 9, start: behind}\n",
        "position.start",
        "should be a whole number or 'after_padding', found 'behind'",
    ),
    ("tokenizer: {algorithm: wrods}\n", "tokenizer.algorithm", "did you mean 'words'?"),
    (
        "tokenizer: {algorithm: words, format: {single: B}}\n",
        "tokenizer.format",
        "must hold A once each",
    ),
    ("checkpoint: {huggingface: {}}\n", "checkpoint.huggingface.model_type", "this key is missing"),
    (
        "heads: {options: {causal_lm: 3}}\n",
        "heads.options.causal_lm",
        "should be a section of keys, found 3",
    ),
]


@pytest.mark.parametrize(
    ("text", "path", "sentence"), WRONG, ids=[row[1] + " " + row[2][:24] for row in WRONG]
)
def test_wrong_value(write, text, path, sentence):
    (problem,) = problems(write(SMALL + text))
    assert problem.path == path
    assert sentence in problem.message
    assert problem.line == 3


def test_whole_numbers_are_not_read_from_text_truth_or_fractions(write):
    path = write("name: small\ndims: {layers: '2', model: true, heads: 4.0, vocab: 100}\n")
    assert placed(path) == [
        ("spec.yaml", 2, 8, "dims.layers"),
        ("spec.yaml", 2, 21, "dims.model"),
        ("spec.yaml", 2, 34, "dims.heads"),
    ]


def test_all_problems_at_once_each_at_its_place(write):
    write(SMALL + "ffn: {activation: gleu}\nattention:\n  mask: [causal]\n", "parent.yaml")
    path = write(
        "extends: parent.yaml\nnrom: {}\ndims:\n  kv_heads: 3\ntokens: {bos: 100}\n", "child.yaml"
    )
    assert placed(path) == [
        ("child.yaml", 2, 1, "nrom"),
        ("child.yaml", 4, 3, "dims.kv_heads"),
        ("child.yaml", 5, 10, "tokens.bos"),
        ("parent.yaml", 3, 7, "ffn.activation"),
    ]


def test_missing_sections_are_named_together(write):
    path = write("ffn: {gated: true}\n")
    assert placed(path) == [("spec.yaml", 1, 1, "name"), ("spec.yaml", 1, 1, "dims")]


def test_message_says_file_line_column_path(write):
    path = write(SMALL + "pooler: {activation: tan}\n")
    with pytest.raises(SpecError) as caught:
        load_spec(path)
    start = f"{path}:3:10: pooler.activation: 'tan' is not one of "
    assert str(caught.value).startswith(start) and str(caught.value).endswith(
        ", did you mean 'tanh'?"
    )


NOT_YAML = [
    ("name: small\ndims: [2\n", 3, 1),
    ("name: small\nname: again\n", 2, 1),
    ("dims:\n  layers: 2\n  layers: 3\n", 3, 3),
    ("name: small\n\tdims: 3\n", 2, 1),
    ("name: *nobody\n", 1, 7),
    ("name: small\n---\nname: again\n", 2, 1),
    ("name: !!python/object/apply:os.system [echo]\n", None, None),
    ("name: !made scalar\n", 1, 1),
    ("name: \x01\n", None, None),
    ("", 1, 1),
    ("# only a comment\n", 1, 1),
    ("- name\n- dims\n", 1, 1),
    ("just text\n", 1, 1),
]


@pytest.mark.parametrize(("text", "line", "column"), NOT_YAML)
def test_what_is_no_mapping_in_plain_yaml(write, text, line, column):
    found = problems(write(text))
    assert found[0].source.endswith("spec.yaml")
    if line is not None:
        assert (found[0].line, found[0].column) == (line, column)


def test_bytes_that_are_no_text(tmp_path):
    path = tmp_path / "spec.yaml"
    path.write_bytes("# é\nname: ".encode() + b"\xff\xfe\n")
    (problem,) = problems(path)
    assert "not valid YAML" in problem.message
    assert (problem.line, problem.column) == (2, 7)


def test_duplicate_key_is_named(write):
    (problem,) = problems(write("name: small\nname: again\n"))
    assert 'duplicate key "name"' in problem.message


def test_an_alias_in_itself_ends(write):
    assert problems(write(SMALL + "ffn: &ffn {activation: *ffn}\n"))


def test_anchors_and_merge_keys_are_plain_yaml(write):
    text = SMALL + "embeddings: {norm: &on true}\nfinal_norm: *on\n"
    assert load_spec(write(text)).final_norm is True


def test_extends_keeps_siblings_and_replaces_lists(write):
    write(
        SMALL + "attention: {bias: false, mask: [padding]}\nnorm: {eps: 0.5, placement: pre}\n",
        "parent.yaml",
    )
    spec = load_spec(
        write(
            "extends: parent.yaml\nattention: {mask: [causal]}\nnorm: {eps: 0.25}\ndims: {layers: 3}\n"
        )
    )
    assert spec.attention.mask == ("causal",) and spec.attention.bias is False
    assert (spec.norm.eps, spec.norm.placement) == (0.25, "pre")
    assert (spec.dims.layers, spec.dims.model, spec.name) == (3, 32, "small")


def test_a_position_of_another_kind_replaces_the_parents_whole(write):
    write(SMALL + "position: {kind: learned, size: 9, start: 2}\n", "parent.yaml")
    spec = load_spec(write("extends: parent.yaml\nposition: {kind: rotary}\n"))
    assert spec.position == RotaryPosition(kind="rotary")
    assert placed(
        write(
            "extends: parent.yaml\n\nposition: {kind: relative_key}\nattention: {score: [content, position]}\n"
        )
    ) == [("spec.yaml", 3, 1, "position.size")]


def test_a_tokenizer_of_another_algorithm_replaces_the_parents_whole(write):
    write(SMALL + "tokenizer: {algorithm: words, delimiter: x}\n", "parent.yaml")
    spec = load_spec(write("extends: parent.yaml\ntokenizer: {algorithm: bpe}\n"))
    assert spec.tokenizer.algorithm == "bpe"


def test_a_norm_of_another_kind_keeps_its_siblings(write):
    """Its keys are the same for every kind, so that one key can be overridden alone."""
    write(SMALL + "norm: {eps: 0.5, placement: pre, bias: false}\n", "parent.yaml")
    spec = load_spec(write("extends: parent.yaml\nnorm: {kind: rms}\n"))
    assert (spec.norm.kind, spec.norm.eps, spec.norm.placement) == ("rms", 0.5, "pre")


def test_extends_goes_up_a_chain_and_finds_shipped_families(write):
    write("extends: families/xglm.yaml\nname: own\ndims: {layers: 2}\n", "deep/middle.yaml")
    spec = load_spec(write("extends: deep/middle.yaml\ndims: {heads: 8}\n"))
    assert (spec.name, spec.dims.layers, spec.dims.heads, spec.dims.model) == ("own", 2, 8, 1024)


def test_missing_parent_is_named_at_its_place(write):
    path = write("name: child\nextends: familes/xlnet.yaml\n")
    (problem,) = problems(path)
    assert (problem.line, problem.column, problem.path) == (2, 1, "extends")
    assert "did you mean 'families/xlnet'?" in problem.message


@pytest.mark.parametrize("parent", ["[a.yaml, b.yaml]", "3", "{}"])
def test_extends_takes_one_file(write, parent):
    (problem,) = problems(write(f"name: child\nextends: {parent}\n"))
    assert (problem.path, problem.line) == ("extends", 2)


def test_specs_that_extend_each_other(write):
    write("extends: b.yaml\n", "a.yaml")
    path = write("extends: a.yaml\n", "b.yaml")
    (problem,) = problems(path)
    assert "circle" in problem.message and Path(problem.source).name == "a.yaml"
    (problem,) = problems(write("extends: itself.yaml\n", "itself.yaml"))
    assert "circle" in problem.message


def test_a_broken_parent_is_named_itself(write):
    parent = write("name: [\n", "parent.yaml")
    (problem,) = problems(write("extends: parent.yaml\n"))
    assert problem.source == str(parent)


def test_overrides_by_dotted_path():
    spec = load_spec(
        "xglm-564m",
        {"dims.layers": 2, "norm.kind": "rms", "norm.bias": False, "position.kind": "none"},
    )
    assert (spec.dims.layers, spec.dims.model, spec.norm.eps, spec.position.kind) == (
        2,
        1024,
        1e-5,
        "none",
    )
    assert (
        build_model("xglm-564m", device="meta", overrides={"dims.layers": 1}).spec.dims.layers == 1
    )


def test_unknown_override_is_an_error_that_names_overrides():
    (problem,) = problems("xglm-564m", {"dims.leyers": 2})
    assert str(problem) == "overrides: dims.leyers: unknown key 'leyers', did you mean 'layers'?"
    (problem,) = problems("xglm-564m", {"dims.layers.first": 2})
    assert (problem.source, problem.path) == ("overrides", "dims.layers")


def test_a_rule_that_an_override_breaks_names_the_override():
    (problem,) = problems("xglm-564m", {"tokens.bos": 10**6})
    assert (problem.source, problem.path) == ("overrides", "tokens.bos")


def test_every_kind_of_source_gives_the_same_spec(write, monkeypatch, tmp_path):
    path = write(SMALL)
    spec = load_spec(path)
    plain = {"name": "small", "dims": {"layers": 2, "model": 32, "heads": 4, "vocab": 100}}
    assert (
        load_spec(str(path)) == load_spec(plain) == load_spec(spec) == load_spec(tmp_path) == spec
    )
    assert load_spec(spec, {"dims.layers": 3}).dims.layers == 3
    assert load_spec({"extends": "xlnet-base", "name": "own"}).dims.layers == 12
    monkeypatch.chdir(tmp_path)
    assert load_spec("spec.yaml") == load_spec("./spec.yaml") == spec


def test_a_dict_is_not_changed_by_loading():
    plain = {
        "extends": "xlnet-base",
        "name": "own",
        "attention": {"mask": ["padding", "permutation"]},
    }
    load_spec(plain, {"dims.layers": 1})
    assert plain == {
        "extends": "xlnet-base",
        "name": "own",
        "attention": {"mask": ["padding", "permutation"]},
    }


def test_problems_of_a_dict_name_the_key():
    (problem,) = problems(
        {"name": "small", "dims": {"layers": 0, "model": 32, "heads": 4, "vocab": 100}}
    )
    assert str(problem) == "spec: dims.layers: should be greater than 0, found 0"


def test_unknown_name_suggests_the_nearest(tmp_path):
    with pytest.raises(FileNotFoundError, match="did you mean 'xlnet-large'"):
        load_spec("xlnet-lagre")
    with pytest.raises(FileNotFoundError, match="no spec file"):
        load_spec(tmp_path)


@pytest.mark.parametrize("name", shipped())
def test_yaml_to_spec_to_yaml_is_lossless(name, tmp_path):
    spec = load_spec(name)
    path = tmp_path / "spec.yaml"
    path.write_text(write_yaml(spec.to_dict()), encoding="utf-8")
    assert load_spec(path) == spec == Spec.model_validate(spec.to_dict())


def test_merge_tells_what_gives_way():
    gone = []
    base = {
        "position": {"kind": "learned", "size": 9},
        "norm": {"kind": "layer", "eps": 1},
        "name": "x",
    }
    over = {"position": {"kind": "none"}, "norm": {"kind": "rms"}}
    assert merge(base, over, gone.append) == {
        "position": {"kind": "none"},
        "norm": {"kind": "rms", "eps": 1},
        "name": "x",
    }
    assert gone == [("position",), ("norm", "kind")]


def test_specs_are_where_the_package_looks():
    assert (SPECS / "families" / "xlnet.yaml").is_file()


def test_a_very_long_value_leaves_its_middle_out(write):
    with pytest.raises(SpecError) as caught:
        load_spec(write(f"{SMALL}init: {{std: '{'x' * 100_000}'}}\n"))
    assert len(str(caught.value)) < 1_000
    assert "init.std: should be a number, found 'xxx" in str(caught.value)


@pytest.mark.parametrize(
    ("section", "sentence"),
    [
        ('names: {final_norm: {"a": 1}}', "checkpoint.huggingface.names.final_norm"),
        (f"config: {{width: {'dims.' * 4000}model}}", "should have at most 200 characters"),
    ],
)
def test_weight_maps_that_cannot_be_read(write, section, sentence):
    layout = f"checkpoint: {{huggingface: {{model_type: small, {section}}}}}\n"
    with pytest.raises(SpecError) as caught:
        load_spec(write(SMALL + layout))
    assert sentence in str(caught.value)


def test_half_a_character_is_refused_before_it_is_saved():
    data = {"name": "small", "dims": {"layers": 2, "model": 32, "heads": 4, "vocab": 100}}
    layout = {"model_type": "small", "config": {"width": "\ud800"}}
    for wrong in ({"name": "sm\udc00ll"}, {"checkpoint": {"huggingface": layout}}):
        with pytest.raises(SpecError, match="half a character"):
            load_spec({**data, **wrong})

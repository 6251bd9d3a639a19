"""`engine describe` and `engine schema`, and how errors of specs end."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from jsonschema import Draft202012Validator
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

import engine
from engine import build_model, load_spec, save_model
from engine.cli import main
from engine.cli.tree import tree
from engine.spec.load import SPECS
from tokenization.files.published import read_yaml


def run(*words, code=0):
    result = CliRunner().invoke(main, list(words))
    assert result.exit_code == code, result.output
    return result


def described(*words):
    return run("describe", *words).stdout


def number(output, label):
    (line,) = [line for line in output.splitlines() if re.match(rf"\s+{label}\s", line)]
    return int(re.search(r"[\d,]+", line.split(label, 1)[1]).group().replace(",", ""))


def test_the_version_is_told():
    assert run("--version").stdout == f"engine {engine.__version__}\n"


@pytest.mark.parametrize(
    "name", ["xlnet-base", "xlm-roberta-xxl", "transfo-xl-wt103", "xglm-7.5b", "tiny/xlm"]
)
def test_total_is_the_models_own_count(name):
    model = build_model(name, device="meta")
    assert number(described(name), "parameters") == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("name", ["tiny/xlnet", "tiny/transformer-xl", "tiny/xlm-roberta-xl"])
@pytest.mark.parametrize("query_bias", ["none", "shared"])
def test_counts_of_the_tree_add_up(name, query_bias):
    """Blocks repeated, tied tensors not counted again."""
    if query_bias == "shared" and name == "tiny/xlm-roberta-xl":
        return
    model = build_model(name, device="meta", overrides={"attention.query_bias": query_bias})
    rows = tree(model)
    count = sum(parameter.numel() for parameter in model.parameters())
    assert rows.total == sum(row.total for row in rows.children) == count


def test_equal_blocks_are_one_row_with_their_number():
    output = described("xlnet-base")
    assert re.search(r"blocks × 12 +92,141,568 +12 × 7,678,464", output)
    assert output.count("feed_forward_norm") == 1


def test_blocks_that_differ_are_rows_of_their_own():
    output = described("tiny/transformer-xl", "attention.query_bias=shared", "dims.layers=3")
    assert re.search(r"  ├─ blocks .*\n  │  ├─ 0 +[\d,]+ *\n(.*\n)*  │  └─ 1 … 2 × 2 ", output)
    assert "tied to blocks.0.attention.scores.content_bias" in output


def test_tied_weights_are_notes():
    output = described("xglm-564m")
    (line,) = [line for line in output.splitlines() if "tied to" in line]
    assert "256008 × 1024" in line and line.rstrip().endswith("tied to embeddings.tokens.tables.0")
    assert number(output, "parameters") == 564_463_616


def test_frozen_tables_are_told():
    output = described(
        "tiny/xlm", "position={kind: sinusoid, basis: interleaved, stored: true, size: 64}"
    )
    assert f"of which {64 * load_spec('tiny/xlm').dims.model:,} are fixed" in output


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("xglm-564m", ["192 KiB (float32) · 96 KiB (bfloat16, float16) as keys and values"]),
        (
            "xlnet-base",
            [
                "36 KiB (float32) · 18 KiB (bfloat16, float16) as hidden states",
                "72 KiB (float32) · 36 KiB (bfloat16, float16) as keys and values",
            ],
        ),
        ("xlm-mlm-en-2048", []),
    ],
)
def test_memory_a_token(name, lines):
    told = [
        line.split("memory a token")[1].strip()
        for line in described(name).splitlines()
        if "memory a token" in line
    ]
    assert told == lines


def test_heads_and_overrides():
    bare = described("xlnet-base", "--head", "none")
    assert number(bare, "parameters") == 116_718_336 and "head  " not in bare.split("├─")[-1]
    assert "blocks × 3" in described("xlnet-base", "dims.layers=3", "dims.vocab=10")


def test_a_saved_folder_and_a_transformers_folder(tmp_path):
    model = build_model("tiny/xglm")
    save_model(model, tmp_path / "ours")
    save_model(model, tmp_path / "theirs", format="huggingface")
    ours, theirs = described(str(tmp_path / "ours")), described(str(tmp_path / "theirs"))
    assert ours.split("\n", 1)[1] == theirs.split("\n", 1)[1]


def test_spec_errors_are_plain_lines_and_exit_code_two(tmp_path):
    path = tmp_path / "spec.yaml"
    path.write_text("extends: tiny/xlnet\nnrom: {}\nffn: {activation: gleu}\n", encoding="utf-8")
    result = run("describe", str(path), code=2)
    assert result.stdout == ""
    assert result.stderr.splitlines()[0].startswith(
        f"{path}:2:1: nrom: unknown key 'nrom', did you mean 'norm'?"
    )
    assert len(result.stderr.splitlines()) == 2


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["xlnet-bse"], "did you mean 'xlnet-base'?"),
        (["xlnet-base", "--head", "casual_lm"], "did you mean 'causal_lm'?"),
        (["xlnet-base", "dims.layers"], "an override is written key=value"),
        (["xlnet-base", "dims.layers=[1"], "not a YAML value: [1"),
        (["xlnet-base", "dims.leyers=1"], "did you mean 'layers'?"),
    ],
)
def test_other_errors_are_one_plain_line(words, told):
    result = run("describe", *words, code=2)
    assert told in result.stderr and len(result.stderr.splitlines()) == 1


def test_python_m_engine_and_engine_are_the_same():
    script = Path(sys.executable).with_name("engine")
    ways = [[sys.executable, "-m", "engine"], [str(script)]]
    first, second = (
        subprocess.run([*way, "--help"], capture_output=True, text=True, check=True).stdout
        for way in ways
    )
    assert first == second and "Usage: engine" in first


def test_help_does_not_import_torch():
    code = "import sys\nfrom engine.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass\nprint('torch' in sys.modules)"
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert "describe" in output and output.splitlines()[-1] == "False"


def test_schema_knows_every_axis_and_the_options_of_heads():
    schema = json.loads(run("schema").stdout)
    older = {"streams"}  # read, and not written again
    named = {"extends"} | older
    assert set(load_spec("xlnet").to_dict()) | named == set(schema["properties"])
    assert "causal_lm" in schema["$defs"]["Heads"]["properties"]["options"]["properties"]
    assert '"required"' not in json.dumps(schema)


def test_shipped_specs_agree_with_the_schema():
    validator = Draft202012Validator(json.loads(run("schema").stdout))
    for path in sorted(SPECS.rglob("*.yaml")):
        data = json.loads(json.dumps(read_yaml(path)))
        assert [error.message for error in validator.iter_errors(data)] == [], path
    assert list(validator.iter_errors({"dims": {"leyers": 2}}))


def rows(output):
    """Lines of the list of weights, in words."""
    return [line.split() for line in output.split("\nweights", 1)[1].splitlines() if line.strip()]


def test_a_dry_run_lists_weights_with_their_shapes(tmp_path):
    model = build_model("tiny/xglm")
    save_model(model, tmp_path, format="huggingface")
    state = load_file(tmp_path / "model.safetensors")
    state["own"] = state.pop("model.layer_norm.bias")
    state["model.layer_norm.weight"] = torch.zeros(7)
    save_file(state, tmp_path / "model.safetensors")
    listed = rows(described(str(tmp_path), "--weights"))
    width = str(model.spec.dims.model)
    assert [width, "×", width, "model.layers.0.self_attn.q_proj.weight", "read"] in [
        row[1:] for row in listed
    ]
    assert ["final_norm.bias", width, "model.layer_norm.bias", "missing"] in listed
    assert [*["of", "another", "shape,", "drawn", "anew:", "7"]] in [
        row[3:] for row in listed if row[0] == "final_norm.weight"
    ]
    assert [width, "own", "left", "over"] in listed
    assert len(listed) == len(list(model.parameters())) + 1


def test_a_folder_by_another_spec(tmp_path):
    save_model(build_model("tiny/xglm"), tmp_path / "model", format="huggingface")
    path = tmp_path / "mine.yaml"
    path.write_text(
        "extends: families/xglm\ncheckpoint: {huggingface: {names: {final_norm: last_norm}}}\n"
    )
    listed = rows(described(str(tmp_path / "model"), "--spec", str(path), "--head", "none"))
    assert ["final_norm.bias", "model.last_norm.bias", "missing"] in [
        [*row[:1], *row[2:]] for row in listed
    ]
    assert sum(row[-2:] == ["left", "over"] for row in listed) == 2
    path.write_text(
        "extends: families/xglm\ncheckpoint: {huggingface: {names: {final_norm: null}}}\n"
    )
    told = described(str(tmp_path / "model"), "--spec", str(path), "--head", "none")
    assert told.count("no name in the map") == 2
    path.write_text(
        "extends: families/xglm\ncheckpoint: {huggingface: {names: {final_nrom: last_norm}}}\n"
    )
    error = run("describe", str(tmp_path / "model"), "--spec", str(path), code=2).stderr
    assert error.startswith(f"{path}:2:36: checkpoint.huggingface.names.final_nrom: no network has")


def test_weights_of_nothing():
    assert "there is none at xglm-564m" in run("describe", "xglm-564m", "--weights", code=2).stderr


def test_the_machine():
    """Which products were chosen for the processor at hand."""
    told = dict(line.split(": ", 1) for line in run("describe", "--machine").stdout.splitlines())
    assert told["instruction set"] and told["threads"].isdigit()
    for kind in ("float32", "bfloat16"):
        assert told[f"products in {kind}"].startswith(("oneDNN", "torch's own"))
        assert told[f"GELU in {kind}"] in ("in the product", "after the product")
        assert told[f"prepack in {kind}"] in ("yes", "no")


def test_nothing_to_describe():
    assert "name a spec, such as xlnet-base" in run("describe", code=2).stderr

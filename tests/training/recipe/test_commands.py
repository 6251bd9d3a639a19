"""`engine recipe describe` and `engine recipe schema`."""

import jsonschema
import pytest
from typer.testing import CliRunner

from engine.cli import main
from engine.cli.training.recipe import recipe_schema
from engine.training.recipe import load_recipe
from engine.training.recipe.load import LANGUAGE
from tokenization.files.plain_yaml import parse_yaml

SHIPPED = LANGUAGE.shipped()
SCHEMA = recipe_schema()


def run(*words: str):
    return CliRunner().invoke(main, ["recipe", *words])


def test_describe_is_the_recipe_with_the_origin_of_each_line():
    words = ("pretrain/xglm", "optimizer.rate=1e-4", "length.epochs=2")
    result = run("describe", *words)
    assert result.exit_code == 0
    changed = load_recipe("pretrain/xglm", {"optimizer.rate": 1e-4, "length.epochs": 2})
    assert parse_yaml(result.output).data == changed.to_dict()
    lines = [line.partition("#") for line in result.output.splitlines()]
    places = {text.strip(): place.strip() for text, _, place in lines}
    assert places["rate: 0.0001"] == "overrides"
    assert places["epochs: 2"] == "overrides"
    assert places["steps: null"] == "default"
    assert places["recipe: 1"].startswith("recipes/base/pretrain.yaml:")
    assert places["kind: causal"].startswith("recipes/pretrain/xglm.yaml:")


def test_a_wrong_recipe_ends_with_2_and_all_problems(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "mine.yaml"
    path.write_text(
        "extends: pretrain/xglm\nbatch: {rowss: 3}\nobjective: {kind: masked}\nlength: {steps: -1}\n",
        encoding="utf-8",
    )
    result = run("describe", "mine.yaml", "seed=x")
    assert result.exit_code == 2
    lines = result.stderr.splitlines()
    assert [line.split(": ")[:2] for line in lines] == [
        ["mine.yaml:2:9", "batch.rowss"],
        ["mine.yaml:3:13", "objective.kind"],
        ["mine.yaml:3:13", "objective.kind"],
        ["mine.yaml:4:10", "length.steps"],
        ["overrides", "seed"],
    ]
    assert "did you mean 'rows'?" in lines[0]
    assert [entry.name for entry in tmp_path.iterdir()] == ["mine.yaml"]


def test_the_schema_is_one():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("name", SHIPPED)
def test_the_schema_takes_every_shipped_recipe(name):
    data = parse_yaml(SHIPPED[name].read_text(encoding="utf-8")).data
    jsonschema.Draft202012Validator(SCHEMA).validate(data)


@pytest.mark.parametrize(
    "change",
    [{"batch": {"rowss": 1}}, {"objective": {"kind": "masced"}}, {"seed": "x"}, {"lenght": {}}],
)
def test_the_schema_refuses_what_the_loader_refuses(change):
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"extends": "pretrain/xglm", **change}, SCHEMA)

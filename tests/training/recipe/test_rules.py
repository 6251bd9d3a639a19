"""Rules between the sections of a recipe, and between a recipe and its network: each broken alone."""

import pytest

from engine.errors import RecipeError
from engine.training.recipe import load_recipe, open_recipe

TEXT = [{"kind": "text", "files": "a.txt"}]
SQUAD = [{"kind": "squad", "files": "a.json"}]
MASKED = {"objective": {"kind": "masked"}}

BROKEN = [
    # recipe, overrides, path, part of the message
    ("pretrain/xglm", {"objective": None}, "recipe", "objective or task"),
    ("pretrain/xglm", {"model": {"spec": None}}, "model", "model.spec or model.load"),
    ("pretrain/xglm", {"model.spec": "tiny/xgml"}, "model.spec", "did you mean 'tiny/xglm'?"),
    ("pretrain/xglm", {"model.spec": "t5-small"}, "model", "has an encoder"),
    ("pretrain/xglm", {"batch.rows": None}, "batch", "batch.rows or batch.tokens"),
    ("pretrain/xglm", {"batch.split": 64}, "batch.split", "more than batch.rows 32"),
    ("pretrain/xglm", {"length.steps": None}, "length", "length.steps or length.epochs"),
    ("pretrain/xglm", {"schedule.warm_up": 1001}, "schedule.warm_up", "length.steps 1000"),
    (
        "pretrain/xglm",
        {"schedule": {"decay": "inverse_sqrt", "warm_up": 0}},
        "schedule.warm_up",
        "more than 0",
    ),
    ("pretrain/xglm", {"optimizer.clip": 0.0}, "optimizer.clip", "greater than 0"),
    ("pretrain/xglm", {"optimizer.clip": -1.0}, "optimizer.clip", "greater than 0"),
    ("pretrain/xglm", {"evaluate.best": "accuracy"}, "evaluate.best", "no metric of causal"),
    (
        "fine-tune/classification",
        {"evaluate.best": "acuracy"},
        "evaluate.best",
        "did you mean 'accuracy'?",
    ),
    ("fine-tune/names", {"task.metrics": ["f1", "bleu"]}, "task.metrics.1", "no metric of tokens"),
    (
        "pretrain/xglm",
        {"evaluate.patience": 3, "data.held_out": None},
        "evaluate.patience",
        "data.held_out",
    ),
    ("pretrain/xglm", {"data.mix": {"alpha": 0.5}}, "data.train.0", "language"),
    (
        "pretrain/transformer-xl",
        {"objective": {"kind": "mix", "parts": [{"objective": {"kind": "recurrent"}}] * 2}},
        "data.layout.kind",
        "which the turns of a mix break",
    ),
    (
        "pretrain/xlm-roberta-xl",
        {"objective.fates": [0.8, 0.1, 0.2]},
        "objective.fates",
        "should be 1",
    ),
    (
        "pretrain/xglm",
        {"data.layout": {"kind": "stream", "length": 64}},
        "data.layout.kind",
        "found causal",
    ),
    (
        "pretrain/transformer-xl",
        {"data.layout": {"kind": "lines"}},
        "data.layout.kind",
        "say stream",
    ),
    ("pretrain/transformer-xl", {"batch.tokens": 512}, "batch.rows", "batch.rows"),
    (
        "pretrain/transformer-xl",
        {"model.overrides": {"memory.length": 0, "attention.mask": ["padding", "causal"]}},
        "data.layout.kind",
        "memory.length of tiny-transformer-xl is 0",
    ),
    (
        "pretrain/xlnet",
        {"model.overrides.memory.length": None},
        "data.layout.kind",
        "memory.length of tiny-xlnet is None",
    ),
    ("pretrain/xlnet", {"model.overrides.memory.reuse": 65}, "data.layout.length", "memory.reuse"),
    (
        "pretrain/transformer-xl",
        {"model.overrides.memory.reuse": 32},
        "objective.kind",
        "memory.reuse of tiny-transformer-xl is 32",
    ),
    ("pretrain/xlnet", {"objective.predict": 65}, "objective.predict", "64 tokens"),
    (
        "pretrain/xlnet",
        {"objective.both_directions": True},
        "objective.both_directions",
        "reversed_half",
    ),
    (
        "pretrain/xlnet",
        {
            "objective.both_directions": True,
            "model.overrides.position.reversed_half": True,
            "batch.rows": 33,
        },
        "batch.rows",
        "33 is odd",
    ),
    (
        "pretrain/xglm",
        {"objective": {"kind": "permutation"}},
        "objective.kind",
        "the mask rule permutation",
    ),
    ("pretrain/xlm-roberta-xl", {"objective": {"kind": "causal"}}, "objective.kind", "causal"),
    (
        "pretrain/xlm-roberta-xl",
        {"objective": {"kind": "translation"}},
        "data.layout.kind",
        "say pairs",
    ),
    (
        "pretrain/xlm-roberta-xl",
        {"data.layout.length": 129},
        "data.layout.length",
        "more than the 128 positions",
    ),
    (
        "pretrain/xlm-roberta-xl",
        {"tokenizer.train.vocab": 1601},
        "tokenizer.train.vocab",
        "dims.vocab 1600",
    ),
    ("pretrain/xlm-roberta-xl", {"model.head": "causal_lm"}, "model.head", "masked_lm"),
    ("pretrain/xlm-roberta-xl", {"devices.tensor": 3}, "devices.tensor", "dims.heads 4"),
    ("fine-tune/classification", {"data.train": TEXT}, "data.train.0.kind", "no labels"),
    ("fine-tune/classification", {"data.train": SQUAD}, "data.train.0.kind", "question_answering"),
    (
        "fine-tune/classification",
        {"data.layout": {"kind": "packed", "length": 8}},
        "data.layout.kind",
        "one example a row",
    ),
    ("fine-tune/questions", {"task.stride": 128}, "task.stride", "never move on"),
    ("fine-tune/names", {"tokenizer.train": {}}, "tokenizer.train", "leave it out"),
    (
        "pretrain/xlnet",
        {"adapter": {"kind": "lora", "on": ["query", "valeu"]}},
        "adapter.on.1",
        "no linear layer of tiny-xlnet is called 'valeu', did you mean 'value'?",
    ),
    (
        "pretrain/xglm",
        {"adapter": {"kind": "lora", "also": ["final_nrm"]}},
        "adapter.also.0",
        "did you mean 'final_norm'?",
    ),
    (
        "pretrain/xglm",
        {"adapter": {"kind": "lora", "also": ["blocks"]}},
        "adapter.on",
        "train as they are",
    ),
]


@pytest.mark.parametrize(
    ("name", "overrides", "path", "text"), BROKEN, ids=[f"{row[0]}-{row[2]}" for row in BROKEN]
)
def test_a_broken_rule_is_told_at_its_path(name, overrides, path, text):
    with pytest.raises(RecipeError) as caught:
        load_recipe(name, overrides)
    told = [(problem.path or "recipe", problem.message) for problem in caught.value.problems]
    assert any(place == path and text in message for place, message in told), told


def test_rows_are_shared_equally_by_processes():
    opened = open_recipe("pretrain/xlnet")
    assert opened.spec is not None
    opened.check(opened.spec, processes=4)
    with pytest.raises(RecipeError, match="32 rows cannot be shared equally by 3 processes"):
        opened.check(opened.spec, processes=3)
    both = {"objective.both_directions": True, "model.overrides.position.reversed_half": True}
    opened = open_recipe("pretrain/xlnet", both)
    assert opened.spec is not None
    opened.check(opened.spec, processes=16)
    with pytest.raises(RecipeError, match="even number of rows"):
        opened.check(opened.spec, processes=32)


def test_a_tokenizer_has_no_more_ids_than_the_network():
    opened = open_recipe("pretrain/xglm")
    assert opened.spec is not None
    opened.check(opened.spec, vocabulary=opened.spec.dims.vocab)
    with pytest.raises(RecipeError, match=r"tokenizer: 2401 ids are more than dims.vocab 2400"):
        opened.check(opened.spec, vocabulary=2401)


def test_a_child_chooses_another_way_than_its_parent(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "extends: pretrain/xglm\nlength: {epochs: 2}\nbatch: {tokens: 512}\nmodel: {load: here}\n"
        "tokenizer: {load: here}\ntask: {kind: causal}\n"
        "data: {train: [{kind: jsonl, files: a}], layout: {kind: lines}}\n",
        encoding="utf-8",
    )
    recipe = load_recipe(path)
    assert (recipe.length.steps, recipe.length.epochs) == (None, 2)
    assert (recipe.batch.rows, recipe.batch.tokens) == (None, 512)
    assert (recipe.model.spec, recipe.model.load) == (None, "here")
    assert recipe.tokenizer.train is None and recipe.objective is None


def test_two_ways_in_one_file_are_told(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "extends: pretrain/xglm\nlength: {steps: 3, epochs: 2}\ntask: {kind: causal}\n"
        "objective: {kind: causal}\n",
        encoding="utf-8",
    )
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    told = [(problem.path, problem.line) for problem in caught.value.problems]
    assert ("length.epochs", 2) in told and ("task", 3) in told

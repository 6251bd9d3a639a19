"""A run goes on with its own recipe; what differs is listed with both values."""

import pytest

from engine.errors import RecipeError
from engine.training.recipe import load_recipe, open_recipe
from engine.training.recipe.compare import changes, refuse_changes

NAME = "pretrain/xglm"


def test_the_same_recipe_has_no_changes():
    recipe = load_recipe(NAME)
    assert changes(recipe, load_recipe(recipe.to_dict())) == ()
    refuse_changes(open_recipe(NAME), recipe)


def test_devices_may_differ():
    other = load_recipe(NAME, {"devices.tensor": 2, "devices.shard": "all"})
    assert changes(load_recipe(NAME), other) == ()


def test_changes_have_both_values():
    over = {
        "optimizer.rate": 1e-4,
        "length.epochs": 3,
        "data.train": [{"kind": "text", "files": "x"}],
    }
    told = [str(change) for change in changes(load_recipe(NAME), load_recipe(NAME, over))]
    assert told == [
        "data.train.0.files: corpus/*.txt before, x now",
        "optimizer.rate: 0.002 before, 0.0001 now",
        "length.steps: 1000 before, null now",
        "length.epochs: null before, 3 now",
    ]


def test_another_kind_lists_what_only_one_has():
    other = load_recipe(NAME, {"data.layout": {"kind": "lines"}})
    assert [change.path for change in changes(load_recipe(NAME), other)] == [
        ("data", "layout", "kind"),
        ("data", "layout", "length"),
        ("data", "layout", "documents"),
    ]


def test_changes_are_refused_at_their_places(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(f"extends: {NAME}\nseed: 7\noptimizer:\n  clip: null\n", encoding="utf-8")
    with pytest.raises(RecipeError) as caught:
        refuse_changes(open_recipe(path), load_recipe(NAME))
    assert [(p.path, p.line, p.column) for p in caught.value.problems] == [
        ("seed", 2, 1),
        ("optimizer.clip", 4, 3),
    ]
    assert "null, but the run was begun with 1.0" in str(caught.value)

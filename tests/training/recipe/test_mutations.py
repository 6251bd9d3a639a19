"""Mutated recipes give located problems or are read; never an error of another kind."""

import copy
import random
from functools import cache
from pathlib import Path

import pytest

from engine.errors import RecipeError
from engine.training.recipe import load_recipe
from engine.training.recipe.load import LANGUAGE
from tokenization.files.plain_yaml import parse_yaml, write_yaml

WHOLE = {name: path for name, path in LANGUAGE.shipped().items() if not name.startswith("base/")}
STRANGE = (
    None, True, -1, 0, 1, 3, 2**40, 0.5, -0.5, 1.5, 1e30, "", "x", "stream", "masked", "1e-4",
    [], [1], ["a", "b"], [[]], {}, {"kind": "x"}, {"kind": "causal"}, {"kind": "stream"},
    {"rate": []}, "tiny/xlm", "../x", "a\nb", {"x": {"y": {"z": 1}}},
)  # fmt: skip


@cache
def written(name, filled):
    """A shipped recipe as its file says it, or with every field."""
    if filled:
        return load_recipe(name).to_dict()
    return parse_yaml(WHOLE[name].read_text(encoding="utf-8")).data


def places(data, path=()):
    yield path
    if isinstance(data, dict):
        for key, value in data.items():
            yield from places(value, (*path, key))
    elif isinstance(data, list):
        for number, value in enumerate(data):
            yield from places(value, (*path, number))


def mutate(data, chance: random.Random):
    """The data with a value replaced, removed, misspelt, doubled, or taken from elsewhere."""
    result = copy.deepcopy(data)
    *inner, last = chance.choice([path for path in places(result) if path])
    node = result
    for key in inner:
        node = node[key]
    kind = chance.randrange(5)
    if kind == 0:
        del node[last]
    elif kind == 1 and isinstance(node, dict):
        node[chance.choice((last[:-1], f"{last}s", last.upper(), "kind", ""))] = node.pop(last)
    elif kind == 2:
        found = chance.choice(list(places(data)))
        value = data
        for key in found:
            value = value[key]
        node[last] = copy.deepcopy(value)
    elif kind == 3 and isinstance(node, dict):
        node[f"{last} "] = chance.choice(STRANGE)
    else:
        node[last] = copy.deepcopy(chance.choice(STRANGE))
    return result


@pytest.mark.parametrize("seed", range(30))
def test_mutated_recipes_give_located_problems(seed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    chance = random.Random(seed)
    path = Path("mutated.yaml")
    for _ in range(10):
        name = chance.choice(sorted(WHOLE))
        data = written(name, chance.random() < 0.5)
        for _ in range(chance.randint(1, 3)):
            data = mutate(data, chance) if data else data
        path.write_text(write_yaml(data), encoding="utf-8")
        try:
            load_recipe(path)
        except RecipeError as error:
            assert error.problems
            for problem in error.problems:
                assert problem.line is not None and problem.column is not None, (data, str(problem))
        assert [entry.name for entry in tmp_path.iterdir()] == ["mutated.yaml"]

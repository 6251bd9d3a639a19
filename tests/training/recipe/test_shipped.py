"""Every recipe that the project ships is read, fits its network, and comes back from its own YAML."""

import pytest

from engine.training.recipe import load_recipe, open_recipe
from engine.training.recipe.load import LANGUAGE
from tokenization.files.plain_yaml import parse_yaml, write_yaml

# What base/ holds is the beginning of a recipe.
WHOLE = [name for name in LANGUAGE.shipped() if not name.startswith("base/")]


@pytest.mark.parametrize("name", WHOLE)
def test_recipe_is_read_and_comes_back(name):
    recipe = load_recipe(name)
    again = load_recipe(parse_yaml(write_yaml(recipe.to_dict())).data)
    assert again == recipe


@pytest.mark.parametrize("name", WHOLE)
def test_recipe_fits_its_network(name):
    opened = open_recipe(name)
    if opened.spec is not None:
        opened.check(opened.spec, opened.spec.dims.vocab)

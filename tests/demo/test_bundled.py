"""The networks that travel with the project score on held-out text what their recipes say."""

import io
import json

import pytest
import yaml
from rich.console import Console
from typer.testing import CliRunner

from engine.cli import main
from engine.demo.bundle import MODELS
from engine.demo.corpus import make_corpus
from engine.demo.networks import bundled
from engine.demo.run import FAMILIES, show
from engine.demo.texts import write_held_out
from engine.training.recipe import load_recipe
from engine.training.recipe.compare import changes

MOST_BYTES = 2 * 10**6
# Shares of the unigram entropy that two minutes on two processors must reach.
AIMS = {"permutation": 0.35, "causal": 0.35, "recurrent": 0.35, "masked": 0.4, "translation": 0.3}


@pytest.fixture(scope="module")
def corpus():
    return make_corpus(0)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory, corpus):
    """A folder with the texts that are held out."""
    folder = tmp_path_factory.mktemp("bundled")
    write_held_out(folder, corpus)
    return folder


@pytest.mark.parametrize("family", FAMILIES)
def test_a_bundled_network_is_no_worse_than_its_recipe_says(family, workplace, monkeypatch):
    monkeypatch.chdir(workplace)
    recipe = load_recipe(f"demo/{family}")
    assert recipe.objective is not None
    # The score depends on no text that was learned from: what is held out stands in for it.
    held_out = yaml.safe_dump(recipe.to_dict()["data"]["held_out"], default_flow_style=True)
    words = ["evaluate", str(MODELS / family), f"data.train={held_out}", "--cache", "cache"]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    found = json.loads(result.output)
    print(family, found)
    assert recipe.expected["share_of_unigram"] <= AIMS[recipe.objective.kind]
    for name, expected in recipe.expected.items():
        assert found[name] <= expected, f"{family}: {name} was {expected}"


@pytest.mark.parametrize("family", FAMILIES)
def test_a_bundled_network_is_small_and_trained_by_its_recipe(family):
    files = list((MODELS / family).iterdir())
    assert sum(path.stat().st_size for path in files) <= MOST_BYTES
    told = changes(load_recipe(MODELS / family / "recipe.yaml"), load_recipe(f"demo/{family}"))
    assert not told, f"make demo-train: {told}"


# What each is for must be seen in what it shows: numbers of a few held-out gaps and texts.
SHOWN = {
    "xlnet": lambda numbers: numbers["right"] >= 0.8 and numbers["left"] <= numbers["right"] / 2,
    "xlm": lambda numbers: numbers["right"] >= 0.7 and numbers["alone"] <= numbers["right"] / 3,
    "xlm-roberta-xl": lambda numbers: numbers["right"] >= 0.5,
    "transformer-xl": lambda numbers: numbers["with"] <= 0.6 * numbers["without"],
    "xglm": lambda numbers: numbers["perplexity"] <= 3,
}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_bundled_network_shows_what_its_family_is_for(family, corpus):
    network = bundled(family)
    finding = network.showing(corpus).show()
    print(family, finding.numbers)
    assert SHOWN[family](finding.numbers)
    assert finding.examples
    assert all(len(example) == len(finding.columns) for example in finding.examples)
    written = io.StringIO()
    show(network, corpus, Console(file=written, width=200))
    assert finding.headline in written.getvalue() and "\x1b" not in written.getvalue()

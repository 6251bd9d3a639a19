"""Heads of third parties: the decorator, entry points of installed packages, clashes, and the
example in the docs.
"""

import re
import warnings
from pathlib import Path

import pytest
import torch

from engine import SpecError, build_model, load_model, load_spec, save_model
from heads import Head, find_head, register_head, registered_heads, registry

DOCS = Path(__file__).parents[2] / "docs" / "heads.md"
OFFERED = """
from engine.network.inputs import Inputs
from heads import Head, HeadOptions

class Offered(Head):
    class Options(HeadOptions):
        scale: float = 2.0
    inputs = frozenset()
    def forward(self, result, inputs):
        result.logits = self.options.scale * result.last_hidden_state
        return result

class Impostor(Head):
    pass

NOT_A_HEAD = 3
"""


@pytest.fixture(autouse=True)
def own_registry(monkeypatch):
    """Every test may register heads; none outlives it."""
    registered_heads()
    monkeypatch.setattr(registry, "_HEADS", dict(registry._HEADS))


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A package with a good head, one under a taken name, one that is no head, and one whose module
    is missing.
    """
    (tmp_path / "offering.py").write_text(OFFERED)
    metadata = tmp_path / "offering-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: offering\nVersion: 1.0\n")
    points = [
        "offered = offering:Offered",
        "causal_lm = offering:Impostor",
        "number = offering:NOT_A_HEAD",
        "absent = no_such_module:Head",
    ]
    (metadata / "entry_points.txt").write_text(
        "\n".join([f"[{registry.ENTRY_POINTS}]", *points]) + "\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    registry._load_installed.cache_clear()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        registered_heads()
    yield [str(warning.message) for warning in caught]
    registry._load_installed.cache_clear()


def test_installed_package_offers_a_head(installed, tmp_path):
    ids = torch.tensor([[5, 6, 7]])
    model = build_model("tiny/xglm", head="offered", scale=3.0).eval()
    answer = model(ids)
    assert torch.equal(answer.logits, 3.0 * answer.last_hidden_state)
    save_model(model, tmp_path / "saved")
    again = load_model(tmp_path / "saved")
    assert type(again.head).__name__ == "Offered"
    assert torch.equal(again(ids).logits, answer.logits)
    with pytest.raises(
        SpecError,
        match=r"heads\.options\.offered\.scael: unknown key 'scael', did you mean 'scale'\?",
    ):
        load_spec("tiny/xglm", {"heads.options.offered.scael": 1.0})


def test_broken_offers_are_named_and_left_out(installed):
    assert len(installed) == 3
    clash, number, absent = installed
    assert (
        "'causal_lm' of offering (offering:Impostor)" in clash
        and "taken by heads.language_modeling" in clash
    )
    assert "'number' of offering" in number and "is no head" in number
    assert "'absent' of offering" in absent and "no_such_module" in absent
    assert find_head("causal_lm").__module__ == "heads.language_modeling"
    assert "number" not in registered_heads() and "absent" not in registered_heads()


def test_a_taken_name_is_refused():
    class Mine(Head):
        pass

    assert register_head("mine")(Mine) is Mine is find_head("mine")
    register_head("mine")(Mine)  # the same class again, as when a module is reloaded

    class Yours(Head):
        pass

    with pytest.raises(
        ValueError, match=r"the head name 'mine' is taken by .*\.Mine; .*\.Yours needs another"
    ):
        register_head("mine")(Yours)
    with pytest.raises(
        ValueError, match=r"'token_classification' is taken by heads\.classification\.Token"
    ):
        register_head("token_classification")(Mine)
    assert find_head("mine") is Mine


@pytest.mark.parametrize("thing", [3, torch.nn.Linear, lambda spec, options: None])
def test_what_is_no_head_is_refused(thing):
    with pytest.raises(TypeError, match="'thing' is no head"):
        register_head("thing")(thing)


def test_unknown_name_gives_the_nearest():
    with pytest.raises(
        ValueError,
        match=r"no head named 'token_clasification', did you mean 'token_classification'\?",
    ):
        build_model("tiny/xglm", head="token_clasification")


def test_the_example_in_the_docs():
    """Exactly the code block that follows the marker, about twenty lines, gives a head that learns."""
    block = re.search(
        r"<!-- run by tests/heads/test_registry.py -->\n```python\n(.*?)```",
        DOCS.read_text(),
        re.DOTALL,
    )
    assert block is not None
    code = block.group(1)
    assert (
        sum(
            bool(line.strip()) and not line.startswith(("import", "from"))
            for line in code.splitlines()
        )
        <= 20
    )
    names: dict = {}
    exec(compile(code, str(DOCS), "exec"), names)
    model = names["model"]
    assert model.head.options.temperature == 0.1
    assert find_head("text_pairs") is names["TextPairs"]
    ids = torch.randint(4, 100, (6, 7), generator=torch.Generator().manual_seed(0))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02)
    losses = []
    for _ in range(5):
        loss = model.eval()(ids).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses == sorted(losses, reverse=True) and losses[-1] < losses[0]

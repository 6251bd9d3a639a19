"""`engine demo` itself, shortened: the trained networks are shown and kept, and one is trained anew."""

import datetime

import pytest
import torch
from typer.testing import CliRunner

from engine import load_model
from engine.cli import main
from engine.demo import networks, texts
from engine.demo import run as demo
from engine.demo.corpus import Purchase, make_corpus
from engine.demo.showing import Showing, make_gap
from tokenization import load_tokenizer


@pytest.fixture
def few_facts(monkeypatch):
    """Less text is written for a training that is watched."""
    few = make_corpus(0, 60, 20)
    monkeypatch.setattr(texts, "DIARIES", 2)
    monkeypatch.setattr(networks, "write_texts", lambda folder, _: texts.write_texts(folder, few))


def test_the_command_shows_trains_and_leaves_networks_that_open_again(
    tmp_path, few_facts, monkeypatch
):
    monkeypatch.setattr(Showing, "evaluated", 12)
    words = "demo --only xglm --train xglm --steps 8 --seed 3 --folder"
    result = CliRunner().invoke(main, [*words.split(), str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert "xglm trained anew: 8 steps" in result.output
    shown = [line for line in result.output.splitlines() if "perplexity" in line]
    shown_at_once, before, after = (float(line.split(": ")[-1].split()[0]) for line in shown)
    assert shown_at_once < 3 < after < before
    assert {path.name for path in tmp_path.iterdir()} == {"xglm", "xglm-new"}
    for folder in tmp_path.iterdir():
        ids = load_tokenizer(folder)(["Japan (Japanese)"], return_tensors="pt").input_ids
        model = load_model(folder)
        assert model.dtype == torch.float32
        assert model(ids).logits.shape == (1, ids.shape[1], model.spec.dims.vocab)


@pytest.mark.parametrize("option", ["--only", "--train"])
def test_a_family_that_is_none_is_refused(option):
    result = CliRunner().invoke(main, ["demo", option, "xglmm"])
    assert result.exit_code == 2 and "did you mean 'xglm'" in result.output


@pytest.mark.parametrize("family", demo.FAMILIES)
def test_every_recipe_of_the_demonstration_can_be_watched(family, tmp_path, few_facts):
    """Its texts are those that the demonstration writes, its vocabulary the one that comes along."""
    networks.write_texts(tmp_path, make_corpus(0))
    opened = networks.open_recipe(f"demo/{family}", networks.changes(family, tmp_path, 4, 0))
    plan = networks.make_plan(opened, tmp_path / "run", cache=tmp_path / "cache", say=print)
    assert plan.steps == 4 and len(plan.probes[0].rows) > 0


def test_a_sparkline_goes_from_high_to_low():
    assert demo.sparkline([4.0, 3.0, 2.0, 1.0]) == "█▅▃▁"
    assert len(demo.sparkline(torch.linspace(5, 1, 300).tolist())) == 40
    assert demo.sparkline([1.0, 1.0]) == "▁▁"


def test_a_gap_hides_whole_words_and_their_tokens():
    """The language `Deutsch`, not the beginning of `Deutschland`."""
    tokenizer = load_tokenizer(networks.MODELS / "xlnet")
    gap = make_gap(tokenizer, Purchase("DE", datetime.date(2014, 3, 14), 2), "de", "language")
    assert gap.drawn == "Deutschland (_____): Freitag, 14. März, 2 Euro."
    assert tokenizer.decode(gap.ids[0, gap.places]).strip() == "Deutsch"

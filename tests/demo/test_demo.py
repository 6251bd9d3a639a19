"""`engine demo` itself, shortened: every kind of network learns, and what it leaves can be opened again."""

import io

import pytest
import torch
from rich.console import Console
from typer.testing import CliRunner

from engine import load_model, load_spec
from engine.cli import main
from engine.demo import run as demo
from engine.demo.causal import CausalLesson, StreamLesson
from engine.demo.corpus import make_corpus
from engine.demo.masked import MaskedLesson, TranslationLesson
from engine.demo.permuted import PermutationLesson
from tokenization import load_tokenizer


@pytest.mark.parametrize(
    ("family", "lesson"),
    [
        ("xlnet", PermutationLesson),
        ("xlm", TranslationLesson),
        ("xlm-roberta-xl", MaskedLesson),
        ("transformer-xl", StreamLesson),
        ("xglm", CausalLesson),
    ],
)
def test_every_family_learns(family, lesson, monkeypatch):
    assert demo.lesson_for(load_spec(f"tiny/{family}")) is lesson
    monkeypatch.setattr(lesson, "steps", 8 * 12)
    monkeypatch.setattr(lesson, "rows", 8)
    monkeypatch.setattr(lesson, "evaluated", 8)
    console = Console(file=io.StringIO(), width=120)
    losses, finding = demo.teach(family, make_corpus(0, 120, 40), console, quick=True)
    assert len(losses) == 12 and losses[-1] < 0.95 * losses[0]
    assert finding.examples and all(len(example) == len(finding.columns) for example in finding.examples)
    said = console.file.getvalue()
    assert finding.headline in said and "\x1b" not in said


def test_the_command_leaves_a_network_that_opens_again(tmp_path, monkeypatch):
    monkeypatch.setattr(CausalLesson, "steps", 8 * 2)
    result = CliRunner().invoke(main, ["demo", "--only", "xglm", "--quick", "--folder", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert "xglm" in result.output and "loss" in result.output
    tokenizer = load_tokenizer(tmp_path / "xglm")
    model = load_model(tmp_path / "xglm")
    ids = tokenizer(["Japan (Japanese)"], return_tensors="pt").input_ids
    assert model(ids).logits.shape == (1, ids.shape[1], model.spec.dims.vocab)


def test_a_family_that_is_none_is_refused():
    result = CliRunner().invoke(main, ["demo", "--only", "xglmm"])
    assert result.exit_code == 2 and "did you mean 'xglm'" in result.output


def test_the_same_seed_shows_the_same(monkeypatch):
    monkeypatch.setattr(CausalLesson, "steps", 8 * 3)
    console = Console(file=io.StringIO())
    first, again = (demo.teach("xglm", make_corpus(0, 120, 40), console, quick=True) for _ in range(2))
    assert first == again


def test_a_sparkline_goes_from_high_to_low():
    assert demo.sparkline([4.0, 3.0, 2.0, 1.0]) == "█▅▃▁"
    assert len(demo.sparkline(torch.linspace(5, 1, 300).tolist())) == 40
    assert demo.sparkline([1.0, 1.0]) == "▁▁"

"""`engine demo` itself, shortened: every kind of network learns, and what it leaves can be opened
again.
"""

import datetime
import io
from typing import Any

import pytest
import torch
from rich.console import Console
from typer.testing import CliRunner

from engine import load_model, load_spec
from engine.cli import main
from engine.demo import run as demo
from engine.demo.causal import CausalLesson, StreamLesson
from engine.demo.corpus import Purchase, make_corpus
from engine.demo.lesson import make_gap
from engine.demo.masked import MaskedLesson, TranslationLesson
from engine.demo.permuted import PermutationLesson
from engine.demo.teach import lesson_for, teach
from tokenization import load_tokenizer, train_tokenizer


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
    assert lesson_for(load_spec(f"tiny/{family}")) is lesson
    monkeypatch.setattr(lesson, "steps", 8 * 12)
    monkeypatch.setattr(lesson, "rows", 8)
    monkeypatch.setattr(lesson, "evaluated", 8)
    heard = []
    taught = teach(
        family, make_corpus(0, 120, 40), quick=True, advance=lambda *step: heard.append(step)
    )
    losses, finding = taught.losses, taught.finding
    assert len(losses) == 12 and losses[-1] < 0.95 * losses[0]
    assert heard == [(family, number + 1, 12, loss) for number, loss in enumerate(losses)]
    assert finding.examples and all(
        len(example) == len(finding.columns) for example in finding.examples
    )
    written = io.StringIO()
    demo.show(taught, Console(file=written, width=200))
    assert finding.headline in written.getvalue() and "\x1b" not in written.getvalue()


def test_the_command_leaves_a_network_that_opens_again(tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "make_corpus", lambda seed: make_corpus(seed, 120, 40))
    monkeypatch.setattr(CausalLesson, "steps", 8 * 2)
    result = CliRunner().invoke(
        main, ["demo", "--only", "xglm", "--quick", "--folder", str(tmp_path)]
    )
    assert result.exit_code == 0, result.output
    assert "xglm" in result.output and "loss" in result.output
    tokenizer = load_tokenizer(tmp_path / "xglm")
    model = load_model(tmp_path / "xglm")
    ids = tokenizer(["Japan (Japanese)"], return_tensors="pt").input_ids
    assert model(ids).logits.shape == (1, ids.shape[1], model.spec.dims.vocab)


def test_a_family_that_is_none_is_refused():
    result = CliRunner().invoke(main, ["demo", "--only", "xglmm"])
    assert result.exit_code == 2 and "did you mean 'xglm'" in result.output


SETTINGS: dict[str, Any] = {"seed": 0, "quick": True, "folder": None, "steps": 3}


@pytest.fixture(scope="module")
def alone():
    """What one family has learned in this process: one that writes no texts, which takes long."""
    return teach("xlm-roberta-xl", make_corpus(0, 120, 40), **SETTINGS)


def test_the_same_seed_shows_the_same_whatever_the_threads(alone):
    """How many threads this process has is of no account to the command."""
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with demo.Bars(Console(file=io.StringIO()), ["xlm-roberta-xl"]) as bars:
            (again,) = demo.teach_all(["xlm-roberta-xl"], make_corpus(0, 120, 40), bars, SETTINGS)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(threads)
    assert (again.losses, again.finding) == (alone.losses, alone.finding)


def test_one_family_or_several_the_same_numbers(alone, monkeypatch):
    """One family is trained in this process, two in others."""
    families = ("xlm-roberta-xl", "xlm")
    written = io.StringIO()
    console = Console(file=written, force_terminal=True, width=120)
    monkeypatch.setattr(demo.os, "sched_getaffinity", lambda process: {0, 1}, raising=False)
    with demo.Bars(console, families) as bars:
        apart = list(demo.teach_all(families, make_corpus(0, 120, 40), bars, SETTINGS))
    assert [result.family for result in apart] == [*families]
    assert (apart[0].losses, apart[0].finding) == (alone.losses, alone.finding)
    assert all(family in written.getvalue() for family in families)


def test_a_sparkline_goes_from_high_to_low():
    assert demo.sparkline([4.0, 3.0, 2.0, 1.0]) == "█▅▃▁"
    assert len(demo.sparkline(torch.linspace(5, 1, 300).tolist())) == 40
    assert demo.sparkline([1.0, 1.0]) == "▁▁"


def test_a_gap_hides_whole_words_and_their_tokens():
    """The language `Deutsch`, not the beginning of `Deutschland`."""
    corpus = make_corpus(0, 120, 40)
    spec = load_spec("tiny/xlnet")
    texts = [text for text, _ in PermutationLesson.texts(corpus, 0)]
    assert spec.tokenizer is not None
    tokenizer = train_tokenizer(spec.tokenizer, texts, spec.dims.vocab)
    gap = make_gap(tokenizer, Purchase("DE", datetime.date(2014, 3, 14), 2), "de", "language")
    assert gap.drawn == "Deutschland (_____): Freitag, 14. März, 2 Euro."
    assert tokenizer.decode(gap.ids[0, gap.places]).strip() == "Deutsch"

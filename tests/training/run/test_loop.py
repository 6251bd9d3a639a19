"""A run: it learns, goes on exactly, stops well, and says what went wrong."""

import pytest
import torch

from engine import load_model
from engine.training.recipe.sections import Evaluate, Save
from engine.training.run.loop import run
from tests.training.run.runs import losses, plan, weights


@pytest.mark.parametrize("stream", [False, True])
def test_a_run_that_stops_goes_on_to_the_last_bit(tmp_path, stream):
    whole = plan(tmp_path / "whole", stream=stream)
    run(whole)
    begun = plan(tmp_path / "parts", stream=stream, steps=8)
    object.__setattr__(begun, "save", Save(every=2))
    stop_after(begun, 5)
    later = plan(tmp_path / "parts", stream=stream)
    result = run(later, resume=True)
    assert result.step == 8
    assert losses(tmp_path / "whole") == losses(tmp_path / "parts")
    for name, value in weights(whole.model).items():
        assert torch.equal(value, weights(later.model)[name]), name


def stop_after(begun, steps):
    """Run until a step fails without saving anything then."""

    class Cut(Exception):
        pass

    at = begun.feed.at

    def cut(step, processes):
        if step == steps:
            raise Cut
        return at(step, processes)

    object.__setattr__(begun, "feed", type("F", (), {"at": staticmethod(cut)})())
    with pytest.raises(Cut):
        run(begun)


def test_last_and_best_open_with_load_model(tmp_path):
    made = plan(tmp_path)
    run(made)
    last = load_model(tmp_path / "last")
    for name, value in weights(made.model).items():
        assert torch.equal(value, weights(last)[name])
    load_model(tmp_path / "best")


def test_only_so_many_are_kept(tmp_path):
    run(plan(tmp_path, steps=12, save=Save(every=1, keep=1), evaluate=Evaluate(every=6)))
    kept = sorted(path.name for path in tmp_path.glob("step-*"))
    best = (tmp_path / "best").resolve().name
    assert {"step-12", best} <= set(kept) and len(kept) <= 3
    assert not list(tmp_path.glob(".*"))

"""A run: it learns, goes on exactly, stops well, and says what went wrong."""

import json
import os
import pickle
import signal
from dataclasses import replace
from typing import Any

import pytest
import torch

from benchmarks.scaling import memory, sizes_of
from engine import load_model
from engine.errors import TrainingError
from engine.training.recipe.sections import Evaluate, Optimizer, Save
from engine.training.run.checkpoint import read_state
from engine.training.run.loop import run
from engine.training.run.watch import Log
from tests.training.run.runs import LORA, Ends, ending, launch, losses, plan, weights


def same(one, other):
    return all(torch.equal(value, weights(other)[name]) for name, value in weights(one).items())


@pytest.mark.parametrize("stream", [False, True])
def test_a_run_that_stops_goes_on_to_the_last_bit_without_pickle(tmp_path, stream, monkeypatch):
    def refused(*_, **__):
        raise AssertionError("something is unpickled")

    for owner, name in ((pickle, "load"), (pickle, "loads"), (torch, "load"), (torch, "save")):
        monkeypatch.setattr(owner, name, refused)
    whole, later = plan(tmp_path / "whole", stream=stream), plan(tmp_path / "parts", stream=stream)
    run(whole)
    with pytest.raises(Ends):
        run(ending(plan(tmp_path / "parts", stream=stream), 5))
    assert run(later, resume=True).step == 8
    assert losses(tmp_path / "whole") == losses(tmp_path / "parts")
    assert same(whole.model, later.model)


@pytest.mark.anywhere
def test_kills_in_the_midst_of_saves_lose_nothing(tmp_path):
    whole, parts = plan(tmp_path / "whole", stream=True), tmp_path / "parts"
    run(whole)
    assert launch(1, output=parts, stream=True, kill=4) == [-signal.SIGKILL]
    assert launch(1, output=parts, stream=True, resume=True, kill=40) == [-signal.SIGKILL]
    assert (parts / "last").is_dir()
    last = plan(parts, stream=True)
    run(last, resume=True)
    assert losses(tmp_path / "whole") == losses(parts)
    assert same(whole.model, last.model)


def test_last_and_best_open_with_load_model(tmp_path):
    made = plan(tmp_path)
    result = run(made)
    assert same(made.model, load_model(tmp_path / "last"))
    load_model(tmp_path / "best")
    assert read_state(tmp_path / "best")["best"] == result.best
    assert (tmp_path / "losses.svg").read_text().startswith("<svg")


@pytest.mark.anywhere
def test_only_so_many_are_kept(tmp_path):
    run(plan(tmp_path, steps=12, save=Save(every=1, keep=1), evaluate=Evaluate(every=6)))
    kept = sorted(path.name for path in tmp_path.glob("step-*"))
    best = (tmp_path / "best").resolve().name
    assert {"step-12", best} <= set(kept) and len(kept) <= 3
    assert not list(tmp_path.glob(".*"))


def after_step(number, act, monkeypatch):
    """`act` when that step is done, in the thread that trains."""

    class Acting(Log):
        def step(self, record):
            super().step(record)
            if record["step"] == number:
                act()

    monkeypatch.setattr("engine.training.run.loop.Log", Acting)


@pytest.mark.anywhere
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_ends(tmp_path, number, monkeypatch):
    after_step(3, lambda: os.kill(os.getpid(), number), monkeypatch)
    result = run(plan(tmp_path, save=Save(), evaluate=Evaluate()))
    assert (result.step, result.stopped) == (3, "signal")
    monkeypatch.undo()
    whole = plan(tmp_path.parent / f"{tmp_path.name}-whole", save=Save(), evaluate=Evaluate())
    run(whole)
    later = plan(tmp_path, save=Save(), evaluate=Evaluate())
    run(later, resume=True)
    assert same(whole.model, later.model)


def test_patience_ends_a_run(tmp_path):
    made = plan(tmp_path, steps=50, optimizer=Optimizer(rate=1e-8))
    made = replace(made, evaluate=Evaluate(every=1, best="perplexity", patience=2))
    object.__setattr__(made, "held_out", replace(made.held_out, feed=Worse(made.held_out.feed)))
    result = run(made)
    assert (result.step, result.stopped) == (3, "patience")
    assert (tmp_path / "best").resolve().name == "step-1"


class Worse:
    """Held-out rows whose labels are harder each time."""

    def __init__(self, feed):
        self.feed, self.calls = feed, 0

    def at(self, step, processes):
        self.calls += 1
        portions = self.feed.at(step, processes)
        if self.calls <= 2:
            for portion in portions:
                portion.batch.inputs["shift_labels"][:, 3:] = -100
        return portions


def test_a_loss_that_is_not_finite_keeps_the_weights_before_it(tmp_path, monkeypatch):
    made = plan(tmp_path)
    before = {}

    def damage():
        before.update(weights(made.model))
        with torch.no_grad():
            made.model.final_norm.bias[0] = float("nan")

    after_step(3, damage, monkeypatch)
    with pytest.raises(
        TrainingError, match=r"step 4: the loss is nan, in a batch of the rows a:12"
    ):
        run(made)
    after = weights(made.model)
    assert all(
        torch.equal(before[name], value)
        for name, value in after.items()
        if name != "final_norm.bias"
    )
    assert read_state(tmp_path / "last")["step"] == 3


@pytest.mark.parametrize("error", ["No space left on device", "Read-only file system"])
def test_a_disk_that_takes_no_more_is_named_and_the_last_save_stays(tmp_path, monkeypatch, error):
    from engine.training.run import checkpoint

    made, saves = plan(tmp_path), []
    write = checkpoint._save_moments

    def full(tensors, folder):
        saves.append(folder)
        if len(saves) > 1:
            next(tensors)
            raise OSError(28, error)
        write(tensors, folder)

    monkeypatch.setattr(checkpoint, "_save_moments", full)
    with pytest.raises(TrainingError, match=rf"step-4 cannot be written: .*{error}; step-2 is"):
        run(made)
    assert (tmp_path / "last").resolve().name == "step-2"
    assert not list(tmp_path.glob(".*"))


def test_a_second_run_in_one_folder_is_refused(tmp_path):
    run(plan(tmp_path, steps=1))
    with pytest.raises(TrainingError, match="holds a run already"):
        run(plan(tmp_path))


KINDS: dict[str, dict[str, Any]] = {
    "ragged": {"rows": 3, "split": 1},
    "stream": {"rows": 4, "split": 2, "stream": True},
    "adapter": {"rows": 4, "split": 2, "adapter": LORA.model_copy(update={"dropout": 0.0})},
}


@pytest.fixture(scope="module")
def handed_on(tmp_path_factory):
    """Runs of two processes that one went on with, and then four; beside each that of one."""
    folder = tmp_path_factory.mktemp("handed-on")
    for kind, given in KINDS.items():
        run(plan(folder / f"whole-{kind}", dropout=False, **given))
    each = [{"output": folder / kind, **given} for kind, given in KINDS.items()]
    assert launch(2, each=each, dropout=False, shard="all", end=3) == [0, 0]
    for kind, given in KINDS.items():
        one = plan(folder / kind, dropout=False, **{**given, "split": 3 - given["split"]})
        with pytest.raises(Ends):
            run(ending(one, 5), resume=True)
    each = [{**given, "split": None} for given in each]
    assert launch(4, each=each, dropout=False, shard="all", resume=True) == [0] * 4
    return folder


@pytest.mark.anywhere
@pytest.mark.parametrize("kind", KINDS)
def test_a_run_of_two_processes_goes_on_with_one_and_with_four(handed_on, kind):
    parts, whole = handed_on / kind, handed_on / f"whole-{kind}"
    assert losses(parts) == pytest.approx(losses(whole), abs=1e-5)
    assert evaluations(parts) == pytest.approx(evaluations(whole), abs=1e-5)
    assert len(evaluations(parts)) == 2


def evaluations(output):
    lines = [json.loads(line) for line in (output / "log.jsonl").open()]
    return [line["evaluation"]["loss"] for line in lines if "evaluation" in line]


@pytest.mark.anywhere
@pytest.mark.parametrize("count", [2, 4])
def test_shards_are_as_large_as_the_arithmetic_says(handed_on, count):
    model = plan(handed_on / "other").model
    sizes = sizes_of(model)
    expected = memory(model.spec, sizes, count, 1, 1, recompute=False)
    files = sorted((handed_on / "ragged").glob(f"held-{count}-*.json"))
    found = [json.loads(path.read_text("utf-8")) for path in files]
    assert len(found) == count
    assert sum(one["weights"] for one in found) == count * expected.weights
    assert sum(one["moments"] for one in found) == count * expected.moments
    # Rows that do not divide lie on the first processes.
    assert max(one["weights"] for one in found) == pytest.approx(expected.weights, rel=0.1)

"""Groups, rates, and one step however its batch is split."""

import math
from contextlib import closing
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from engine import build_model
from engine.errors import InputError, TrainingError
from engine.training.distribute import Processes
from engine.training.optimizers import decays, make_optimizer
from engine.training.recipe.sections import Optimizer, Schedule
from engine.training.run.ahead import Ahead
from engine.training.run.curve import MOST, Curve
from engine.training.run.dump import dump_batches
from engine.training.run.feed import Feed
from engine.training.run.loop import run
from engine.training.run.step import Step, forward
from engine.training.schedules import rate_at
from tests.training.run.runs import SMALL, Around, Causal, RandomRows, plan, weights


def small(spec="xglm", **changes):
    return build_model(f"tiny/{spec}", seed=0, overrides={**SMALL, **changes})


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("split", [1, 3])
def test_a_split_batch_gives_the_step_of_the_whole(split, whole):
    def stepped(split):
        model = small()
        feed = Feed(rows := RandomRows(), Around(rows, 7), Causal(whole), lambda _: None, split)
        portions = feed.at(0, Processes())
        step = Step(model.train(), make_optimizer(model, Optimizer()), clip=0.5)
        return step([portion.batch for portion in portions], 1e-3), model

    (one, before), (other, after) = stepped(None), stepped(split)
    assert one.targets == other.targets and one.norm == pytest.approx(other.norm, rel=1e-5)
    assert one.loss == pytest.approx(other.loss, abs=1e-6)
    for name, value in weights(before).items():
        torch.testing.assert_close(value, weights(after)[name], atol=1e-5, rtol=0)


@pytest.mark.parametrize("parts", [2, 8])
@pytest.mark.parametrize("by", ["split", "processes"])
def test_rows_of_one_and_of_500_targets_count_by_target(by, parts):
    rows = RandomRows(8)
    rows.lengths = np.array([2, 501] * 4)
    rows.ids = [np.resize(ids, length) for ids, length in zip(rows.ids, rows.lengths, strict=True)]

    def gradients(split, count):
        model = small().double()
        feed = Feed(rows, Around(rows, 8), Causal(), lambda _: None, split)
        shares = [feed.at(0, Processes(rank, count)) for rank in range(count)]
        batches = [portion.batch for share in shares for portion in share]
        of = sum(batch.targets for batch in batches)
        for batch in batches:
            forward(model, batch, "float32", of=of).loss.backward()
        return of, [p.grad for p in model.parameters() if p.grad is not None]

    of, whole = gradients(None, 1)
    split, count = (8 // parts, 1) if by == "split" else (None, parts)
    found = gradients(split, count)
    assert of == found[0] == 4 + 4 * 500
    for one, other in zip(whole, found[1], strict=True):
        torch.testing.assert_close(one, other, atol=1e-12, rtol=1e-9)


def test_processes_with_fewer_rows_take_as_many_calls_without_weight():
    feed = Feed(rows := RandomRows(), Around(rows, 5), Causal(), lambda _: None, 1)
    shares = [feed.at(0, Processes(rank, 4)) for rank in range(4)]
    assert {len(share) for share in shares} == {2}
    assert sum(p.batch.targets > 0 for share in shares for p in share) == 5


def test_biases_norms_and_segment_terms_do_not_decay():
    model = small("xlnet")
    still = {name for name, _ in model.named_parameters() if not decays(model, name)}
    assert {"blocks.0.attention.scores.content_bias", "blocks.1.attention.scores.segments"} <= still
    assert {"embeddings.query_start", "blocks.0.attention_norm.weight"} <= still
    assert "embeddings.tokens.tables.0" not in still
    assert "blocks.0.feed_forward.up.weight" not in still


def test_each_layer_has_the_rate_of_the_one_above_times_the_decay():
    model = small()
    groups = make_optimizer(model, Optimizer(rate=1.0, layer_decay=0.5)).param_groups
    rates = {id(p): group["lr"] for group in groups for p in group["params"]}
    names = ["final_norm.weight", "blocks.1.attention.key.weight", "blocks.0.attention.key.weight"]
    found = [
        rates[id(model.get_parameter(name))] for name in [*names, "embeddings.tokens.tables.0"]
    ]
    assert found == [1.0, 1.0, 0.5, 0.25]


def test_frozen_patterns():
    model = small()
    make_optimizer(model, Optimizer(frozen=("embeddings.*",)))
    assert not model.get_parameter("embeddings.tokens.tables.0").requires_grad
    with pytest.raises(TrainingError, match="'embedings\\.\\*' is no parameter's name"):
        make_optimizer(model, Optimizer(frozen=("embedings.*",)))
    with pytest.raises(TrainingError, match="no parameter to train"):
        make_optimizer(model, Optimizer(frozen=("*",)))


@pytest.mark.parametrize("decay", ["linear", "cosine", "inverse_sqrt", "constant"])
def test_rates_rise_then_fall_to_the_floor(decay):
    schedule = Schedule(warm_up=10, decay=decay, floor=0.1)
    rates = [rate_at(schedule, step, 100) for step in range(101)]
    assert rates[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert all(later <= earlier for earlier, later in pairwise(rates[9:]))
    ends = {"linear": 0.1, "cosine": 0.1, "inverse_sqrt": math.sqrt(10 / 101), "constant": 1.0}
    assert rates[100] == pytest.approx(ends[decay])
    assert rate_at(Schedule(warm_up=0.1), 4, 100) == pytest.approx(0.5)
    assert rate_at(Schedule(warm_up=0, decay="inverse_sqrt"), 0, 10) == 1.0


def test_a_curve_of_many_steps_stays_small():
    curve = Curve()
    for step in range(5 * MOST):
        curve.add(step, 1.0 / (step + 1))
    assert len(curve.points) < MOST and "polyline" in curve.svg()


def test_a_pre_flight_pass_freezes_what_no_gradient_reaches(tmp_path):
    made = plan(tmp_path, steps=1, model=small("xlm", **{"block.layer_drop": 0.9}))
    portion, told = made.feed.longest(Processes(), 4), []
    inputs = {**portion.batch.inputs}
    inputs["labels"] = inputs.pop("shift_labels")
    portion = portion.with_inputs(inputs)
    made = replace(made, probes=(portion,), feed=SimpleNamespace(at=lambda *_: [portion]))
    run(replace(made, held_out=None), say=told.append)
    assert "rows of 12 tokens, peak memory" in told[0]
    assert told[1:] == ["no gradient reaches embeddings.languages: frozen"]
    assert (tmp_path / "last").is_dir()


def test_batches_drawn_ahead_are_those_of_the_feed():
    asked = []

    def at(step, processes):
        asked.append(step)
        if step == 5:
            raise InputError("row 5 is broken")
        return [f"step {step}"]

    feed: Any = SimpleNamespace(at=at)
    with closing(Ahead(feed, Processes(), steps=7)) as batches:
        assert batches.at(3) == ["step 3"]
        batches.begin(4)
        assert batches.at(4) == ["step 4"]
        batches.begin(5)  # what is wrong is told where the step is asked for
        assert batches.at(6) == ["step 6"]
        batches.begin(7)
        with pytest.raises(InputError, match="row 5"):
            batches.at(5)
    assert asked == [3, 4, 5, 6, 5]


def test_a_team_writes_its_batches_once(tmp_path):
    """Its processes read the same rows; each of several teams has a file."""
    for rank, count in ((0, 1), (1, 1), (0, 2), (1, 2)):
        processes = Processes(rank=1, count=2)
        processes.cut = SimpleNamespace(rank=rank, count=count)  # type: ignore[assignment]
        path = dump_batches(plan(tmp_path / f"{rank}-{count}"), 1, processes)
        assert path.name == "batches-1.jsonl"
        assert path.exists() == (rank == 0)

"""Layers that are cut over processes give what whole ones give, and are saved whole."""

import json
from typing import Any

import pytest

from engine import build_model, load_model
from engine.errors import TrainingError
from engine.training.distribute import open_processes
from engine.training.recipe.sections import Devices
from engine.training.run.loop import run
from engine.training.tensor_parallel import Cut
from tests.training.run.runs import TEAM, cut_and_run, launched, losses, plan

KINDS: dict[str, dict[str, Any]] = {
    "rows": {"rows": 4, "split": 1, "dropout": False},
    "stream": {"rows": 4, "split": 1, "stream": True, "dropout": False},
    "drops": {"rows": 4, "shard": "all", "steps": 2},
}


@pytest.fixture(scope="module")
def teams(tmp_path_factory):
    """What two teams of two processes give."""
    folder = tmp_path_factory.mktemp("teams")
    runs = [{"output": folder / kind, "end": 3, "shard": "all", **KINDS[kind]} for kind in KINDS]
    assert launched(4, cut_and_run, 2, folder, runs) == [0] * 4
    return folder


@pytest.mark.parametrize("name", TEAM)
def test_steps_of_two_teams_are_those_of_one_process(teams, name):
    losses_and_norms, parameters = json.loads((teams / "far.json").read_text("utf-8"))[name]
    assert losses_and_norms < 1e-10 and parameters < 1e-10


@pytest.mark.parametrize("kind", ["rows", "stream"])
def test_a_run_of_two_teams_goes_on_with_one_process(teams, tmp_path, kind):
    run(plan(tmp_path, **KINDS[kind]))
    run(plan(teams / kind, **KINDS[kind]), resume=True)
    assert losses(teams / kind) == pytest.approx(losses(tmp_path), abs=1e-5)


def test_dropout_is_drawn_and_what_is_saved_is_whole(teams):
    assert all(loss < 10 for loss in losses(teams / "drops"))
    saved = load_model(teams / "drops" / "last")
    assert saved.blocks[0].attention.query.weight.shape == (16, 16)
    held = json.loads((teams / "rows" / "held-2-0.json").read_text("utf-8"))
    whole = sum(parameter.nbytes for parameter in plan(teams / "new").model.parameters())
    assert held["weights"] < whole / 2


class Mesh:
    """The first of so many processes, which nothing is sent to."""

    def __init__(self, count):
        self.size = lambda: count

    def get_group(self):
        return None

    def get_local_rank(self):
        return 0


@pytest.mark.parametrize(
    ("overrides", "count", "text"),
    [
        ({}, 3, r"attention has 4 heads in query, which 3 processes cannot share"),
        ({"dims.inner": 30}, 4, "has 30 inner features, which 4 processes cannot share"),
        ({"dims.kv_heads": 1}, 2, "has 1 heads in key"),
        ({"attention.head_norm": {"kind": "rms"}}, 2, "norms heads"),
        ({"position": {"kind": "distance_bias", "numbers": "slopes"}}, 2, "SlopeScores.* not cut"),
    ],
)
def test_what_cannot_be_cut_is_refused_by_name(overrides, count, text):
    model = build_model("tiny/xglm", device="meta", overrides=overrides)
    with pytest.raises(TrainingError, match=rf"devices.tensor is {count}: blocks.0.*{text}"):
        Cut(Mesh(count)).apply(model)


def test_processes_are_a_multiple_of_a_team():
    with pytest.raises(
        TrainingError, match=r"devices\.tensor is 2, of which 1 processes are no multiple"
    ):
        open_processes(Devices(tensor=2))

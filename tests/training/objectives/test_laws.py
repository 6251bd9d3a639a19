"""What holds for all objectives: draws by row, sums of losses whatever the split, nothing special
asked, and no answer that depends on what it predicts.
"""

import pytest
import torch

from engine.training.objectives import Draws
from tests.training.objectives.rows import KINDS, SEPARATOR, build, row, some_rows

SEED = 3


def labels_of(batch):
    found = [batch.inputs[name] for name in ("labels", "shift_labels") if name in batch.inputs]
    assert len(found) == 1
    return found[0]


def total(model, batch):
    """The sum of losses, as a step of training adds them up."""
    return float(model(**batch.inputs).loss.detach()) * batch.targets


def parts(objective, rows, draws, sizes):
    """The rows as batches of these sizes."""
    start = 0
    whole = objective.batch(rows, draws)
    for size in sizes:
        stop = start + size
        if objective.whole:
            yield whole.cut(start, stop)
        else:
            yield objective.batch(rows[start:stop], draws)
        start = stop


@pytest.mark.parametrize("name", KINDS)
def test_losses_over_targets_are_the_same_however_rows_are_split(name):
    objective, model = build(name)
    model = model.double()
    rows, draws = some_rows(name), Draws(SEED, 5)
    whole = objective.batch(rows, draws)
    assert whole.targets == int((labels_of(whole) != -100).sum()) > 0
    for sizes in ((2, 2), (4,)):
        cut = list(parts(objective, rows, draws, sizes))
        assert sum(part.targets for part in cut) == whole.targets
        assert sum(total(model, part) for part in cut) == pytest.approx(
            total(model, whole), rel=1e-9
        )


@pytest.mark.parametrize("name", KINDS)
def test_the_same_seed_step_and_row_draw_the_same(name):
    objective, _ = build(name)
    rows = some_rows(name)
    first, again = (objective.batch(rows, Draws(SEED, 5)) for _ in range(2))
    for key, value in first.inputs.items():
        assert value is True or torch.equal(value, again.inputs[key])
    if name in ("causal", "recurrent"):
        return
    others = [objective.batch(rows, draws) for draws in (Draws(SEED, 6), Draws(SEED + 1, 5))]
    for other in others:
        assert not all(
            torch.equal(value, other.inputs[key])
            for key, value in first.inputs.items()
            if isinstance(value, torch.Tensor) and value.shape == other.inputs[key].shape
        )


@pytest.mark.parametrize("name", KINDS)
def test_evaluation_does_not_depend_on_which_rows_stand_together(name):
    objective, model = build(name)
    model = model.double()
    rows, draws = some_rows(name), Draws(SEED, 0)
    whole = total(model, objective.evaluation(rows, draws))
    halves = sum(total(model, objective.evaluation(half, draws)) for half in (rows[:2], rows[2:]))
    assert halves == pytest.approx(whole, rel=1e-9)


@pytest.mark.parametrize("name", [name for name in KINDS if name != "causal"])
def test_no_special_token_is_asked(name):
    objective, _ = build(name)
    for step in range(20):
        asked = labels_of(objective.batch(some_rows(name, seed=step), Draws(SEED, step)))
        assert not (asked == SEPARATOR).any() and not (asked == 3).any()


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("name", ["causal", "masked", "translation", "permutation"])
def test_the_side_of_padding_moves_no_label(name, side):
    objective, _ = build(name, side)
    rows = some_rows(name)
    batch = objective.batch(rows, Draws(SEED, 1))
    alone = [objective.batch([row], Draws(SEED, 1)) for row in rows]
    asked = [labels[labels != -100].tolist() for labels in labels_of(batch)]
    assert asked == [labels_of(one)[labels_of(one) != -100].tolist() for one in alone]


def test_a_stream_that_has_ended_stands_in_as_an_empty_row():
    for name in ("recurrent", "permuted streams"):
        objective, _ = build(name)
        rows = [row(20, 0, stream=True), row(0, 1, stream=True)]
        batch = objective.batch(rows, Draws(SEED, 1))
        assert (labels_of(batch)[1] == -100).all() and batch.targets > 0

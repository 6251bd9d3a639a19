"""Which rows a step takes follows from seed and step alone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import InputError
from engine.training.data.draws import Draws, draw
from engine.training.data.order import Order, mix_weights
from engine.training.data.rows import Rows
from engine.training.recipe.sections import Batch

BATCHES = st.one_of(
    st.integers(1, 9).map(lambda n: Batch(rows=n)),
    st.integers(1, 90).map(lambda n: Batch(tokens=n)),
)


class Ragged(Rows):
    """Rows of given lengths that are never read."""

    def __init__(self, lengths, languages=None):
        self.lengths = np.asarray(lengths)
        self.language_numbers = np.zeros(len(self.lengths), np.int64)
        if languages is not None:
            self.language_names = tuple(sorted(set(languages)))
            numbers = [self.language_names.index(name) for name in languages]
            self.language_numbers = np.array(numbers)

    def row(self, number, epoch):
        raise NotImplementedError


def epochs(order: Order, count: int):
    """The batches of the first epochs."""
    found, step = [[] for _ in range(count)], 0
    while True:
        epoch, rows = order.at(step)
        if epoch >= count:
            return found
        found[epoch].append(rows)
        step += 1


@given(st.lists(st.integers(1, 40), min_size=1, max_size=60), BATCHES, st.integers(0, 2**40))
def test_every_row_comes_once_an_epoch(lengths, batch, seed):
    order = Order(Ragged(lengths), batch, seed)
    for number, batches in enumerate(epochs(order, 3)):
        assert len(batches) == order.steps_per_epoch(number)
        assert sorted(row for rows in batches for row in rows) == list(range(len(lengths)))
        for rows in batches:
            padded = len(rows) * max(lengths[row] for row in rows)
            assert len(rows) == 1 or padded <= (batch.tokens or 10**9)
            assert len(rows) <= (batch.rows or 10**9)


@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=60),
    BATCHES,
    st.integers(0, 2**40),
    st.lists(st.integers(0, 200), min_size=1, max_size=5),
)
def test_any_step_can_be_the_first(lengths, batch, seed, steps):
    whole = Order(Ragged(lengths), batch, seed)
    run = [whole.at(step) for step in range(max(steps) + 1)]
    for step in steps:
        assert Order(Ragged(lengths), batch, seed).at(step) == run[step]


def test_epochs_and_seeds_differ():
    rows = Ragged([5] * 40)
    first, second = epochs(Order(rows, Batch(rows=8), 0), 2)
    assert first != second and first != epochs(Order(rows, Batch(rows=8), 1), 1)[0]


@pytest.mark.parametrize("batch", [Batch(rows=32), Batch(tokens=4096)])
def test_nine_in_ten_places_of_ragged_rows_are_real(batch):
    lengths = 1 + np.random.default_rng(0).exponential(40, 20_000).astype(int)
    order = Order(Ragged(lengths), batch, 0)
    padded = sum(len(rows) * lengths[rows].max() for rows in epochs(order, 1)[0])
    assert lengths.sum() / padded >= 0.9


def test_languages_are_drawn_by_their_power():
    languages = ["de"] * 9_000 + ["en"] * 900 + ["sw"] * 100
    rows = Ragged([5] * 10_000, languages)
    weights = mix_weights(rows, 0.5)
    expected = np.array([0.9, 0.09, 0.01]) ** 0.5
    expected = expected / expected.sum()
    assert np.allclose([weights[name] for name in ("de", "en", "sw")], expected)
    batches = [rows for each in epochs(Order(rows, Batch(rows=50), 3, weights), 4) for rows in each]
    drawn = np.array([row for rows in batches for row in rows])
    counts = np.bincount(rows.language_numbers[drawn], minlength=3)
    spread = np.sqrt(len(drawn) * expected * (1 - expected))
    assert (abs(counts - len(drawn) * expected) < 3 * spread).all()
    seen = np.bincount(drawn, minlength=10_000)[9_900:]
    assert seen.max() - seen.min() <= 4  # one more at most in each epoch


def test_a_multiple_leaves_out_a_few_rows_and_never_the_same():
    order = Order(Ragged([5] * 41), Batch(rows=8), 0, multiple=2)
    left = []
    for batches in epochs(order, 12):
        assert all(len(rows) % 2 == 0 for rows in batches)
        left += sorted(set(range(41)) - {row for rows in batches for row in rows})
    assert len(left) == 12 and len(set(left)) > 6


def test_what_does_not_fit_is_refused():
    with pytest.raises(InputError, match="rows or tokens"):
        Order(Ragged([5]), Batch(), 0)
    with pytest.raises(InputError, match="language of every text"):
        mix_weights(Ragged([5]), 0.7)
    with pytest.raises(InputError, match="no weight for 'en', did you mean 'eng'"):
        Order(Ragged([5, 5], ["de", "en"]), Batch(rows=1), 0, {"de": 0.5, "eng": 0.5})


def test_draws_depend_on_what_they_are_for():
    def value(generator):
        return int(generator.initial_seed())

    seen = {
        value(draw(seed, step, row)) for seed in (0, 1) for step in range(9) for row in range(9)
    }
    assert len(seen) == 2 * 9 * 9
    assert value(Draws(3, 4).row(5)) == value(draw(3, 4, 5)) not in seen
    assert value(Draws(3, 4).whole()) not in seen | {value(draw(3, 4, 5))}

"""Masked and translation language modelling: what is asked, and of which tokens."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from engine import InputError
from engine.training import causal_labels, frequency_weights, mask_tokens, reset_positions

VOCAB, MASK = 50, 4


@st.composite
def rows(draw):
    """Ids (b i) without the mask's, and which of them may be asked."""
    shape = draw(st.integers(1, 4)), draw(st.integers(1, 30))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    ids = torch.randint(5, VOCAB, shape, generator=generator)
    return ids, torch.rand(shape, generator=generator) < draw(st.floats(0, 1))


def ask(ids, maskable, seed=0, **options):
    generator = torch.Generator().manual_seed(seed)
    return mask_tokens(ids, maskable, mask_id=MASK, vocab=VOCAB, generator=generator, **options)


@given(rows(), st.floats(0.01, 1.0), st.integers(0, 2**31))
def test_only_maskable_tokens_are_asked_and_changed(drawn, probability, seed):
    ids, maskable = drawn
    corrupted, labels = ask(ids, maskable, seed, probability=probability)
    asked = labels != -100
    assert not (asked & ~maskable).any()
    assert torch.equal(labels[asked], ids[asked])
    assert torch.equal(corrupted[~asked], ids[~asked])
    expected = maskable.sum(1) * probability
    low, high = expected.floor().clamp(min=1), expected.ceil().clamp(min=1)
    some = maskable.any(1)
    assert (asked.sum(1)[some] >= low[some]).all() and (asked.sum(1)[some] <= high[some]).all()
    assert not asked[~some].any()


def test_eight_in_ten_are_hidden_one_is_drawn_and_one_stays():
    ids = torch.full((200, 100), 7)
    corrupted, labels = ask(ids, torch.ones_like(ids, dtype=torch.bool), probability=0.5)
    seen = corrupted[labels != -100]
    assert len(seen) == 10_000
    # Three standard deviations of a binomial share of 10,000.
    assert (seen == MASK).float().mean().item() == pytest.approx(0.8 + 0.1 / VOCAB, abs=0.012)
    assert (seen == 7).float().mean().item() == pytest.approx(0.1 + 0.1 / VOCAB, abs=0.009)
    assert len(seen.unique()) == VOCAB


def test_the_same_seed_asks_the_same_tokens():
    ids = torch.arange(5, 45).view(2, 20)
    every = torch.ones_like(ids, dtype=torch.bool)
    first, again, other = (ask(ids, every, seed) for seed in (1, 1, 2))
    assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1])
    assert not torch.equal(first[1], other[1])


def test_rare_tokens_are_asked_more_often():
    counts = torch.ones(VOCAB)
    counts[10] = 900
    weights = frequency_weights(counts)
    assert frequency_weights(counts * 0).sum() == 0
    assert weights[10].item() == pytest.approx(1 / 30)
    ids = torch.tensor([[10, 11] * 20]).repeat(50, 1)
    _, labels = ask(ids, torch.ones_like(ids, dtype=torch.bool), weights=weights, probability=0.25)
    assert (labels == 11).sum() > 10 * (labels == 10).sum()


@pytest.mark.parametrize("probability", [0.0, 1.5])
def test_a_probability_that_is_none_is_refused(probability):
    ids = torch.full((1, 3), 7)
    with pytest.raises(InputError, match="probability"):
        ask(ids, ids > 0, probability=probability)


def test_a_mask_of_another_shape_is_refused():
    with pytest.raises(InputError, match=r"maskable has shape \(1, 4\), expected \(1, 3\)"):
        ask(torch.full((1, 3), 7), torch.ones(1, 4, dtype=torch.bool))


@given(st.integers(1, 9), st.integers(0, 9), st.integers(0, 4))
def test_a_translation_counts_its_positions_anew(first, second, padding):
    kinds = torch.tensor([[0] * first + [1] * second + [0] * padding])
    positions = reset_positions(kinds)[0].tolist()
    assert positions[: first + second] == [*range(first), *range(second)]


def test_padding_is_not_asked_of_a_causal_network():
    ids = torch.tensor([[5, 6, 1]])
    assert causal_labels(ids, torch.tensor([[1, 1, 0]])).tolist() == [[5, 6, -100]]
    assert causal_labels(ids).tolist() == [[5, 6, 1]]

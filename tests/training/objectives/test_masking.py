"""Masked language modelling of rows and of batches, by XLM's rules and by whole words."""

import math

import numpy as np
import pytest
import torch

from engine import InputError
from engine.training.data.draws import Draws
from engine.training.objectives import frequency_weights
from engine.training.objectives.masked import Masking, choose, mask_rows, weights_for
from tests.training.objectives.rows import MASK, build, some_rows

VOCAB = 40


def drawn_in_turn(weights, count, times, seed):
    """How often each of the weighted is among `count` drawn one after the other without repeats."""
    chance, often = np.random.default_rng(seed), np.zeros(len(weights))
    for _ in range(times):
        chosen = chance.choice(len(weights), count, replace=False, p=weights / weights.sum())
        often[chosen] += 1
    return often / times


def test_a_batch_asks_by_frequency_as_one_draw_after_the_other_does():
    counts = torch.tensor([0, 0, 0, 0, 0, *range(1, 36)]) ** 2
    ids = torch.randint(0, VOCAB, (6, 20), generator=torch.Generator().manual_seed(0))
    weights = frequency_weights(counts)
    count, times = math.ceil(0.15 * ids.numel()), 2000
    expected = drawn_in_turn(weights[ids.flatten()].double().numpy(), count, times, seed=1)
    generator, often = torch.Generator().manual_seed(2), torch.zeros(1, ids.numel())
    every = torch.ones(1, ids.numel(), dtype=torch.bool)
    for _ in range(times):
        chosen = choose(
            ids.view(1, -1),
            every,
            torch.tensor([float(count)]),
            generator=generator,
            weights=weights,
        )
        assert int(chosen.sum()) == count
        often += chosen
    found = (often[0] / times).numpy()
    spread = np.sqrt(2 * expected * (1 - expected) / times) + 1e-9
    # A place in 370 lies outside three standard deviations by chance.
    assert (np.abs(found - expected) > 3 * spread).mean() < 0.03
    assert (found[weights[ids.flatten()].numpy() == 0] == 0).all()


def test_a_batch_asks_that_share_of_its_places_padding_among_them():
    objective, _ = build("over the batch")
    rows = some_rows("over the batch")
    for step in range(5):
        batch = objective.batch(rows, Draws(0, step))
        assert batch.targets == math.ceil(0.15 * batch.inputs["input_ids"].numel())
    # The parts hold what was drawn over all of them.
    halves = batch.cut(0, 2), batch.cut(2, 4)
    for name in ("input_ids", "labels", "attention_mask"):
        whole = torch.cat([half.inputs[name] for half in halves])
        assert torch.equal(whole, batch.inputs[name])


def test_fates_are_drawn_with_their_shares():
    masking = Masking(MASK, VOCAB, 0.5, fates=(0.5, 0.3, 0.2))
    ids = torch.full((200, 100), 7)
    every = torch.ones_like(ids, dtype=torch.bool)
    corrupted, labels = mask_rows(ids, every, masking, torch.Generator().manual_seed(0))
    seen = corrupted[labels != -100]
    assert len(seen) == 10_000
    assert (seen == MASK).float().mean().item() == pytest.approx(0.5 + 0.3 / VOCAB, abs=0.015)
    assert (seen == 7).float().mean().item() == pytest.approx(0.2 + 0.3 / VOCAB, abs=0.012)
    with pytest.raises(InputError, match="add up to 1"):
        Masking(MASK, VOCAB, fates=(0.8, 0.1, 0.2))


def test_whole_words_are_asked_or_left():
    generator = torch.Generator().manual_seed(0)
    masking, shares = Masking(MASK, VOCAB), []
    for _ in range(300):
        starts = torch.rand(1, 60, generator=generator) < 0.5
        special = torch.rand(1, 60, generator=generator) < 0.1
        ids = torch.randint(5, VOCAB, (1, 60), generator=generator)
        _, labels = mask_rows(ids, ~special, masking, generator, starts=starts)
        words = (starts.long().cumsum(1) - 1).clamp(min=0)[0]
        asked = labels[0] != -100
        for word in words.unique():
            inside = asked[(words == word) & ~special[0]]
            assert inside.all() or not inside.any()
        shares.append(float(asked.sum()) / float((~special).sum()))
    assert np.mean(shares) == pytest.approx(0.15, abs=0.01)


def test_frequencies_need_counts():
    assert weights_for(None, 0.0, 5) is None
    weights = weights_for(torch.tensor([0, 4]), 0.5, 4)
    assert weights.tolist() == [0.0, 0.5, 0.0, 0.0]
    with pytest.raises(InputError, match="how often"):
        weights_for(None, 0.5, 5)

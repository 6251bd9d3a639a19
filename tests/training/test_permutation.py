"""Permutation language modelling: any length, real tokens only, and no leak of a target to its own
query.
"""

from functools import cache

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from engine import InputError, build_model, load_spec
from engine.training import (
    Factorization,
    draw_factorization,
    permutation_mask,
    permutation_targets,
    show_visibility,
    target_mapping,
)


@st.composite
def orders(draw):
    """Which tokens are real (b i), a factorization order of them, and how many enter the memory."""
    shape = draw(st.integers(1, 3)), draw(st.integers(1, 24))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    real = torch.rand(shape, generator=generator) < draw(st.sampled_from([0.0, 0.7, 1.0]))
    reuse = draw(st.integers(0, shape[1]))
    context, longest = draw(st.integers(1, 7)), draw(st.integers(1, 6))
    return (
        real,
        draw_factorization(
            real, generator, context=context, longest_span=longest, spec=reusing(reuse)
        ),
        reuse,
    )


@cache
def reusing(reuse):
    """A spec whose memory takes the first `reuse` tokens of a segment, all of them for 0."""
    return load_spec("tiny/xlnet", overrides={"memory.reuse": reuse or None})


@given(orders())
def test_real_tokens_only_and_at_least_one(drawn):
    real, order, _ = drawn
    assert not (order.targets & ~real).any()
    assert torch.equal(order.targets.any(1), real.any(1))


@given(orders())
def test_nobody_predicted_sees_itself_or_a_later_one(drawn):
    _, order, _ = drawn
    hidden = permutation_mask(order).bool()
    for row in range(len(order.rank)):
        places = order.targets[row].nonzero().squeeze(1).tolist()
        by_rank = sorted(places, key=lambda place: order.rank[row, place])
        for index, place in enumerate(by_rank):
            assert hidden[row, place, by_rank[index:]].all()
            assert not hidden[row, place, by_rank[:index]].any()


@given(orders())
def test_context_never_sees_a_target_of_its_part_and_the_reused_part_never_what_follows(drawn):
    _, order, reuse = drawn
    hidden = permutation_mask(order).bool()
    assert hidden[:, :reuse, reuse:].all()
    for start, stop in ((0, reuse), (reuse, order.rank.shape[1])):
        context, targets = ~order.targets[:, start:stop], order.targets[:, start:stop]
        part = hidden[:, start:stop, start:stop]
        assert part[context[:, :, None] & targets[:, None, :]].all()
        assert not part[context[:, :, None] & context[:, None, :]].any()
        assert not part[targets[:, :, None] & context[:, None, :]].any()
    assert not hidden[:, reuse:, :reuse].any()


@given(orders())
def test_labels_are_the_tokens_that_are_asked(drawn):
    real, order, _ = drawn
    ids = torch.arange(real.numel()).view(real.shape) + 1
    asked = permutation_targets(ids, order)
    mapping, labels = asked["target_mapping"], asked["labels"]
    assert mapping.shape[:2] == labels.shape and labels.shape[1] == max(
        1, int(order.targets.sum(1).max())
    )
    for row in range(len(ids)):
        assert labels[row][labels[row] != -100].tolist() == ids[row][order.targets[row]].tolist()
    assert torch.equal(mapping.sum(-1) > 0, labels != -100)


@pytest.mark.parametrize("length", [1, 2, 7, 16, 23])
def test_a_prediction_does_not_depend_on_its_token_nor_on_later_ones(length):
    """The leak test: through the whole network, changing a target changes no answer up to and with
    its own.
    """
    model = build_model("tiny/xlnet", seed=1).eval()
    generator = torch.Generator().manual_seed(length)
    real = torch.ones(1, length, dtype=torch.bool)
    order = draw_factorization(real, generator, context=2)
    ids = torch.randint(10, 500, (1, length), generator=generator)
    asked = permutation_targets(ids, order)
    inputs = {name: asked[name] for name in ("perm_mask", "target_mapping")}
    before = model(ids, **inputs).logits[0]
    targets = order.targets[0].nonzero().squeeze(1)
    ranks = order.rank[0, targets]
    for target, rank in zip(targets.tolist(), ranks.tolist()):
        changed = ids.clone()
        changed[0, target] = 600
        after = model(changed, **inputs).logits[0]
        moved = (after - before).abs().amax(-1)
        assert (moved[ranks <= rank] == 0).all()
        assert (moved[ranks > rank] > 0).all()


def test_the_share_of_targets_follows_the_context():
    real = torch.ones(400, 60, dtype=torch.bool)
    order = draw_factorization(real, torch.Generator().manual_seed(0), context=6)
    assert order.targets.float().mean().item() == pytest.approx(1 / 7, rel=0.05)
    assert permutation_targets(torch.ones(400, 60, dtype=torch.long), order)["labels"].shape[1] < 30


def test_the_same_seed_draws_the_same_order():
    real = torch.ones(2, 40, dtype=torch.bool)
    first, again, other = (
        draw_factorization(real, torch.Generator().manual_seed(seed)) for seed in (3, 3, 4)
    )
    assert torch.equal(first.rank, again.rank) and torch.equal(first.targets, again.targets)
    assert not torch.equal(first.rank, other.rank)


def test_a_row_with_fewer_targets_asks_nobody_for_the_rest():
    mapping = target_mapping(torch.tensor([[True, False, True], [False, True, False]]))
    assert mapping.tolist() == [[[1, 0, 0], [0, 0, 1]], [[0, 1, 0], [0, 0, 0]]]


def test_who_sees_whom_is_drawn():
    order = Factorization(torch.tensor([[0, 2, 1]]), torch.tensor([[False, True, True]]))
    assert show_visibility(order) == "  x . .\n? x . x\n? x . ."


def test_no_context_at_all_is_refused():
    with pytest.raises(InputError, match="context"):
        draw_factorization(torch.ones(1, 3, dtype=torch.bool), torch.Generator(), context=0)

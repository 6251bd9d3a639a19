"""Spans of permutation language modelling: lengths as 1/n, at words, exactly so many, evenly."""

import numpy as np
import pytest
import torch

from engine import InputError
from engine.training.objectives import draw_factorization
from engine.training.objectives.factorization import Line, draw_order
from engine.training.objectives.spans import SpanDraw

TIMES = 3000


def spans_of(draw, starts, goal=None, seed=0):
    generator = torch.Generator().manual_seed(seed)
    for _ in range(TIMES):
        yield list(draw._spans(starts, generator, goal))


def test_lengths_are_drawn_as_one_over_n_and_spans_begin_at_words():
    starts = (torch.rand(256, generator=torch.Generator().manual_seed(1)) < 0.6).tolist()
    found = [span for spans in spans_of(SpanDraw(tail="even"), starts) for span in spans]
    assert all(starts[first] for first, _ in found)
    # The first span of a row fits whatever its length.
    lengths = [spans[0][1] - spans[0][0] for spans in spans_of(SpanDraw(), starts)]
    often = torch.bincount(torch.tensor(lengths), minlength=6)[1:]
    expected = torch.tensor([1 / n for n in range(1, 6)])
    expected = expected / expected.sum() * TIMES
    # Of four degrees of freedom one in ten thousand lies above.
    assert float(((often - expected) ** 2 / expected).sum()) < 23.5


@pytest.mark.parametrize("goal", [0, 1, 42, 255, 256, 300])
def test_exactly_so_many_are_predicted(goal):
    draw, generator = SpanDraw(), torch.Generator().manual_seed(0)
    for _ in range(20):
        assert int(draw.draw([True] * 256, generator, goal).sum()) == min(goal, 256)


def test_eighty_five_of_512_are_shared_between_what_is_reused_and_the_rest():
    plain = np.ones(512, bool)
    line, generator = Line(plain, plain), torch.Generator().manual_seed(0)
    order = draw_order(line, SpanDraw(), generator, reuse=256, predict=85)
    assert int(order.targets[:256].sum()) == 43 and int(order.targets[256:].sum()) == 42


def test_the_last_tokens_are_predicted_as_often_as_others():
    real = torch.ones(2500, 64, dtype=torch.bool)
    order = draw_factorization(real, torch.Generator().manual_seed(0))
    often = order.targets.float().mean(0)
    assert often[-16:].mean().item() == pytest.approx(often[16:48].mean().item(), rel=0.05)
    published, generator = SpanDraw(), torch.Generator().manual_seed(0)
    drawn = np.stack([published.draw([True] * 64, generator, 11) for _ in range(TIMES)])
    often = drawn.mean(0)
    assert often[-16:].mean() < often[16:48].mean()


def test_special_tokens_have_a_rank_and_are_not_asked():
    plain = np.ones(20, bool)
    plain[[9, 19]] = False
    line = Line(plain, plain, ordered=~plain)
    seen = set()
    for seed in range(20):
        order = draw_order(line, SpanDraw(), torch.Generator().manual_seed(seed), predict=5)
        assert not order.targets[~plain].any()
        ranked = order.rank[order.targets | ~plain]
        assert sorted(ranked.tolist()) == list(range(1, 8))
        seen.add(int(order.rank[9]))
    assert len(seen) > 3


def test_a_text_read_backwards_has_its_spans_at_its_words():
    starts = np.zeros(40, bool)
    starts[::4] = True
    line = Line(np.ones(40, bool), starts[::-1], backwards=True)
    for seed in range(50):
        order = draw_order(line, SpanDraw(tail="even"), torch.Generator().manual_seed(seed))
        forwards = order.targets[::-1]
        begun = forwards & ~np.concatenate([[False], forwards[:-1]])
        # A row that no span fits has one token of any place.
        assert starts[begun].all() or int(forwards.sum()) == 1


def test_spans_without_length_are_refused():
    with pytest.raises(InputError, match="at least 1"):
        SpanDraw(longest=0)

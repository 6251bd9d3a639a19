"""Dropout from cheap bits is dropout."""

import torch

from engine.kernels.dropout import Dropout, dropout


def test_rate_mean_and_seed() -> None:
    """Entries vanish at the rate, the mean stays, a seed repeats itself, and evaluation changes
    nothing.
    """
    states = torch.ones(200_003)
    for rate in (0.1, 0.5, 0.9):
        torch.manual_seed(0)
        dropped = dropout(states, rate)
        share = float((dropped == 0).float().mean())
        assert abs(share - rate) < 0.005
        assert abs(float(dropped.mean()) - 1) < 0.02
        torch.manual_seed(0)
        assert torch.equal(dropout(states, rate), dropped)
        assert not torch.equal(dropout(states, rate), dropped)
    assert torch.equal(Dropout(0.5).eval()(states), states)


def test_gradient_falls_where_the_entries_stay() -> None:
    """What is dropped gets no gradient, what stays the scale."""
    states = torch.randn(64, 33, requires_grad=True)
    dropped = dropout(states, 0.25)
    dropped.sum().backward()
    assert states.grad is not None
    assert torch.equal(states.grad == 0, dropped == 0)
    torch.testing.assert_close(dropped, states * states.grad)


def test_a_rate_next_to_one() -> None:
    kept = dropout(torch.ones(10_000), 1 - 1e-7)
    assert bool(kept.isfinite().all()) and int((kept != 0).sum()) <= 1

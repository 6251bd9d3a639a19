"""Every way to attend gives what the one plain definition gives."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from engine.kernels.attention import AdditiveMask, Softmax, additive, fused, plain, unfused

Way = Callable[[Tensor, Tensor, Tensor, Tensor | None, AdditiveMask | None, Softmax], Tensor]
SOFTMAX = Softmax(scale=0.37)
WAYS = [pytest.param(unfused, id="unfused"), pytest.param(fused, id="fused")]


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


@pytest.fixture
def parts() -> tuple[Tensor, Tensor, Tensor]:
    """Queries of four heads over keys and values of two, five rows and columns."""
    torch.manual_seed(0)
    return drawn(2, 4, 5, 8), drawn(2, 2, 5, 8), drawn(2, 2, 5, 8)


def same(way: Way, parts: tuple[Tensor, Tensor, Tensor], *given: object) -> Tensor:
    """What a way gives, once it has been found equal to the definition."""
    bias, mask, softmax = given
    expected = plain(*parts, bias, mask, softmax)[0]  # type: ignore[arg-type]
    copy = None if bias is None else bias.clone()  # type: ignore[attr-defined]
    found = way(*parts, copy, mask, softmax)  # type: ignore[arg-type]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    return found


@pytest.mark.parametrize("way", WAYS)
def test_a_row_that_sees_nothing_gives_zeros(
    way: Way, parts: tuple[Tensor, Tensor, Tensor]
) -> None:
    allowed = torch.rand(2, 1, 5, 5) > 0.4
    allowed[0, 0, 2], allowed[1, 0, 0] = False, False
    allowed[0, 0, 1, 1] = True
    for bias in (None, drawn(2, 4, 5, 5)):
        found = same(way, parts, bias, additive(allowed, torch.float64), SOFTMAX)
        assert bool((found[0, :, 2] == 0).all() and (found[1, :, 0] == 0).all())
        assert bool((found[0, :, 1] != 0).all())


@pytest.mark.parametrize("way", WAYS)
def test_triangles_and_factors_of_heads(way: Way, parts: tuple[Tensor, Tensor, Tensor]) -> None:
    """Heads without weight give zeros."""
    triangle = replace(SOFTMAX, causal=True, head_mask=torch.tensor([1.0, 0.0, 0.5, 2.0]).double())
    found = same(way, parts, None, None, triangle)
    assert bool((found[:, 1] == 0).all() and (found[:, 0] != 0).all())


def test_caps_and_sinks_are_made_of_scores(parts: tuple[Tensor, Tensor, Tensor]) -> None:
    allowed = additive(torch.ones(5, 5, dtype=torch.bool).tril()[None, None], torch.float64)
    strange = replace(SOFTMAX, softcap=0.5, sinks=drawn(4))
    weights = plain(*parts, None, allowed, strange)[1]
    assert bool((weights.sum(-1) < 1).all())
    same(unfused, parts, None, allowed, strange)

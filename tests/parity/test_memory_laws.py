"""Memory of the two recurrent families, with published weights and settings: in chunks = whole.

The laws over random specs stand in tests/properties; these hold what only these two have: query
streams over memory, an order of segments without a one-way mask, and published lengths of memory.
"""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from transformers import XLNetConfig, XLNetModel

from engine import Memory, Model
from engine.laws.calls import randomise
from tests.parity.both import in_dtype
from tests.parity.golden import golden
from tests.parity.helpers import assert_close_relative, converted
from tests.parity.test_transformer_xl import opened
from tests.parity.test_xlnet import SMALL, VOCABULARY
from tests.searching import examples

CUTS = st.lists(st.integers(1, 5), min_size=2, max_size=4)


def xlnet(seed: int, **config: object) -> Model:
    """A published XLNet in double precision."""
    theirs = randomise(XLNetModel(XLNetConfig(**{**SMALL, **config})), seed).double().eval()
    in_dtype(theirs, torch.float64)
    return converted(theirs, dtype=torch.float64)


def tokens(seed: int, length: int) -> Tensor:
    """Two rows of token ids."""
    return torch.randint(VOCABULARY, (2, length), generator=torch.Generator().manual_seed(seed))


def in_chunks(
    model: Model, ids: Tensor, lengths: list[int], memory: Memory | None = None
) -> Tensor:
    """Last states of chunks of these lengths, each after the ones before."""
    states = []
    for chunk in ids.split(lengths, dim=1):
        answer = model(chunk, memory=memory, use_memory=True)
        memory = answer.memory
        states.append(answer.last_hidden_state)
    return torch.cat(states, dim=1)


@examples(8)
@given(CUTS, st.integers(0, 999), st.sampled_from([None, 40]), st.sampled_from([-1, 3]))
def test_one_way_xlnet(lengths: list[int], seed: int, length: int | None, clamp: int) -> None:
    """Earlier tokens never see later ones, so that memory holds all that they were."""
    model = xlnet(seed, attn_type="uni", mem_len=length, clamp_len=clamp)
    ids = tokens(seed, sum(lengths))
    with torch.no_grad():
        assert_close_relative(
            in_chunks(model, ids, lengths), model(ids).last_hidden_state, "states"
        )


@examples(8)
@given(CUTS, st.integers(0, 999), st.booleans())
def test_segments_as_an_order(lengths: list[int], seed: int, both_ways: bool) -> None:
    """XLNet sees a segment both ways; a permutation mask that hides later segments makes the whole
    pass the same.
    """
    model = xlnet(seed, mem_len=None, attn_type="bi" if both_ways else "uni")
    total = sum(lengths)
    ids = tokens(seed, total)
    segment = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
    hidden = (segment[:, None] < segment).double().expand(2, -1, -1)
    with torch.no_grad():
        whole = model(ids, perm_mask=hidden).last_hidden_state
        assert_close_relative(in_chunks(model, ids, lengths), whole, "states")


@examples(8)
@given(st.integers(1, 5), st.integers(2, 5), st.integers(0, 999))
def test_predictions_over_memory(before: int, after: int, seed: int) -> None:
    """Query rows of a later segment see memory and its order as they do in one pass."""
    model = xlnet(seed, mem_len=None)
    total = before + after
    ids, order = (
        tokens(seed, total),
        torch.rand(2, after, generator=torch.Generator().manual_seed(seed)),
    )
    here = (order[:, :, None] <= order[:, None, :]).double()
    hidden = torch.zeros(2, total, total, dtype=torch.float64)
    hidden[:, :before, before:] = 1
    hidden[:, before:, before:] = here
    mapping = torch.eye(after, dtype=torch.float64).expand(2, -1, -1)
    wide = torch.cat((torch.zeros(2, after, before, dtype=torch.float64), mapping), dim=2)
    with torch.no_grad():
        memory = model(ids[:, :before], use_memory=True).memory
        chunk = model(ids[:, before:], perm_mask=here, target_mapping=mapping, memory=memory)
        whole = model(ids, perm_mask=hidden, target_mapping=wide)
    assert_close_relative(chunk.last_hidden_state, whole.last_hidden_state, "predictions")


@pytest.mark.parametrize("name", ["lm_as_published", "lm_div1_projected", "lm_segments_unequal"])
def test_transformer_xl_of_same_length(name: str, tmp_path: Path) -> None:
    """With same_length a token sees exactly as far back as memory reaches, so that any chunks are
    one pass.

    The zero states that published memory starts with are part of what the first tokens see.
    """
    model = opened(golden(name), tmp_path)
    assert "same_length" in model.spec.attention.mask
    ids = torch.randint(model.spec.dims.vocab, (2, 23), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        whole = model(ids).last_hidden_state
        for lengths in ([11, 12], [1] * 23, [2, 9, 1, 11], [22, 1]):
            assert_close_relative(in_chunks(model, ids, lengths), whole, f"chunks of {lengths}")


def test_transformer_xl_without_same_length_forgets(tmp_path: Path) -> None:
    """Elsewhere one pass sees farther than chunks do: equal as far as memory reaches, and not
    beyond.
    """
    model = opened(golden("lm_div1_three_layers"), tmp_path, memory__initial="empty")
    length = model.spec.memory.length
    assert length is not None
    ids = torch.randint(
        model.spec.dims.vocab, (2, 3 * length), generator=torch.Generator().manual_seed(0)
    )
    with torch.no_grad():
        chunks, whole = in_chunks(model, ids, [length] * 3), model(ids).last_hidden_state
    reached = 2 * length
    assert_close_relative(chunks[:, :reached], whole[:, :reached], "as far as memory reaches")
    with pytest.raises(AssertionError, match="off by"):
        assert_close_relative(chunks[:, reached:], whole[:, reached:])

"""From the states of a text to one vector: every kind, on either padding side."""

import pytest
import torch
from torch import nn

from engine import build_model
from engine.laws.calls import randomise
from heads.pooling import LearnedQuery
from tests.parity.helpers import assert_close_relative
from tests.strategies import built, family

TOKEN, PADDING = 3, 5  # of XLNet
REAL = torch.tensor(
    [[7, 8, 9, 4, TOKEN], [10, 11, 4, TOKEN, PADDING], [12, TOKEN, PADDING, PADDING, PADDING]]
)
LEFT = torch.tensor(
    [[7, 8, 9, 4, TOKEN], [PADDING, 10, 11, 4, TOKEN], [PADDING, PADDING, PADDING, 12, TOKEN]]
)


def pooled(kind, ids, mask=True, name="xlnet", **options):
    """The pooled vectors (b d) of a head, and the states below it."""
    model = built(family(name), "sequence_classification", pooling={"kind": kind, **options})
    seen = []
    model.head.pooling.register_forward_hook(lambda module, arguments, result: seen.append(result))
    states = model(ids, attention_mask=(ids != PADDING).long() if mask else None).last_hidden_state
    return seen[0], states


@pytest.mark.parametrize("mask", [True, False], ids=["mask", "padding ids"])
@pytest.mark.parametrize("ids", [REAL, LEFT], ids=["right", "left"])
def test_places(ids, mask):
    """Real tokens are those of the mask, or else those that are not the padding id."""
    rows = range(3)
    counts = (ids != PADDING).sum(1)
    first = (ids != PADDING).long().argmax(1)
    last = first + counts - 1
    for kind, padding, place in [
        ("last", "counted", torch.full((3,), 4)),
        ("first", "counted", torch.zeros(3, dtype=torch.long)),
        ("last", "left_out", last),
        ("first", "left_out", first),
        ("last", "from_first", torch.where(first == 0, last, 4)),
    ]:
        found, states = pooled(kind, ids, mask, padding=padding)
        assert torch.equal(found, states[rows, place]), (kind, padding)
    found, states = pooled("token", ids, mask)
    assert torch.equal(found, states[rows, (ids == TOKEN).long().argmax(1)])
    found, states = pooled("mean", ids, mask)
    assert_close_relative(found, states.sum(1) / 5, "mean of all")
    found, states = pooled("mean", ids, mask, padding="left_out")
    expected = [states[row, first[row] : last[row] + 1].mean(0) for row in rows]
    assert_close_relative(found, torch.stack(expected), "mean of real tokens")


@pytest.mark.parametrize(
    "options",
    [
        {"kind": "token"},
        {"kind": "token", "id": 4},
        {"kind": "last", "padding": "left_out"},
        {"kind": "first", "padding": "left_out"},
        {"kind": "mean", "padding": "left_out"},
        {"kind": "attn"},
    ],
    ids=str,
)
def test_the_padding_side_does_not_matter(options):
    right, left = (pooled(ids=ids[:2], **options)[0] for ids in (REAL, LEFT))
    assert_close_relative(right, left, "pooled", 1e-10)
    counted, other = (pooled("last", ids[:2])[0] for ids in (REAL, LEFT))
    assert not torch.allclose(counted[1], other[1])


def test_a_whole_row_of_padding_is_finite():
    ids = torch.full((2, 4), PADDING)
    for options in (
        {"kind": "mean", "padding": "left_out"},
        {"kind": "attn"},
        {"kind": "last", "padding": "left_out"},
    ):
        assert pooled(ids=ids, mask=False, **options)[0].isfinite().all(), options


def test_attention_pooling_is_attention():
    """torch's own multi-head attention with the learned query, then the norm; padding is left out."""
    spec = family("xlnet", **{"dims.head": None})
    pooling = LearnedQuery(spec)
    randomise(pooling)
    pooling.eval()
    reference = nn.MultiheadAttention(16, 4, bias=False, batch_first=True)
    with torch.no_grad():
        layers = (pooling.query, pooling.key, pooling.value)
        reference.in_proj_weight.copy_(torch.cat([layer.weight for layer in layers]))
        reference.out_proj.weight.copy_(pooling.output.weight)
    states = torch.randn(3, 6, 16, generator=torch.Generator().manual_seed(0))
    real = torch.arange(6) < torch.tensor([[6], [4], [1]])
    query = pooling.start.expand(3, 1, 16)
    for mask in (None, real):
        hidden = None if mask is None else ~mask
        expected, _ = reference(query, states, states, key_padding_mask=hidden)
        assert_close_relative(pooling(states, mask), pooling.norm(expected[:, 0]), "attn")


def test_defaults_of_specs_without_a_published_class():
    """Causal specs look at the last real token, the others at the first."""
    causal = build_model(family("xglm"), "sequence_classification", seed=0).head.pooling.options
    assert (causal.kind, causal.padding) == ("last", "left_out")
    options = {"heads.options.sequence_classification.pooling": None}
    both_ways = build_model(
        family("xlm", **options), "sequence_classification", seed=0
    ).head.pooling.options
    assert (both_ways.kind, both_ways.padding) == ("first", "left_out")


def test_index_given_by_the_call():
    model = built(family("xlnet"), "sequence_classification", pooling={"kind": "cls_index"})
    choice = built(family("xlnet"), "multiple_choice", pooling={"kind": "cls_index"})
    for index in (torch.tensor([2, 0, 4]), torch.tensor([[2], [0], [4]])):
        assert torch.equal(
            model(REAL, cls_index=index).logits, _logits(model, REAL, index.flatten())
        )
    given = choice(REAL[None], cls_index=torch.tensor([[2, 0, 4]])).logits
    assert_close_relative(
        given, _logits(choice, REAL, torch.tensor([2, 0, 4])).view(1, 3), "choices", 1e-12
    )
    last = torch.full((3,), 4)
    assert torch.equal(model(REAL).logits, _logits(model, REAL, last))


def _logits(model, ids, index):
    head = model.head
    states = model.body(_inputs(ids)).last_hidden_state[range(3), index]
    return head.output(torch.tanh(head.projection(states)))


def _inputs(ids):
    from engine.network.inputs import Inputs

    return Inputs(input_ids=ids)


def test_another_kind_replaces_the_family_s_pooling_whole():
    """Transformer-XL's `padding` belongs to places; a learned query knows none."""
    path = "heads.options.sequence_classification.pooling"
    spec = family("transformer-xl", **{path: {"kind": "attn"}})
    assert spec.heads.options["sequence_classification"]["pooling"] == {"kind": "attn"}
    same = family("transformer-xl", **{path: {"kind": "last"}})
    assert same.heads.options["sequence_classification"]["pooling"] == {
        "kind": "last",
        "padding": "from_first",
    }

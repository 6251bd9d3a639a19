"""XGLM against transformers: bare and causal language model, cache, cross-attention, padding."""

from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import XGLMConfig, XGLMForCausalLM, XGLMModel

from engine import InputError
from engine.laws.calls import randomise
from engine.memory import Memory
from tests.parity.both import agree, compare, labels_of, padded, tokens
from tests.parity.helpers import assert_close_relative, converted, drop_alike

VOCAB, LENGTH, LAYERS, HEADS, WIDTH = 53, 9, 3, 4, 24
KINDS = [XGLMModel, XGLMForCausalLM]


def pair(kind: Any = XGLMForCausalLM, seed: int = 0, **changes: Any) -> tuple[Any, Any]:
    settings = {
        "vocab_size": VOCAB, "d_model": WIDTH, "ffn_dim": 40, "num_layers": LAYERS, "attention_heads": HEADS,
        "max_position_embeddings": 40, "dropout": 0.0, "attention_dropout": 0.0,
    }  # fmt: skip
    theirs = randomise(kind(XGLMConfig(**{**settings, **changes})), seed)
    return theirs, converted(theirs)


def inputs_of(kind: Any, ids: Tensor, mask: Tensor | None = None) -> dict[str, Tensor]:
    """Ids with their mask, and labels where the class takes them."""
    inputs = {"input_ids": ids} if mask is None else {"input_ids": ids, "attention_mask": mask}
    return inputs if kind is XGLMModel else inputs | {"labels": labels_of(ids, mask)}


VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "relu": {"activation_function": "relu"},
    "silu": {"activation_function": "silu"},
    "unscaled": {"scale_embedding": False},
    "untied": {"tie_word_embeddings": False},
    # An id from 2 on would zero a row of the published sinusoids: position id - 2 then has none.
    "other padding id": {"pad_token_id": 0},
    "longer than the published table": {"max_position_embeddings": 4},
}


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("kind", KINDS)
def test_options(kind: Any, name: str) -> None:
    theirs, ours = pair(kind, **VARIANTS[name])
    agree(theirs, ours, inputs_of(kind, tokens(3, LENGTH, VOCAB)))


@pytest.mark.parametrize("kind", KINDS)
def test_padding_on_the_right(kind: Any) -> None:
    theirs, ours = pair(kind)
    agree(theirs, ours, inputs_of(kind, *padded(tokens(3, LENGTH, VOCAB), 1, [0, 2, 5], "right")))


@pytest.mark.parametrize("kind", KINDS)
def test_padding_on_the_left(kind: Any) -> None:
    """Positions are counted from the first real token, which published code needs to be told with
    position_ids.
    """
    theirs, ours = pair(kind)
    ids, mask = padded(tokens(3, LENGTH, VOCAB), 1, [0, 2, 5], "left")
    inputs = inputs_of(kind, ids, mask) | {"position_ids": (mask.cumsum(1) - 1).clamp(min=0)}
    agree(theirs, ours, inputs, changes={"position_ids": None}, real=mask)
    agree(theirs, ours, inputs, real=mask)


def test_padding_on_the_left_counts_columns_as_published() -> None:
    """Published code counts columns, so padding on the left moves every token: `count: columns`
    repeats that trap.
    """
    theirs, ours = pair()
    ids, mask = padded(tokens(3, LENGTH, VOCAB), 1, [0, 2, 5], "left")
    columns = converted(theirs, overrides={"position.count": "columns"})
    agree(theirs, columns, inputs_of(XGLMForCausalLM, ids, mask), real=mask)
    with torch.no_grad():
        alone = ours(ids[2:, 5:]).logits[0]
        right, moved = (model(ids, attention_mask=mask).logits[2, 5:] for model in (ours, columns))
    torch.testing.assert_close(right, alone, rtol=1e-5, atol=1e-5)
    assert float((moved - alone).abs().max()) > 1e-3


def test_position_ids() -> None:
    theirs, ours = pair()
    positions = torch.randint(0, 30, (2, LENGTH), generator=torch.Generator().manual_seed(5))
    agree(
        theirs,
        ours,
        inputs_of(XGLMForCausalLM, tokens(2, LENGTH, VOCAB)) | {"position_ids": positions},
    )


def test_inputs_embeds() -> None:
    """Given vectors are taken as they are: scaling belongs to the lookup."""
    theirs, ours = pair()
    mask = padded(tokens(3, LENGTH, VOCAB), 1, [0, 2, 4], "right")[1]
    vectors = torch.randn(3, LENGTH, WIDTH, generator=torch.Generator().manual_seed(1))
    agree(
        theirs,
        ours,
        {"inputs_embeds": vectors, "attention_mask": mask, "labels": tokens(3, LENGTH, VOCAB)},
    )


def head_masks() -> tuple[Tensor, Tensor]:
    """Two different masks (layers heads), each with heads silenced and heads kept."""
    generator = torch.Generator().manual_seed(2)
    first, second = torch.rand(2, LAYERS, HEADS, generator=generator).round()
    assert (
        0 < float(first.mean()) < 1
        and 0 < float(second.mean()) < 1
        and not torch.equal(first, second)
    )
    return first, second


def test_head_mask() -> None:
    theirs, ours = pair()
    agree(
        theirs,
        ours,
        inputs_of(XGLMForCausalLM, tokens(2, LENGTH, VOCAB)) | {"head_mask": head_masks()[0]},
    )


def encoder(rows: int = 3, length: int = 5) -> dict[str, Tensor]:
    """Encoder states and their mask."""
    mask = torch.ones(rows, length, dtype=torch.long)
    mask[1, 3:], mask[2, :2] = 0, 0
    states = torch.randn(rows, length, WIDTH, generator=torch.Generator().manual_seed(8))
    return {"encoder_hidden_states": states, "encoder_attention_mask": mask}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("masks", ["none", "own", "cross", "both"])
def test_cross_attention(kind: Any, masks: str) -> None:
    theirs, ours = pair(kind, add_cross_attention=True)
    own, cross = head_masks()
    chosen = {"own": {"head_mask": own}, "cross": {"cross_attn_head_mask": cross}, "none": {}}
    chosen["both"] = chosen["own"] | chosen["cross"]
    ids, mask = padded(tokens(3, LENGTH, VOCAB), 1, [0, 2, 4], "right")
    agree(theirs, ours, inputs_of(kind, ids, mask) | encoder() | chosen[masks])


def test_cross_attention_without_an_encoder_is_left_out() -> None:
    theirs, ours = pair(XGLMModel, add_cross_attention=True)
    with torch.no_grad():
        ids = tokens(3, LENGTH, VOCAB)
        compare(ours(ids), theirs.eval()(ids))
        found, published = (
            m(ids, encoder_hidden_states=encoder()["encoder_hidden_states"]) for m in (ours, theirs)
        )
        compare(found, published)


@pytest.mark.parametrize("sizes", [[1, 4, 3, 1], [3, 1, 1, 4]])
@pytest.mark.parametrize("cross", [False, True])
def test_memory_over_pieces(cross: bool, sizes: list[int]) -> None:
    """Every piece agrees with the published cache, and all together with one pass over the whole."""
    theirs, ours = pair(add_cross_attention=cross)
    ids = tokens(3, LENGTH, VOCAB)
    extra = encoder() if cross else {}
    past: Any = None
    memory: Memory | None = None
    parts = []
    with torch.no_grad():
        for piece in ids.split(sizes, dim=1):
            published = theirs.eval()(piece, past_key_values=past, output_attentions=True, **extra)
            found = ours(piece, memory=memory, output_attentions=True, **extra)
            past, memory = published.past_key_values, found.memory
            compare(found, published)
            stored = past.self_attention_cache if cross else past
            for layer, kept in zip(memory.layers, stored.layers, strict=True):
                assert_close_relative(
                    [layer.keys, layer.values], [kept.keys, kept.values], "memory"
                )
            parts.append(found.logits)
        assert_close_relative(torch.cat(parts, dim=1), theirs(ids, **extra).logits, "whole")


@pytest.mark.parametrize("how", ["whole mask", "new tokens' mask"])
def test_generation_steps_after_padding_on_the_left(how: str) -> None:
    """Prompts of unequal length, then token by token: each row goes on at its own position."""
    theirs, ours = pair()
    ids, mask = padded(tokens(3, LENGTH, VOCAB), 1, [0, 2, 4], "left")
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    past, memory, done = None, None, 0
    with torch.no_grad():
        for size in (6, 1, 1, 1):
            new, upto = slice(done, done + size), slice(0, done + size)
            published = theirs.eval()(
                ids[:, new],
                attention_mask=mask[:, upto],
                position_ids=positions[:, new].clone(),
                past_key_values=past,
            )
            given = mask[:, upto] if how == "whole mask" else mask[:, new]
            found = ours(ids[:, new], attention_mask=given, memory=memory)
            past, memory, done = published.past_key_values, found.memory, done + size
            compare(found, published, mask[:, new])


@pytest.mark.parametrize("drop", [0.0, 0.5, 0.9999])
def test_layer_drop(drop: float) -> None:
    """The same seed drops the same layers; nearly 1 drops all of them, and evaluation none."""
    theirs, ours = pair(layerdrop=drop)
    ids, seen = tokens(2, LENGTH, VOCAB), set()
    for seed in range(6):
        results = []
        for model in (theirs.train(), ours.train()):
            torch.manual_seed(seed)
            results.append(model(ids, labels=ids, output_attentions=True))
        published, found = results
        compare(found, published)
        seen.add(len(found.attentions or ()))
    assert seen == {0.0: {LAYERS}, 0.9999: {0}}.get(drop, seen) and (drop != 0.5 or len(seen) > 1)
    if drop:
        assert ours(ids).memory is None
        with pytest.raises(InputError, match=r"block\.layer_drop"):
            ours(ids, use_memory=True)
    compare(ours.eval()(ids, use_memory=True), theirs.eval()(ids))


@pytest.mark.parametrize("place", ["dropout", "attention_dropout", "activation_dropout", "all"])
def test_dropout_stands_where_it_is_published(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same seed drops the same numbers where the same places are visited in the same order."""
    drop_alike(monkeypatch)
    names = ["dropout", "attention_dropout", "activation_dropout"] if place == "all" else [place]
    # Published code draws a number a layer for layer drop, always; ours does where layers may be
    # dropped.
    dropouts: dict[str, Any] = dict.fromkeys(names, 0.4)
    theirs, ours = pair(XGLMModel, add_cross_attention=True, layerdrop=1e-9, **dropouts)
    inputs = {"input_ids": tokens(3, LENGTH, VOCAB), **encoder()}
    results = []
    for model in (theirs.train(), ours.train()):
        torch.manual_seed(1)
        results.append(model(**inputs, output_attentions=True))
    assert_close_relative(
        results[1].last_hidden_state, results[0].last_hidden_state, "states after dropout"
    )
    assert (
        float((ours.eval()(**inputs).last_hidden_state - results[1].last_hidden_state).abs().max())
        > 0.1
    )


@pytest.mark.parametrize("padding", [0, 1, 2, 3, 7])
@pytest.mark.parametrize("side", ["left", "right"])
def test_the_row_of_the_padding_id(padding: int, side: str) -> None:
    """Published code fills it with zeros, so that position `padding - 2` adds nothing."""
    theirs, ours = pair(pad_token_id=padding)
    ids, mask = padded(tokens(3, LENGTH, VOCAB).clamp(min=8), padding, [0, 2, 4], side)
    changes = {"position_ids": None}
    where = {"position_ids": (mask.cumsum(-1) - 1).clamp(min=0)} if side == "left" else {}
    agree(
        theirs,
        ours,
        {"input_ids": ids, "attention_mask": mask},
        changes=changes,
        real=mask > 0,
        their_only=where,
    )

"""XLM-RoBERTa-XL against transformers: bare with pooler, masked and causal language models, decoder
with cache.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    XLMRobertaXLConfig,
    XLMRobertaXLForCausalLM,
    XLMRobertaXLForMaskedLM,
    XLMRobertaXLModel,
)

from engine import save_model
from engine.laws.calls import randomise
from engine.memory import Memory
from tests.parity.both import Wide, agree, compare, labels_of, padded, tokens
from tests.parity.helpers import assert_close_relative, converted, drop_alike

VOCAB, LENGTH, LAYERS, HEADS, WIDTH = 53, 9, 3, 4, 24
KINDS = [XLMRobertaXLModel, XLMRobertaXLForMaskedLM, XLMRobertaXLForCausalLM]
RELATIVE = ["relative_key", "relative_key_query"]


def pair(kind: Any = XLMRobertaXLModel, seed: int = 0, **changes: Any) -> tuple[Any, Any]:
    settings = {
        "vocab_size": VOCAB, "hidden_size": WIDTH, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS,
        "intermediate_size": 40, "max_position_embeddings": 32, "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0, "layer_norm_eps": 1e-6,
    }  # fmt: skip
    theirs = randomise(kind(XLMRobertaXLConfig(**{**settings, **changes})), seed)
    return theirs, converted(theirs)


def decoder(kind: Any = XLMRobertaXLForCausalLM, **changes: Any) -> tuple[Any, Any]:
    return pair(kind, is_decoder=True, **changes)


def inputs_of(
    kind: Any, side: str = "right", counts: tuple[int, ...] = (0, 2, 4)
) -> dict[str, Tensor]:
    """Padded ids with their mask, and labels where the class takes them."""
    ids, mask = padded(tokens(len(counts), LENGTH, VOCAB), 1, list(counts), side)
    inputs = {"input_ids": ids, "attention_mask": mask}
    return inputs if kind is XLMRobertaXLModel else inputs | {"labels": labels_of(ids, mask)}


VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "relu": {"hidden_act": "relu"},
    "gelu_new": {"hidden_act": "gelu_new"},
    "silu": {"hidden_act": "silu"},
    "untied": {"tie_word_embeddings": False},
    "relative_key": {"position_embedding_type": "relative_key"},
    "relative_key_query": {"position_embedding_type": "relative_key_query"},
    "other padding id": {"pad_token_id": 3},
}


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("kind", KINDS)
def test_options(kind: Any, name: str) -> None:
    theirs, ours = pair(kind, **VARIANTS[name])
    inputs = {"input_ids": tokens(2, LENGTH, VOCAB)}
    agree(
        theirs,
        ours,
        inputs
        if kind is XLMRobertaXLModel
        else inputs | {"labels": labels_of(inputs["input_ids"])},
    )


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("kind", KINDS)
def test_padding(kind: Any, side: str) -> None:
    theirs, ours = pair(kind)
    agree(theirs, ours, inputs_of(kind, side))


@pytest.mark.parametrize("kind", RELATIVE)
def test_padding_with_distances(kind: str) -> None:
    theirs, ours = pair(XLMRobertaXLForMaskedLM, position_embedding_type=kind)
    agree(theirs, ours, inputs_of(XLMRobertaXLForMaskedLM, "left"))


def test_padding_ids_without_a_mask_are_seen_but_not_counted() -> None:
    theirs, ours = pair()
    ids = inputs_of(XLMRobertaXLModel)["input_ids"]
    ids[0, 3:5] = 1
    agree(theirs, ours, {"input_ids": ids})


@pytest.mark.parametrize("side", ["left", "right"])
def test_decoder_with_padding(side: str) -> None:
    theirs, ours = decoder()
    inputs = inputs_of(XLMRobertaXLForCausalLM, side)
    agree(theirs, ours, inputs, real=inputs["attention_mask"], their_only={"use_cache": False})


@pytest.mark.parametrize("kind", RELATIVE)
def test_decoder_with_distances(kind: str) -> None:
    """The published cache gives every query of a piece the distances of the last one
    (transformers#19045): none here.
    """
    theirs, ours = decoder(position_embedding_type=kind)
    inputs = {"input_ids": tokens(2, LENGTH, VOCAB)}
    agree(
        theirs,
        ours,
        inputs | {"labels": labels_of(inputs["input_ids"])},
        their_only={"use_cache": False},
    )
    with torch.no_grad():
        whole, memory, parts = theirs(**inputs, use_cache=False).logits, None, []
        for piece in inputs["input_ids"].split([4, 3, 2], dim=1):
            result = ours(piece, memory=memory)
            memory = result.memory
            parts.append(result.logits)
    assert_close_relative(torch.cat(parts, dim=1), whole, "logits in pieces")


def test_token_types_and_given_rows() -> None:
    """Given position_ids are rows of the table, as published; type 0 is the only one."""
    theirs, ours = pair(type_vocab_size=2)
    rows = torch.randint(0, 32, (2, LENGTH), generator=torch.Generator().manual_seed(3))
    rows[0, 0] = 1  # the padding id's own row, which learns nothing
    types = torch.randint(0, 2, (2, LENGTH), generator=torch.Generator().manual_seed(4))
    agree(
        theirs,
        ours,
        {"input_ids": tokens(2, LENGTH, VOCAB), "position_ids": rows, "token_type_ids": types},
    )
    theirs, ours = pair()
    agree(
        theirs,
        ours,
        {"input_ids": tokens(2, LENGTH, VOCAB), "token_type_ids": torch.zeros(2, LENGTH).long()},
    )


def test_inputs_embeds() -> None:
    """Nothing says which vectors are padding, so all are counted, as published."""
    theirs, ours = pair(XLMRobertaXLForMaskedLM)
    mask = inputs_of(XLMRobertaXLModel)["attention_mask"]
    vectors = torch.randn(3, LENGTH, WIDTH, generator=torch.Generator().manual_seed(1))
    agree(
        theirs,
        ours,
        {"inputs_embeds": vectors, "attention_mask": mask, "labels": tokens(3, LENGTH, VOCAB)},
    )


@pytest.mark.parametrize("shape", [(HEADS,), (LAYERS, HEADS)])
@pytest.mark.parametrize("kind", [XLMRobertaXLModel, XLMRobertaXLForCausalLM])
def test_head_mask(kind: Any, shape: tuple[int, ...]) -> None:
    theirs, ours = pair(kind, is_decoder=kind is XLMRobertaXLForCausalLM)
    mask = torch.rand(shape, generator=torch.Generator().manual_seed(2)).round()
    assert 0 < float(mask.mean()) < 1
    inputs = inputs_of(kind) | {"head_mask": mask}
    agree(
        theirs, ours, inputs, their_only={"use_cache": False} if theirs.config.is_decoder else None
    )


def test_mask_by_pairs() -> None:
    theirs, ours = pair()
    pairs = torch.rand(2, LENGTH, LENGTH, generator=torch.Generator().manual_seed(6)) < 0.6
    pairs |= torch.eye(LENGTH) > 0
    agree(theirs, ours, {"input_ids": tokens(2, LENGTH, VOCAB), "attention_mask": pairs.long()})


def encoder(rows: int = 3, length: int = 5) -> dict[str, Tensor]:
    """Encoder states and their mask."""
    mask = torch.ones(rows, length, dtype=torch.long)
    mask[1, 3:], mask[2, :2] = 0, 0
    states = torch.randn(rows, length, WIDTH, generator=torch.Generator().manual_seed(8))
    return {"encoder_hidden_states": states, "encoder_attention_mask": mask}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("with_mask", [False, True])
def test_cross_attention(kind: Any, with_mask: bool) -> None:
    theirs, ours = decoder(kind, add_cross_attention=True)
    inputs = inputs_of(kind) | encoder()
    if not with_mask:
        del inputs["encoder_attention_mask"]
    inputs["head_mask"] = torch.tensor(
        [1.0, 0.0, 1.0, 0.5]
    )  # the published mask silences heads of both attentions
    cache = {"use_cache": False} if kind is not XLMRobertaXLForMaskedLM else {}
    agree(theirs, ours, inputs, their_only=cache)


@pytest.mark.parametrize("sizes", [[1, 4, 3, 1], [3, 1, 1, 4]])
@pytest.mark.parametrize("cross", [False, True])
def test_memory_over_pieces(cross: bool, sizes: list[int]) -> None:
    """Every piece agrees with the published cache, and all together with one pass over the whole."""
    theirs, ours = decoder(add_cross_attention=cross)
    ids = tokens(3, LENGTH, VOCAB)
    extra = encoder() if cross else {}
    past: Any = None
    memory: Memory | None = None
    parts = []
    with torch.no_grad():
        for piece in ids.split(sizes, dim=1):
            published = theirs.eval()(
                piece, past_key_values=past, use_cache=True, output_attentions=True, **extra
            )
            found = ours(piece, memory=memory, output_attentions=True, **extra)
            past, memory = published.past_key_values, found.memory
            compare(found, published)
            for layer, remembered in enumerate(memory.layers):
                stored = past.self_attention_cache.layers[layer]
                assert_close_relative(
                    [remembered.keys, remembered.values], [stored.keys, stored.values], "memory"
                )
            parts.append(found.logits)
        assert_close_relative(
            torch.cat(parts, dim=1), theirs(ids, use_cache=False, **extra).logits, "whole"
        )


def test_memory_with_padding_on_the_left() -> None:
    """Positions of pieces go on from the real tokens; published code needs them given (it does so
    when it generates).
    """
    theirs, ours = decoder()
    ids, mask = padded(tokens(3, LENGTH, VOCAB), 1, [0, 2, 3], "left")
    rows = torch.where(mask > 0, mask.cumsum(1) + 1, 1)
    past, memory, done = None, None, 0
    with torch.no_grad():
        for size in (4, 3, 2):
            new, upto = slice(done, done + size), slice(0, done + size)
            published = theirs.eval()(
                ids[:, new],
                attention_mask=mask[:, upto],
                position_ids=rows[:, new],
                past_key_values=past,
                use_cache=True,
            )
            given = (
                mask[:, new] if done < 7 else mask[:, upto]
            )  # of the new tokens, or of all: both are understood
            found = ours(ids[:, new], attention_mask=given, memory=memory)
            past, memory, done = published.past_key_values, found.memory, done + size
            compare(found, published, mask[:, new])


def test_gradients_through_remembered_keys_and_values() -> None:
    theirs, ours = decoder()
    ids = tokens(2, LENGTH, VOCAB)
    found = {}
    names = {
        "past_key_values": "roberta.embeddings.word_embeddings.weight",
        "memory": "embeddings.tokens.tables.0",
    }
    for model, name, ask in (
        (theirs, "past_key_values", "use_cache"),
        (ours, "memory", "use_memory"),
    ):
        model.double().train()
        with Wide():
            first = model(ids[:, :4], **{ask: True})
            second = model(ids[:, 4:], **{name: first[name]})
            torch.autograd.backward(second.logits.pow(2).sum())
        found[name] = model.get_parameter(names[name]).grad
    assert_close_relative(found["memory"], found["past_key_values"], "gradient of the token table")


def test_a_checkpoint_without_a_pooler_loads_without_one() -> None:
    theirs = randomise(XLMRobertaXLModel(pair()[0].config, add_pooling_layer=False))
    with pytest.raises(AssertionError, match="initialised anew: pooler"):
        converted(theirs)


@pytest.mark.parametrize("place", ["hidden_dropout_prob", "attention_probs_dropout_prob", "all"])
def test_dropout_stands_where_it_is_published(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same seed drops the same numbers where the same places are visited in the same order."""
    drop_alike(monkeypatch)
    names = ["hidden_dropout_prob", "attention_probs_dropout_prob"] if place == "all" else [place]
    dropouts: dict[str, Any] = dict.fromkeys(names, 0.4)
    theirs, ours = pair(**dropouts)
    ids, results = tokens(3, LENGTH, VOCAB), []
    for model in (theirs.train(), ours.train()):
        torch.manual_seed(1)
        results.append(model(ids, output_attentions=True))
    assert_close_relative(
        results[1].last_hidden_state, results[0].last_hidden_state, "states after dropout"
    )
    assert (
        float((ours.eval()(ids).last_hidden_state - results[1].last_hidden_state).abs().max()) > 0.1
    )


@pytest.mark.parametrize("use_cache", [True, False])
def test_a_decoder_keeps_its_word_on_caching(use_cache: bool, tmp_path: Path) -> None:
    """`use_cache` decides whether a decoder returns memory unasked, and goes back into config.json."""
    _, ours = decoder(use_cache=use_cache)
    assert (ours(tokens(2, 4, VOCAB)).memory is not None) == use_cache
    save_model(ours, tmp_path, format="huggingface")
    assert XLMRobertaXLConfig.from_pretrained(tmp_path).use_cache == use_cache


def test_places_that_only_a_mask_hides() -> None:
    """Published positions count every id that is not padding, whatever the mask says:
    position.count ids.
    """
    theirs, _ = pair()
    ours = converted(theirs, overrides={"position.count": "ids"})
    ids = tokens(3, LENGTH, VOCAB)
    mask = torch.ones_like(ids)
    mask[1, :2], mask[2, :3] = 0, 0
    agree(theirs, ours, {"input_ids": ids, "attention_mask": mask}, real=mask > 0)

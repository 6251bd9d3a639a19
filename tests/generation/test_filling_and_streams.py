"""Hidden places are filled as the model says, and a stream is the whole text in constant memory."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from engine import InputError, Memory
from engine.laws.calls import answer
from engine.laws.compare import agree
from tests.generation.cases import BOTH_WAYS, ids, masked, network, unequal
from tests.strategies import built, family

HIDDEN = 5


@pytest.mark.parametrize("name", BOTH_WAYS)
def test_fill_mask_gives_the_best_tokens(name: str) -> None:
    model, texts = masked(name), ids()
    texts[0, 4] = texts[1, 2] = texts[1, 6] = HIDDEN
    for mask in (None, unequal()):
        found = model.fill_mask(texts, 3, mask_token_id=HIDDEN, attention_mask=mask)
        assert [(each.row, each.place) for each in found] == [(0, 4), (1, 2), (1, 6)]
        for each in found:
            row = texts[each.row : each.row + 1]
            kept = torch.ones_like(row[0]) if mask is None else mask[each.row]
            place = int(kept[: each.place].sum())
            expected = answer(model(row[:, kept > 0]))[0, place].softmax(-1).topk(3)
            assert each.tokens == expected.indices.tolist()
            agree(torch.tensor(each.probabilities, dtype=torch.float64), expected.values)


def test_xlnet_fills_places_through_its_query_stream() -> None:
    model, texts = network("xlnet"), ids(1, 7)
    texts[0, 2] = texts[0, 5] = HIDDEN
    hidden = torch.zeros(1, 7, 7)
    hidden[:, :, [2, 5]] = 1
    targets = torch.eye(7)[[2, 5]][None]
    expected = answer(model(texts, perm_mask=hidden, target_mapping=targets))[0].softmax(-1).topk(2)
    found = model.fill_mask(texts, 2, mask_token_id=HIDDEN)
    assert [each.tokens for each in found] == expected.indices.tolist()


@pytest.mark.parametrize("name", BOTH_WAYS)
def test_mask_predict_fills_every_place(name: str) -> None:
    model, texts, mask = masked(name), ids(), unequal()
    texts[0, 3:6] = texts[1, 1:6] = texts[2, 1] = HIDDEN
    at_once = model.mask_predict(texts, 1, mask_token_id=HIDDEN, attention_mask=mask)
    first = {
        (each.row, each.place): each.tokens
        for each in model.fill_mask(texts, 2, mask_token_id=HIDDEN, attention_mask=mask)
    }
    for (row, place), tokens in first.items():
        assert at_once[row, place] == next(token for token in tokens if token != HIDDEN)
    for rounds in (2, 4):
        filled = model.mask_predict(texts, rounds, mask_token_id=HIDDEN, attention_mask=mask)
        assert not bool((filled == HIDDEN).any())
        assert torch.equal(filled[texts != HIDDEN], texts[texts != HIDDEN])
    single = model.mask_predict(texts[1:2], 4, mask_token_id=HIDDEN)
    assert single.tolist() == filled[1:2].tolist()


def test_second_round_keeps_the_most_certain_and_asks_again_for_the_rest() -> None:
    model, texts = masked("xlm-roberta-xl"), ids(1, 7)
    texts[0, 1:5] = HIDDEN
    shares = answer(model(texts))[0, 1:5].softmax(-1)
    shares[:, HIDDEN] = 0
    certain, tokens = shares.max(-1)
    keep = certain.argsort(descending=True)[:2]
    texts_then = texts.clone()
    texts_then[0, 1 + keep] = tokens[keep]
    expected = texts_then.clone()
    again = answer(model(texts_then))[0].clone()
    again[:, HIDDEN] = -torch.inf
    open_places = (texts_then[0] == HIDDEN).nonzero().squeeze(1)
    expected[0, open_places] = again[open_places].argmax(-1)
    assert model.mask_predict(texts, 2, mask_token_id=HIDDEN).tolist() == expected.tolist()


def test_filling_says_what_is_wrong() -> None:
    with pytest.raises(InputError, match="no place to fill"):
        masked("xlm").fill_mask(ids(), mask_token_id=HIDDEN)
    with pytest.raises(InputError, match="top_n is 41, expected 1 … 40"):
        masked("xlm").fill_mask(ids(), 41, mask_token_id=HIDDEN)
    with pytest.raises(InputError, match=r"sees only earlier tokens.*generate"):
        network("xglm").fill_mask(ids(), mask_token_id=HIDDEN)
    with pytest.raises(InputError, match="rounds is 0"):
        masked("xlm").mask_predict(ids(), 0, mask_token_id=HIDDEN)


@pytest.mark.parametrize("size", [1, 4, 13, 50])
def test_stream_is_the_whole_pass(size: int) -> None:
    model, texts = network("transformer-xl"), ids(2, 13)
    heard: list[int] = []
    segments = list(model.stream(texts, size, predictions=True, on_progress=heard.append))
    whole = model(texts, output_hidden_states=True)
    found = [segment.logits for segment in segments if segment.logits is not None]
    agree(torch.cat(found, dim=1), whole.logits)
    assert heard[-1] == 13 and [segment.start for segment in segments] == [0, *heard[:-1]]
    states = torch.cat([segment.last_hidden_state for segment in segments], dim=1)
    agree(states, whole.hidden_states[-1])


def test_stream_reads_a_source_as_it_goes_and_can_go_on_tomorrow(tmp_path: Path) -> None:
    model, texts = network("transformer-xl"), ids(1, 40)
    whole = [segment.last_hidden_state for segment in model.stream(texts, 5)]
    taken: list[int] = []

    def source() -> Iterator[int]:
        for token in texts[0].tolist():
            taken.append(token)
            yield token

    stream = model.stream(source(), 5)
    parts = [next(stream) for _ in range(4)]
    assert len(taken) == 20, "the source is read no further than needed"
    parts[-1].memory.save(tmp_path / "memory.safetensors")
    rest = model.stream(texts[:, 20:], 5, memory=Memory.load(tmp_path / "memory.safetensors"))
    agree([segment.last_hidden_state for segment in [*parts, *rest]], whole)
    assert {segment.memory.length for segment in model.stream(texts, 5)} == {24}


def test_streams_stay_in_constant_memory() -> None:
    xlnet = network("xlnet")
    with pytest.raises(InputError, match="give memory_length"):
        xlnet.stream(ids())
    lengths = [segment.memory.length for segment in xlnet.stream(ids(1, 30), 4, memory_length=6)]
    assert lengths == [4, *[6] * 7]
    with pytest.raises(InputError, match=r"needs memory\.kind recurrent"):
        network("xglm").stream(ids())
    with pytest.raises(InputError, match="segment is 0"):
        network("transformer-xl").stream(ids(), 0)
    with pytest.raises(InputError, match="language-model head"):
        built(family("transformer-xl"), head=None).stream(ids(), predictions=True)

"""Decoding is exact: cached = uncached, batch = single, two streams = the full pass with their
order.
"""

from typing import Any

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor

from engine import Model, Output, Spec
from engine.generation.decoding.prompts import GivenPrompts, groups, read_prompts
from engine.generation.decoding.state import DecodingState
from engine.generation.generate import Generation
from engine.generation.options import Decoding
from engine.laws.calls import inputs_for
from engine.laws.compare import agree
from engine.network.inputs import Inputs
from engine.spec import axes
from tests.generation.cases import CONTINUED, alone, ids, network, unequal
from tests.searching import examples
from tests.strategies import built, family, valid_specs

NEVER: dict[str, Any] = {"eos_token_id": ()}
LENGTH = 9
ONE_STREAM = [name for name in CONTINUED if name != "xlnet"]


def continuable(spec: Spec) -> bool:
    """Whether cached and uncached decoding are the same by the spec: memory reaches back, positions
    stay.
    """
    memory, position = spec.memory, spec.position
    if position.kind == "from_end" or (position.kind == "relative" and position.reversed_half):
        return False
    if not isinstance(memory, axes.Recurrent):
        return True
    same_length = "same_length" in spec.attention.mask
    if same_length and (spec.attention.same_length == "remembered" or spec.two_streams):
        return False
    if spec.two_streams:
        return memory.initial == "empty"
    before = memory.length or 0 if memory.initial == "zeros" else 0
    spans = [spec.attention.window, memory.length if same_length else None, before + LENGTH]
    return (
        memory.length is None
        or memory.length >= min(span for span in spans if span is not None) - 1
    )


def stepwise(model: Model, tokens: Tensor, prompt: int, decoding: Decoding, **given: Any) -> Tensor:
    """The states (b p d) that predict each token after the prompt, and one more."""
    prompts = read_prompts(model, GivenPrompts(tokens[:, :prompt], **given))
    state = DecodingState(model, prompts, decoding)
    assert state.cached == (decoding == "cached")
    with torch.no_grad():
        states = [state.append(tokens[:, :prompt])]
        states += [
            state.append(tokens[:, place : place + 1]) for place in range(prompt, tokens.shape[1])
        ]
    return torch.stack(states, dim=1)


def in_one_pass(model: Model, tokens: Tensor, prompt: int, langs: Tensor | None) -> Tensor:
    """The same states under two streams: the prompt sees itself both ways, a new token all tokens
    before it.
    """
    batch, length = tokens.shape
    place = torch.arange(length)
    sees = torch.where(place[:, None] < prompt, place < prompt, place < place[:, None])
    targets = torch.eye(length)[prompt:].expand(batch, -1, -1)
    with torch.no_grad():
        out = model(
            tokens,
            perm_mask=(~sees).double().expand(batch, -1, -1),
            target_mapping=targets,
            langs=None if langs is None else langs[:, None].expand(-1, length),
        )
    states = out.last_hidden_state
    assert states is not None
    return states


@examples(30)
@given(
    valid_specs(causal=True, streams="one", quirks=False).filter(continuable),
    st.integers(0, 999),
    st.integers(1, 5),
)
def test_cached_is_uncached(spec: Spec, seed: int, prompt: int) -> None:
    assume(spec.memory.kind != "none")
    model = built(spec, head=None, seed=seed)
    given = inputs_for(spec, batch=2, length=LENGTH, seed=seed)
    others = {"encoder_states": given.get("encoder_hidden_states")}
    if "langs" in given:
        others["langs"] = given["langs"][:, 0]
    cached, recomputed = (
        stepwise(model, given["input_ids"], prompt, decoding, **others)
        for decoding in ("cached", "recompute")
    )
    agree(cached, recomputed)


@examples(20)
@given(
    valid_specs(streams="two", quirks=False).filter(continuable),
    st.integers(0, 999),
    st.integers(1, 5),
)
def test_two_streams_are_the_full_pass(spec: Spec, seed: int, prompt: int) -> None:
    """One content row and one query row a step give what perm_mask and target_mapping give in one
    pass.
    """
    model = built(spec, head=None, seed=seed)
    given = inputs_for(spec, batch=2, length=8, seed=seed)
    langs = given["langs"][:, 0] if "langs" in given else None
    assume(spec.memory.kind != "none")
    states = stepwise(model, given["input_ids"], prompt, "cached", langs=langs)
    agree(states[:, :-1], in_one_pass(model, given["input_ids"], prompt, langs))


@pytest.mark.parametrize("name", CONTINUED)
@pytest.mark.parametrize("settings", [{}, {"num_beams": 3}], ids=["greedy", "beams"])
def test_a_row_alone_is_that_row_in_a_batch(name: str, settings: dict[str, Any]) -> None:
    model, texts, mask = network(name), ids(), unequal()
    together = model.generate(texts, attention_mask=mask, max_new_tokens=8, **NEVER, **settings)
    assert isinstance(together, Tensor)
    for row, single in zip(together, alone(texts, mask), strict=True):
        by_itself = model.generate(single, max_new_tokens=8, **NEVER, **settings)
        assert row[-8:].tolist() == by_itself[0, -8:].tolist()


@examples(20)
@given(valid_specs(quirks=False), st.integers(0, 999))
def test_company_changes_nothing_for_random_specs(spec: Spec, seed: int) -> None:
    """Groups that share padding give each row the states that it has alone."""
    assume("causal" in spec.attention.mask or spec.two_streams)
    assume(not (isinstance(spec.position, axes.RelativePosition) and spec.position.reversed_half))
    assume(not spec.attention.cross)
    model, texts, mask = built(spec, head=None, seed=seed), ids(seed=seed).remainder(16), unequal()
    padding = spec.embeddings.tables.tokens.padding
    texts = torch.where(texts == (-1 if padding is None else padding), 2, texts)
    with torch.no_grad():
        for rows, prompts in groups(model, read_prompts(model, GivenPrompts(texts, mask))):
            state = DecodingState(model, prompts)
            states = [state.append(prompts.tokens), state.append(texts[rows, :1])]
            for place, row in enumerate(rows.tolist()):
                text = texts[row][mask[row] > 0][None]
                single = DecodingState(model, read_prompts(model, GivenPrompts(text)))
                agree(states[0][place], single.append(single.prompts.tokens)[0])
                agree(states[1][place], single.append(texts[row : row + 1, :1])[0])


@pytest.mark.parametrize("name", ONE_STREAM)
def test_beams_with_reordered_memory_are_recomputed(name: str) -> None:
    model = network(name, 3)
    sides = [
        model.generate(
            ids(),
            max_new_tokens=8,
            num_beams=4,
            num_return_sequences=4,
            decoding=decoding,
            return_dict_in_generate=True,
        )
        for decoding in ("cached", "recompute")
    ]
    first, second = sides
    assert isinstance(first, Generation) and isinstance(second, Generation)
    assert first.sequences.tolist() == second.sequences.tolist()
    agree(first.scores, second.scores)
    assert len({tuple(text) for text in first.new_tokens[:4]}) == 4


@pytest.mark.parametrize("name", CONTINUED)
def test_finished_rows_leave_and_change_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in range(5, 30):
        model = network(name, seed)
        plain = model.generate(ids(4, 5), max_new_tokens=9, **NEVER)
        rows = plain[:, 5:8].tolist()
        ends = [token for row in rows for token in row if not all(token in other for other in rows)]
        if ends:  # what some rows meet and some do not
            break
    end = ends[0]
    ended = model.generate(ids(4, 5), max_new_tokens=9, eos_token_id=end, pad_token_id=0)
    for row, full in zip(ended.tolist(), plain.tolist(), strict=True):
        new = full[5:]
        stop = new.index(end) + 1 if end in new else len(new)
        assert row == [*full[:5], *new[:stop], *[0] * (len(row) - 5 - stop)]
    widths: list[int] = []
    body = model.body

    def measured(inputs: Inputs) -> Output:
        widths.append(inputs.shape[0])
        return body(inputs)

    monkeypatch.setattr(model, "body", measured)
    model.generate(ids(4, 5), max_new_tokens=9, eos_token_id=end)
    assert widths[0] == 4 and widths[-1] < 4


@pytest.mark.parametrize("name", ONE_STREAM)
def test_memory_before_the_prompt_is_the_text_before_it(name: str) -> None:
    """A stream goes on: memory of the first half and the second half as prompt, as if all had been
    the prompt. (XLNet's halves would have to see each other both ways.)
    """
    model, texts = network(name), ids(2, 8)
    with torch.no_grad():
        memory = model(texts[:, :5], use_memory=True).memory
    parts = model.generate(texts[:, 5:], memory=memory, max_new_tokens=6, **NEVER)
    whole = model.generate(texts, max_new_tokens=6, **NEVER)
    assert parts[:, 3:].tolist() == whole[:, 8:].tolist()


def test_languages_and_encoder_are_by_row() -> None:
    model = network("xlm", **{"embeddings.tables.languages.count": 3})
    mixed = model.generate(ids(), langs=torch.tensor([0, 2, 1]), max_new_tokens=6, **NEVER)
    for row, lang in enumerate((0, 2, 1)):
        single = model.generate(
            ids()[row : row + 1], langs=torch.tensor([lang]), max_new_tokens=6, **NEVER
        )
        assert mixed[row].tolist() == single[0].tolist()
    assert (
        mixed.tolist()
        != model.generate(ids(), langs=torch.tensor([1, 1, 1]), max_new_tokens=6, **NEVER).tolist()
    )
    decoder = network("xglm", **{"attention.cross": True})
    states = torch.randn(3, 4, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    seen = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 1, 1, 0]])
    given: dict[str, Any] = {"encoder_hidden_states": states, "encoder_attention_mask": seen}
    for beams in (1, 2):
        settings = {"max_new_tokens": 6, "num_beams": beams, **NEVER}
        together = decoder.generate(ids(), **given, **settings)
        again = decoder.generate(ids(), **given, decoding="recompute", **settings)
        assert together.tolist() == again.tolist()
        alone_states = states[1:2, :2]
        single = decoder.generate(ids()[1:2], encoder_hidden_states=alone_states, **settings)
        assert together[1].tolist() == single[0].tolist()


def test_places_from_the_end_remember_the_whole_prompt() -> None:
    """Also where training keeps a part of each segment."""
    plain = {
        key: value
        for key, value in family("transformer-xl").to_dict().items()
        if key != "checkpoint"
    }
    settings = {
        "position": {"kind": "from_end", "table": "sinusoid"},
        "attention": {"score": ["content"], "mask": ["causal"]},
    }
    text, found = ids(2, 12), []
    for reuse in (None, 2):
        memory = {"kind": "recurrent", "length": 24, "initial": "empty", "reuse": reuse}
        model = built(Spec.model_validate({**plain, **settings, "memory": memory}))
        state = DecodingState(model, read_prompts(model, GivenPrompts(text[:, :8])))
        with torch.no_grad():
            found.append([state.append(part) for part in text.split([8, 1, 1, 2], dim=1)])
        assert state.memory is not None and state.memory.length == 12
    agree(found[1], found[0])

"""What people ask of generate and score in transformers' words, and what they expect to find."""

from typing import Any

import pytest
import torch
from torch import Tensor

from engine import InputError, Model
from engine.generation.guards import TextMethod
from engine.laws.compare import agree
from engine.network.inputs.names import ELSEWHERE
from tests.generation.cases import BOTH_WAYS, CONTINUED, ids, masked, network, unequal
from tests.strategies import built, family

FULL: dict[str, Any] = {"max_new_tokens": 6, "eos_token_id": ()}


def whole(model: Model, texts: Tensor | None = None, **call: Any) -> Any:
    return model.generate(texts, return_dict_in_generate=True, **{**FULL, **call})


def call_method(model: Model, method: TextMethod, texts: Tensor) -> Any:
    if method in ("fill_mask", "mask_predict"):
        return getattr(model, method)(texts, mask_token_id=int(texts[0, 0]))
    if method == "stream":
        return list(model.stream(texts, 3, memory_length=8))
    return getattr(model, method)(texts)


@pytest.mark.parametrize("method", ["generate", "fill_mask", "mask_predict", "score", "stream"])
def test_mirrored_halves_are_refused_by_every_text_method(method: TextMethod) -> None:
    model = built(family("xlnet", **{"position.reversed_half": True}))
    with pytest.raises(
        InputError, match=rf"position.reversed_half mirrors half .* for {method}\(\)"
    ):
        call_method(model, method, ids(2))


def test_lengths_that_count_the_prompt() -> None:
    model = network("xglm")
    plain = model.generate(ids(), **FULL)
    assert torch.equal(model.generate(ids(), max_length=10, eos_token_id=()), plain[:, :10])
    late: dict[str, Any] = {"eos_token_id": int(plain[0, 7]), "pad_token_id": 0}
    by_whole = model.generate(ids(), max_length=13, min_length=11, **late)
    by_new = model.generate(ids(), max_new_tokens=6, min_new_tokens=4, **late)
    assert torch.equal(by_whole, by_new)
    cases: list[tuple[dict[str, Any], str]] = [
        ({"max_length": 7}, "max_length 7 counts the prompts, which are 7 wide"),
        ({"max_length": 9, "max_new_tokens": 2}, "max_length and max_new_tokens say the same"),
        ({"max_length": 9, "min_length": 12}, "at least 5 new tokens are asked for, and at most 2"),
    ]
    for settings, message in cases:
        with pytest.raises(InputError, match=message):
            model.generate(ids(), **settings)


def test_words_that_mean_the_same() -> None:
    model = network("xglm")
    drawn = {"do_sample": True, "seed": 3, **FULL}
    plain = model.generate(ids(), **FULL)
    assert torch.equal(model.generate(ids(), top_k=0, **drawn), model.generate(ids(), **drawn))
    assert torch.equal(model.generate(ids(), temperature=None, top_p=None, **FULL), plain)
    first = int(plain[0, 7])
    assert first not in model.generate(ids(), suppress_tokens=[first], **FULL)[:, 7:]
    assert first not in model.generate(ids(), begin_suppress_tokens=[first], **FULL)[:, 7]
    assert first not in model.generate(ids(), bad_words_ids=[[first]], **FULL)[:, 7:]
    several = model.generate(ids(), max_new_tokens=6, eos_token_id=[first, 39], pad_token_id=0)
    assert several[0, 7:].tolist() == [first, *[0] * (several.shape[1] - 8)]
    with pytest.raises(InputError, match="suppress_tokens holds 40, outside 0 … 39"):
        model.generate(ids(), suppress_tokens=[40])


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("past_key_values", "memory="), ("mems", "memory="), ("use_cache", "decoding="), ("inputs", "input_ids"),
        ("generation_config", "options=GenerationOptions"), ("streamer", "on_tokens="), ("stopping_criteria", "stop_strings"),
        ("num_beam_groups", "beams are of one group"), ("output_logits", "output_scores"), ("lang", "langs="),
    ],
)  # fmt: skip
def test_generation_says_what_it_is_called_here(name: str, answer: str) -> None:
    with pytest.raises(InputError, match=f"generation takes no '{name}': .*{answer}"):
        given: dict[str, Any] = {name: 1}
        network("xglm").generate(ids(), **given)


@pytest.mark.parametrize("head", ["default", None])
def test_forward_says_what_it_is_called_here(head: str | None) -> None:
    model = built(family("xglm"), head)
    for name, answer in ELSEWHERE.items():
        with pytest.raises(InputError, match=f"a call takes no '{name}'") as raised:
            model(ids(), **{name: False})
        assert str(raised.value).endswith(answer)
    plain = model(ids()).last_hidden_state
    assert torch.equal(
        model(ids(), return_dict=True, past_key_values=None, use_cache=None).last_hidden_state,
        plain,
    )


@pytest.mark.parametrize("decoding", ["cached", "recompute", "overlap"])
@pytest.mark.parametrize("name", CONTINUED)
def test_prompts_as_vectors(name: str, decoding: str) -> None:
    if decoding == "overlap" and name != "xlnet":
        pytest.skip("two streams only")
    model, mask = network(name), unequal()
    vectors = model.embeddings.embed(ids())
    settings: dict[str, Any]
    for settings in ({}, {"num_beams": 2}, {"repetition_penalty": 1.3}):
        call: dict[str, Any] = {"attention_mask": mask, "decoding": decoding, **settings}
        expected = whole(model, ids(), **call)
        both = whole(model, ids(), inputs_embeds=vectors, **call)
        assert torch.equal(both.sequences, expected.sequences)
        if "repetition_penalty" not in settings:
            assert torch.equal(
                whole(model, inputs_embeds=vectors, **call).sequences, expected.sequences[:, 7:]
            )
    assert whole(
        model,
        inputs_embeds=vectors,
        attention_mask=mask,
        repetition_penalty=1.3,
        no_repeat_ngram_size=2,
    )


@pytest.mark.parametrize("name", [*CONTINUED, *(f"{name} both ways" for name in BOTH_WAYS)])
def test_scores_of_vectors(name: str) -> None:
    family_name, _, both_ways = name.partition(" ")
    model = masked(family_name) if both_ways else network(family_name)
    call: dict[str, Any] = {"attention_mask": unequal()}
    if both_ways:
        call["mask_token_id"] = 3
    expected = model.score(ids(), **call)
    agree(
        model.score(ids(), inputs_embeds=model.embeddings.embed(ids()), **call).log_probs,
        expected.log_probs,
    )
    with pytest.raises(InputError, match="inputs_embeds has shape"):
        model.score(ids(), inputs_embeds=torch.zeros(3, 6, 16), **call)


@pytest.mark.parametrize("settings", [{}, {"num_beams": 2}, {"do_sample": True, "seed": 1}])
def test_own_logits_processors(settings: dict[str, Any]) -> None:
    model, heard = network("xglm"), []

    def even(texts: Tensor, scores: Tensor) -> Tensor:
        heard.append(tuple(texts.shape))
        return scores.masked_fill(torch.arange(scores.shape[1]) % 2 == 1, -torch.inf)

    found = model.generate(ids(), logits_processor=[even], **settings, **FULL)
    assert not bool((found[:, 7:] % 2).any())
    assert heard[0] == (3, 7) and heard[-1][1] == 12
    with pytest.raises(
        InputError, match=r"logits_processor\[0\] gave \(3, 1\), expected scores of shape \(3, 40\)"
    ):
        model.generate(ids(), logits_processor=[lambda texts, scores: scores[:, :1]])


def test_processors_of_transformers_are_taken() -> None:
    from transformers import LogitsProcessorList, RepetitionPenaltyLogitsProcessor

    model = network("xglm")
    theirs = LogitsProcessorList([RepetitionPenaltyLogitsProcessor(1.3)])
    found = model.generate(ids(), logits_processor=theirs, **FULL)
    assert torch.equal(found, model.generate(ids(), repetition_penalty=1.3, **FULL))


@pytest.mark.parametrize("settings", [{}, {"num_beams": 2}, {"do_sample": True, "seed": 1}])
def test_allowed_prefixes_hear_of_their_own_prompt(settings: dict[str, Any]) -> None:
    model, mask, lengths = network("xglm"), unequal(), {0: set(), 1: set(), 2: set()}

    def allowed(prompt: int, text: Tensor) -> list[int]:
        lengths[prompt].add(len(text))
        return [10 * (prompt + 1) + len(text) % 3, 10 * (prompt + 1)]

    found = model.generate(
        ids(), attention_mask=mask, prefix_allowed_tokens_fn=allowed, **settings, **FULL
    )
    assert (found[:, 7:] // 10 == torch.tensor([[1], [2], [3]])).all()
    assert [min(lengths[prompt]) for prompt in range(3)] == mask.sum(1).tolist()
    with pytest.raises(InputError, match="prefix_allowed_tokens_fn allows 40, outside 0 … 39"):
        model.generate(ids(), prefix_allowed_tokens_fn=lambda prompt, text: [40])


@pytest.mark.parametrize("name", ["xglm", "transformer-xl", "xlnet"])
@pytest.mark.parametrize(
    "settings", [{}, {"num_beams": 3}, {"do_sample": True, "top_k": 4, "temperature": 0.5}]
)
def test_scores_behind_every_choice(name: str, settings: dict[str, Any]) -> None:
    model = network(name)
    call = {"seed": 2, **settings} if "do_sample" in settings else settings
    found, plain = whole(model, ids(), output_scores=True, **call), whole(model, ids(), **call)
    assert torch.equal(found.sequences, plain.sequences)
    assert plain.step_scores is None
    assert [tuple(steps.shape) for steps in found.step_scores] == [(6, 40)] * 3
    for steps, new in zip(found.step_scores, found.new_tokens, strict=True):
        taken = steps.gather(1, torch.tensor(new)[:, None])[:, 0]
        assert bool(taken.isfinite().all())
        if not settings:
            assert torch.equal(taken, steps.amax(1))
        if "top_k" in settings:
            assert (steps > -torch.inf).sum(1).tolist() == [4] * 6
    if "num_beams" in settings:
        sums = torch.stack([
            steps.gather(1, torch.tensor(new)[:, None]).sum() for steps, new in
            zip(found.step_scores, found.new_tokens, strict=True)
        ])  # fmt: skip
        agree(sums / 6, found.scores, "judged by the mean", 1e-5)
    with pytest.raises(InputError, match="output_scores needs return_dict_in_generate"):
        model.generate(ids(), output_scores=True)


@pytest.mark.parametrize("name", CONTINUED)
def test_whether_a_text_is_greedy(name: str) -> None:
    model = network(name)
    longer = model.generate(ids(), **FULL)
    asked = torch.arange(13).ge(7).expand(3, -1)
    found = model.score(longer, targets=asked, greedy=True)
    other = longer.clone()
    other[1, 9] = (other[1, 9] + 1) % 40
    if name != "xlnet":  # scored left to right, XLNet's prompt does not see both ways
        assert found.is_greedy.tolist() == [True] * 3
        assert found.greedy is not None and torch.equal(found.greedy, asked)
        assert not bool(model.score(other, targets=asked, greedy=True).is_greedy[1])
    assert torch.equal(found.log_probs, model.score(longer, targets=asked).log_probs)
    with pytest.raises(InputError, match="greedy=True"):
        _ = model.score(longer).is_greedy


def test_whether_a_text_is_greedy_given_all_other_tokens() -> None:
    model = masked("xlm-roberta-xl")
    found = model.score(ids(), mask_token_id=3, greedy=True, attention_mask=unequal())
    best = torch.full_like(ids(), -1)
    for place in range(7):
        hidden = ids().clone()
        hidden[:, place] = 3
        best[:, place] = model(hidden, attention_mask=unequal()).logits[:, place].argmax(-1)
    assert found.greedy is not None
    assert torch.equal(found.greedy, (best == ids()) & (unequal() > 0))

"""How tokens are chosen: draws, rules, stops, streaming, and the clusters that an adaptive layer
leaves out.
"""

import itertools
from typing import Any

import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from engine import InputError, Spec
from engine.generation.decoding.sampling import Sampler, filter_candidates
from engine.generation.options import GenerationOptions
from engine.generation.predictions import best_token, best_tokens, log_probabilities
from engine.laws.calls import inputs_for
from engine.laws.compare import agree
from engine.network.inputs import Inputs
from engine.network.output_layer import AdaptiveOutput
from tests.generation.cases import ids, network
from tests.searching import examples
from tests.strategies import built, family, valid_specs


def scores(batch: int = 4, vocabulary: int = 30, seed: int = 0) -> Tensor:
    return 3 * torch.randn(batch, vocabulary, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("settings", "processor"),
    [
        ({"top_p": 0.7}, transformers.TopPLogitsWarper(0.7)),
        ({"min_p": 0.2}, transformers.MinPLogitsWarper(0.2)),
        ({"typical_p": 0.6}, transformers.TypicalLogitsWarper(0.6)),
    ],
    ids=["top_p", "min_p", "typical_p"],
)
def test_candidates_are_transformers_own(settings: dict[str, Any], processor: Any) -> None:
    for seed in range(20):
        given = scores(seed=seed)
        ours = filter_candidates(given, GenerationOptions(do_sample=True, **settings))
        theirs = processor(torch.zeros(4, 1, dtype=torch.long), given)
        assert ours.isfinite().tolist() == theirs.isfinite().tolist()
        assert 0 < int(theirs.isfinite().sum()) < theirs.numel()


def test_draws_follow_the_probabilities() -> None:
    given = scores(1, 6).double()
    sampler, drawn = Sampler(3, 1), torch.zeros(6)
    for _ in range(4000):
        drawn[int(sampler.draw(given, [0]))] += 1
    assert float((drawn / 4000 - given[0].softmax(-1)).abs().max()) < 0.03


def test_a_seed_repeats_and_company_changes_no_draw() -> None:
    model, texts = network("xglm"), ids()
    settings: dict[str, Any] = {
        "do_sample": True,
        "top_p": 0.95,
        "max_new_tokens": 8,
        "eos_token_id": (),
    }
    first = model.generate(texts, seed=7, **settings)
    assert first.tolist() == model.generate(texts, seed=7, **settings).tolist()
    assert first.tolist() != model.generate(texts, seed=8, **settings).tolist()
    assert first[0].tolist() == model.generate(texts[:1], seed=7, **settings)[0].tolist()
    torch.manual_seed(0)
    free = model.generate(texts, **settings)
    torch.manual_seed(0)
    assert free.tolist() == model.generate(texts, **settings).tolist()
    several = model.generate(texts, num_return_sequences=3, seed=7, **settings)
    assert several.shape == (9, 15)
    assert several[:, :7].tolist() == texts.repeat_interleave(3, 0).tolist()
    assert len({tuple(row) for row in several[:3].tolist()}) > 1


@pytest.mark.parametrize("name", ["xglm", "transformer-xl"])
def test_top_k_of_one_is_greedy_and_draws_stay_among_the_best(name: str) -> None:
    model, texts = network(name), ids()
    greedy = model.generate(texts, max_new_tokens=8)
    assert (
        model.generate(texts, do_sample=True, top_k=1, max_new_tokens=8).tolist() == greedy.tolist()
    )
    for seed in range(5):
        drawn = model.generate(
            texts, do_sample=True, top_k=3, temperature=2.0, max_new_tokens=1, seed=seed
        )
        best = model(texts).logits[:, -1].topk(3).indices
        assert bool((best == drawn[:, -1:]).any(1).all())


@examples(20)
@given(
    valid_specs(causal=True, streams="one", head="causal_lm").filter(
        lambda spec: spec.heads.output.kind == "adaptive"
    ),
    st.integers(0, 999),
    st.floats(0.05, 3.0),
)
def test_adaptive_best_tokens_are_those_of_all(spec: Spec, seed: int, spread: float) -> None:
    """Whether clusters are left out or not: `spread` decides how peaked the distribution is."""
    model = built(spec, seed=seed)
    output = model.get_submodule("head.output")
    assert isinstance(output, AdaptiveOutput)
    with torch.no_grad():
        given = inputs_for(spec, batch=4, seed=seed)
        last = model.body(Inputs(**given)).last_hidden_state
        assert last is not None
        states = spread * last[:, -1]
        everything = log_probabilities(output, states)
        assert best_token(output, states).tolist() == everything.argmax(-1).tolist()
        for count in (1, 3, spec.dims.vocab):
            best, tokens = best_tokens(output, states, count)
            agree(best, everything.topk(count).values)
            agree(everything.gather(1, tokens), best)


def test_clusters_that_cannot_hold_the_answer_are_left_out() -> None:
    output = built(family("transformer-xl")).head.output
    assert isinstance(output, AdaptiveOutput)
    asked: list[int] = []
    scored = output.cluster

    def counted(states: Tensor, cluster: int) -> Tensor:
        asked.extend([len(states)] * (cluster > 0))
        return scored(states, cluster)

    output.cluster = counted  # type: ignore[method-assign]
    generator = torch.Generator().manual_seed(0)
    states = 4 * torch.randn(50, 16, dtype=torch.float64, generator=generator)
    with torch.no_grad():
        best_token(output, states)
    assert sum(asked) < 50 * (len(output.cutoffs) - 2)


def test_minimum_length_bad_words_and_repeats() -> None:
    model, texts = network("xglm"), ids(2, 5)
    plain = model.generate(texts, max_new_tokens=8, eos_token_id=())[:, 5:]
    first = int(plain[0, 0])
    held = model.generate(
        texts, max_new_tokens=8, min_new_tokens=4, eos_token_id=first, pad_token_id=0
    )
    assert first not in held[0, 5:9].tolist()
    without = model.generate(texts, max_new_tokens=8, eos_token_id=(), bad_words_ids=((first,),))
    assert first not in without[:, 5:].tolist()[0]
    pairs = model.generate(
        texts, max_new_tokens=30, eos_token_id=(), no_repeat_ngram_size=2
    ).tolist()[0]
    runs = list(itertools.pairwise(pairs[5:]))
    assert len(runs) == len(set(runs))


class Letters:
    """A tokenizer whose token n reads 'n ' — enough for stop strings."""

    def decode(self, tokens: list[int]) -> str:
        return "".join(f"{token} " for token in tokens)


@pytest.mark.parametrize("beams", [1, 2])
def test_stop_strings_end_a_text_behind_them(beams: int) -> None:
    model, texts = network("xglm", 5), ids(2, 5)
    plain = model.generate(texts, max_new_tokens=8, eos_token_id=(), num_beams=beams)[
        0, 5:
    ].tolist()
    stop = f"{plain[2]} {plain[3]} "
    ended = model.generate(
        texts[:1], max_new_tokens=8, eos_token_id=(), num_beams=beams, stop_strings=(stop,), tokenizer=Letters(),
        pad_token_id=0,
    )[0, 5:].tolist()  # fmt: skip
    text = Letters().decode([token for token in ended if token])
    assert text.endswith(stop) and stop not in text[: -len(stop)]


def test_tokens_come_one_step_at_a_time() -> None:
    model, texts = network("xglm"), ids(2, 5)
    expected = model.generate(texts, max_new_tokens=6, eos_token_id=())[:, 5:]
    steps = list(model.generate_tokens(texts, max_new_tokens=6, eos_token_id=()))
    assert [step.tokens for step in steps] == expected.T.tolist()
    assert [step.complete for step in steps] == [[False] * 2] * 5 + [[True] * 2]
    heard: list[list[int]] = []
    model.generate(
        texts, max_new_tokens=6, eos_token_id=(), on_tokens=lambda step: heard.append(step.tokens)
    )
    assert heard == expected.T.tolist()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"top_k": 5}, "top_k needs do_sample"),
        ({"min_new_tokens": 9, "max_new_tokens": 3}, "min_new_tokens 9 is above max_new_tokens 3"),
        ({"do_sample": True, "num_beams": 2}, "exclude each other"),
        ({"num_beams": 2, "num_return_sequences": 3}, "above num_beams 2"),
        ({"num_return_sequences": 3}, "needs do_sample true or num_beams"),
        ({"length_penalty": 2.0}, "length_penalty needs num_beams"),
        (
            {"max_new_tokens": 0},
            "max_new_tokens: Input should be greater than or equal to 1, found 0",
        ),
        ({"max_new_tokens": "3"}, "max_new_tokens: Input should be a valid integer, found '3'"),
        ({"max_new_tokens": True}, "max_new_tokens: Input should be a valid integer, found True"),
        ({"do_sample": "no"}, "do_sample: Input should be a valid boolean"),
        ({"temprature": 1}, "did you mean 'temperature'"),
        ({"eos_token_id": 99}, "eos_token_id holds 99, outside 0 … 39"),
        ({"stop_strings": ("a",)}, "stop_strings needs the tokenizer"),
        ({"top_p": 1.5, "do_sample": True}, "top_p"),
        ({"bad_words_ids": ((),)}, "an entry of bad_words_ids is empty"),
        ({"langs": torch.zeros(2, dtype=torch.long)}, "langs has shape"),
        ({"attention_mask": torch.zeros(3, 7)}, "prompt 0 is empty"),
        ({"attention_mask": torch.tensor([[1, 0, 1, 1, 1, 1, 1]] * 3)}, "has a gap"),
    ],
)
def test_contradictions_are_said(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        network("xglm").generate(ids(), **settings)


def test_numbers_of_other_libraries_are_numbers() -> None:
    plain = network("xglm").generate(ids(), max_new_tokens=3)
    assert torch.equal(network("xglm").generate(ids(), max_new_tokens=torch.tensor(3)), plain)


def test_prompts_that_cannot_be_continued() -> None:
    with pytest.raises(InputError, match="prompt is empty"):
        network("xglm").generate(torch.zeros(1, 0, dtype=torch.long))
    short = {"position.size": 10}
    with pytest.raises(InputError, match=r"the prompt has 12 tokens but .* has 10 positions"):
        network("xlm", **short).generate(ids(1, 12))
    with pytest.raises(InputError, match="ask for at most 4 new tokens"):
        network("xlm", **short).generate(ids(1, 7), max_new_tokens=5)
    assert network("xlm", **short).generate(ids(1, 7), max_new_tokens=4, eos_token_id=()).shape == (
        1,
        11,
    )
    with pytest.raises(InputError, match=r"attends both ways.*fill_mask"):
        built(family("xlm")).generate(ids())
    with pytest.raises(InputError, match="language-model head"):
        built(family("xglm"), head=None).generate(ids())
    with pytest.raises(InputError, match="beam search knows its tokens only at the end"):
        list(network("xglm").generate_tokens(ids(), num_beams=2))

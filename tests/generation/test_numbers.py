"""Numbers at their bounds: cold and hot draws, sums that meet a bound, penalties, networks that
give no numbers.
"""

import math
from typing import Any

import pytest
import torch

from engine import InputError
from engine.generation.decoding.sampling import apply_temperature, filter_candidates
from engine.generation.options import GenerationOptions
from tests.generation.cases import ids, masked, network


def kept(shares: list[float], **settings: Any) -> list[int]:
    scores = filter_candidates(
        torch.tensor([shares]).log(), GenerationOptions(do_sample=True, **settings)
    )
    return (scores[0] > -torch.inf).nonzero().flatten().tolist()


@pytest.mark.parametrize(
    ("shares", "bound", "expected"),
    [
        ([0.5, 0.3, 0.2], 0.5, [0]),
        ([0.5, 0.3, 0.2], 0.8, [0, 1]),
        ([0.5, 0.3, 0.2], 0.81, [0, 1, 2]),
        ([0.1] * 10, 0.3, [0, 1, 2]),
        ([0.1] * 10, 0.7, [0, 1, 2, 3, 4, 5, 6]),
        ([0.4, 0.3, 0.2, 0.1], 0.9, [0, 1, 2]),
        ([0.2, 0.3, 0.5], 1e-9, [2]),
    ],
)
def test_top_p_keeps_the_smallest_set_that_reaches_it(
    shares: list[float], bound: float, expected: list[int]
) -> None:
    assert kept(shares, top_p=bound) == expected


def test_top_p_is_that_of_transformers_where_no_sum_meets_the_bound() -> None:
    from transformers import TopPLogitsWarper

    scores = torch.randn(50, 40, generator=torch.Generator().manual_seed(0)) * 3
    for bound in (0.137, 0.5123, 0.9017):
        ours = filter_candidates(scores, GenerationOptions(do_sample=True, top_p=bound))
        assert torch.equal(ours > -torch.inf, TopPLogitsWarper(bound)(None, scores) > -torch.inf)


def test_min_p_and_typical_sums_that_meet_the_bound() -> None:
    assert kept([0.6, 0.3, 0.06, 0.04], min_p=0.5) == [0, 1]
    assert kept([0.6, 0.3, 0.06, 0.04], min_p=0.1) == [0, 1, 2]
    assert kept([0.6, 0.3, 0.06, 0.04], min_p=0.11) == [0, 1]
    assert len(kept([0.7, 0.1, 0.1, 0.1], typical_p=0.7)) == 1


@pytest.mark.parametrize("temperature", [1e-4, 1e-30, 1e-310])
def test_cold_draws_are_greedy(temperature: float) -> None:
    model = network("xglm")
    settings: dict[str, Any]
    greedy = model.generate(ids(), max_new_tokens=6, eos_token_id=())
    for settings in ({}, {"top_k": 5}, {"top_p": 0.9}, {"no_repeat_ngram_size": 9}):
        drawn = model.generate(
            ids(),
            max_new_tokens=6,
            eos_token_id=(),
            do_sample=True,
            seed=0,
            temperature=temperature,
            **settings,
        )
        assert torch.equal(drawn, greedy), settings


def test_hot_draws_are_even_and_leave_out_what_is_banned() -> None:
    scores = torch.tensor([[3.0, -2.0, -torch.inf, 1.0]])
    shares = apply_temperature(scores, 1e300).softmax(-1)
    assert torch.allclose(shares, torch.tensor([[1 / 3, 1 / 3, 0.0, 1 / 3]]))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": math.nan, "do_sample": True}, "temperature"),
        (
            {"temperature": math.inf, "do_sample": True},
            "temperature: Input should be a finite number",
        ),
        ({"temperature": 0.0, "do_sample": True}, "temperature: Input should be greater than 0"),
        ({"repetition_penalty": 0.0}, "repetition_penalty: Input should be greater than 0"),
        ({"repetition_penalty": -1.0}, "repetition_penalty"),
        ({"repetition_penalty": math.inf}, "repetition_penalty: Input should be a finite number"),
        ({"top_p": math.nan, "do_sample": True}, "top_p"),
        ({"min_p": 0.0, "do_sample": True}, "min_p"),
        ({"no_repeat_ngram_size": -1}, "no_repeat_ngram_size"),
        (
            {"num_beams": 2, "length_penalty": math.nan},
            "length_penalty: Input should be a finite number",
        ),
        (
            {"num_beams": 2, "length_penalty": 1000.0},
            "length_penalty is 1000.0: 27 tokens to that power",
        ),
        (
            {"num_beams": 2, "length_penalty": -1000.0},
            "length_penalty is -1000.0: 27 tokens to that power",
        ),
        ({"num_beams": 41}, "num_beams is 41, but only 40 tokens can begin a text"),
    ],
)
def test_numbers_that_mean_nothing_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        network("xglm").generate(ids(), **settings)


EVERY = tuple((token,) for token in range(40))


@pytest.mark.parametrize(
    "settings", [{}, {"num_beams": 3}, {"do_sample": True}, {"do_sample": True, "top_k": 3}]
)
def test_no_token_left_is_said(settings: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="the rules leave no token to choose behind prompt 0"):
        network("xglm").generate(ids(), bad_words_ids=EVERY, **settings)
    with pytest.raises(InputError, match="the rules leave no token to choose behind prompt 1"):
        network("xglm").generate(
            ids(),
            prefix_allowed_tokens_fn=lambda prompt, text: [] if prompt == 1 else [7],
            **settings,
        )


@pytest.mark.parametrize("name", ["xglm", "transformer-xl", "xlnet"])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"num_beams": 3},
        {"do_sample": True},
        {"do_sample": True, "top_k": 3},
        {"output_scores": True},
    ],
)
def test_a_network_without_numbers_is_said(name: str, settings: dict[str, Any]) -> None:
    model = network(name)
    with torch.no_grad():
        model.get_parameter("blocks.0.feed_forward.down.weight").fill_(torch.nan)
    with pytest.raises(InputError, match="behind prompt 0 are not finite: the best one is nan"):
        model.generate(ids(), return_dict_in_generate=True, **settings)
    with pytest.raises(InputError, match="the scores of text 0 are not numbers"):
        model.score(ids())


def test_a_network_without_numbers_fills_no_place() -> None:
    model = masked("xlm-roberta-xl")
    with torch.no_grad():
        model.get_parameter("blocks.0.feed_forward.down.weight").fill_(torch.nan)
    for fill in (model.fill_mask, model.mask_predict):
        with pytest.raises(InputError, match="not finite"):
            fill(ids(), mask_token_id=int(ids()[0, 0]))


def test_fewer_continuations_than_beams() -> None:
    """A rule that leaves one token a step leaves one text, whatever the number of beams."""
    model = network("xglm")
    path = [7, 8, 9, 10]

    def only(prompt: int, text: torch.Tensor) -> list[int]:
        return [path[len(text) - 7]]

    found = model.generate(
        ids(), max_new_tokens=4, eos_token_id=(), num_beams=4, prefix_allowed_tokens_fn=only
    )
    assert found[:, 7:].tolist() == [path] * 3
    with pytest.raises(
        InputError,
        match="beam search finished 1 texts behind prompt 0, num_return_sequences asks for 3",
    ):
        model.generate(ids(), max_new_tokens=4, eos_token_id=(), num_beams=4, num_return_sequences=3,
                       prefix_allowed_tokens_fn=only)  # fmt: skip


def test_ranges_of_penalties_that_are_numbers() -> None:
    model = network("xglm")
    for penalty in (-20.0, 0.0, 20.0):
        found: Any = model.generate(
            ids(), num_beams=3, length_penalty=penalty, return_dict_in_generate=True
        )
        assert bool(found.scores.isfinite().all())

"""Calls with values of every kind at every place: each gives finite numbers or one InputError, and
no foreign exception.

STRANGE_CALLS=n tries n fresh ones.
"""

import os
import random
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

from engine import InputError, Memory, Model
from tests.generation.cases import CONTINUED, ids, network
from tests.strategies import built, family

COUNT = int(os.environ.get("STRANGE_CALLS", "0"))
ROWS, LENGTH = 2, 5
BODY = (
    "inputs_embeds", "attention_mask", "input_mask", "token_type_ids", "position_ids", "langs", "lengths", "perm_mask",
    "target_mapping", "head_mask", "cross_head_mask", "encoder_hidden_states", "encoder_attention_mask", "memory",
    "use_memory", "output_hidden_states", "output_attentions", "labels", "logits_to_keep", "output_logits", "cls_index",
    "num_items_in_batch", "start_positions", "end_positions", "is_impossible", "p_mask", "output_spans", "past_key_values", "nonsense",
)  # fmt: skip
CHOOSING = (
    "max_new_tokens", "min_new_tokens", "max_length", "min_length", "do_sample", "temperature", "top_k", "top_p", "min_p",
    "typical_p", "repetition_penalty", "no_repeat_ngram_size", "bad_words_ids", "suppress_tokens", "begin_suppress_tokens",
    "logits_processor", "prefix_allowed_tokens_fn", "num_beams", "length_penalty", "early_stopping", "beam_lengths",
    "num_return_sequences", "eos_token_id", "pad_token_id", "stop_strings", "seed", "decoding", "output_scores",
    "tokenizer", "options", "on_tokens", "return_dict_in_generate", "generation_config",
)  # fmt: skip
TEXTS = (
    "inputs_embeds",
    "attention_mask",
    "langs",
    "encoder_hidden_states",
    "encoder_attention_mask",
    "memory",
)
SCORING = (
    "targets", "token_type_ids", "method", "orders", "samples", "seed", "mask_token_id", "window", "stride", "carry",
    "batch_size", "greedy",
)  # fmt: skip
METHODS = {
    "forward": BODY,
    "generate": (*TEXTS, *CHOOSING, *CHOOSING),
    "score": (*TEXTS, *SCORING),
    "fill_mask": ("top_n", "mask_token_id", "attention_mask", "token_type_ids", "langs"),
    "mask_predict": ("rounds", "mask_token_id", "attention_mask", "token_type_ids", "langs"),
    "stream": ("segment", "memory", "memory_length", "predictions"),
}
HEADS = (
    "default", None, "sequence_classification", "token_classification", "question_answering", "beam_question_answering",
)  # fmt: skip
WORDS = (
    "left_to_right",
    "pseudo",
    "orders",
    "cached",
    "recompute",
    "overlap",
    "memory",
    "window",
    "never",
    "whole_text",
)


@cache
def model_of(name: str, head: str | None, both_ways: bool) -> Model:
    return built(family(name), head) if both_ways or head != "default" else network(name)


def value(draw: random.Random, model: Model) -> Any:
    """Anything that somebody might hand over."""
    shape = draw.choice(
        [(ROWS, LENGTH)] * 4
        + [(ROWS,), (LENGTH,), (ROWS, LENGTH, LENGTH), (ROWS, 1), (), (0,), (3, 2)]
    )
    generator = torch.Generator().manual_seed(draw.randrange(999))
    numbers = torch.randint(
        draw.choice([0, -3]), draw.choice([2, 2, 5, 60]), shape, generator=generator
    )
    floats = torch.rand(shape, generator=generator, dtype=torch.float64)
    kinds = (
        torch.uint8,
        torch.int8,
        torch.int16,
        torch.int32,
        torch.uint16,
        torch.float16,
        torch.bfloat16,
    )
    return draw.choice([
        lambda: numbers, lambda: numbers, lambda: numbers.to(draw.choice(kinds)), lambda: numbers > 0,
        lambda: numbers.double(), lambda: floats, lambda: floats.mul(99).log(), lambda: torch.full(shape, torch.nan),
        lambda: torch.zeros(shape).masked_fill(numbers > 0, -torch.inf), lambda: numbers.to(torch.complex64),
        lambda: numbers.tolist(), lambda: numbers.numpy(), lambda: np.asarray(floats)[..., None][..., 0],
        lambda: np.array(["a"] * 2, dtype=object), lambda: [[1, 2], [3]], lambda: [None], lambda: [[]], dict,
        lambda: torch.randn(ROWS, LENGTH, model.spec.dims.model, dtype=draw.choice([torch.float64, torch.float32])),
        lambda: draw.choice([None, True, False, 0, 1, 2, 3, 7, -1, 10**30, 0.5, 1.0, 1e-300, 1e300, -0.0, 2.5]),
        lambda: draw.choice([float("nan"), float("inf"), -float("inf"), "", "no", *WORDS, b"x", 1j]),
        lambda: draw.choice([lambda *given: None, lambda *given: given[-1], print, object(), [print], {1: 2}]),
        lambda: torch.eye(LENGTH).expand(ROWS, -1, -1), lambda: draw.choice([(1,), ((1,),), ((),), [[3, 4]], {1, 2}]),
        lambda: memory_of(draw),
    ])()  # fmt: skip


def memory_of(draw: random.Random) -> Memory:
    name = draw.choice(("xglm", "transformer-xl", "xlnet"))
    found = model_of(name, "default", False)(ids(draw.choice((ROWS, 3)), 4), use_memory=True).memory
    assert isinstance(found, Memory)
    return found


def finite(found: Any, name: str) -> None:
    """No answer that was given without a word is NaN."""
    if isinstance(found, torch.Tensor) and found.is_floating_point():
        assert not bool(found.isnan().any()), f"{name} holds NaN"
    elif hasattr(found, "__dict__"):
        for key, part in vars(found).items():
            if key != "room":  # space that nothing was written to yet
                finite(part, f"{name}.{key}")
    elif isinstance(found, list | tuple):
        for part in found:
            finite(part, name)


def strange_call(number: int) -> None:
    draw = random.Random(number)
    name, method = draw.choice(tuple(CONTINUED)), draw.choice((*METHODS, "generate", "forward"))
    head = draw.choice(HEADS) if method == "forward" else "default"
    model = model_of(name, head, draw.random() < 0.5)
    model.eval()
    names = draw.sample(METHODS[method], draw.choice((1, 1, 1, 2, 2, 3)))
    given = {each: value(draw, model) for each in names}
    texts = value(draw, model) if draw.random() < 0.1 else ids(ROWS, LENGTH)
    if method == "generate" and draw.random() < 0.3:
        given |= draw.choice(({"do_sample": True}, {"num_beams": 2}))
    if method in ("fill_mask", "mask_predict"):
        given.setdefault("mask_token_id", int(ids(ROWS, LENGTH)[0, 0]))
    call = model if method == "forward" else getattr(model, method)
    try:
        with torch.no_grad():
            found = call(texts, **given)
            finite(list(found) if method == "stream" else found, method)
    except InputError as error:
        assert str(error)
    except Exception as error:
        raise AssertionError(f"call {number}: {name} {method} {head} {given} {texts}") from error


@pytest.mark.parametrize("start", range(4))
def test_strange_calls_are_answered_or_refused(start: int) -> None:
    first = random.randrange(10**9) if COUNT else 1000 * start
    for number in range(first, first + max(40, COUNT // 4)):
        strange_call(number)


def test_values_that_are_refused_are_not_printed_whole() -> None:
    model, many = network("xglm"), list(range(100_000))
    calls: tuple[dict[str, Any], ...] = (
        {"max_new_tokens": many},
        {"suppress_tokens": [str(number) + "x" for number in many]},
        {"eos_token_id": [[many]]},
        {"decoding": "cached" * 10_000},
        {"memory": many},
    )
    for given in calls:
        with pytest.raises(InputError) as raised:
            model.generate(ids(ROWS, LENGTH), **given)
        assert next(iter(given)) in str(raised.value) and len(str(raised.value)) < 1_100

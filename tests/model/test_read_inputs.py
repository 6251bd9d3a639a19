"""Arguments in other forms than int64 tensors: taken where there is one way to read them, else
refused by name.
"""

from collections.abc import Callable
from operator import methodcaller
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from engine import InputError, Model
from engine.laws.compare import agree
from tests.strategies import built, family

IDS = torch.tensor([[5, 7, 9, 11], [6, 8, 10, 12]])
TYPES = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.uint16)
FORMS: dict[str, Callable[[Tensor], Any]] = {
    "lists": lambda ids: ids.tolist(),
    "an array": lambda ids: ids.numpy(),
    "an array that runs backwards": lambda ids: ids.flip(-1).numpy()[..., ::-1],
    **{str(kind): methodcaller("to", kind) for kind in TYPES},
}


def model_of(name: str, head: str | None = "default", **options: Any) -> Model:
    return built(family(name, **options.pop("settled", {})), head, **options)


@pytest.mark.parametrize("form", FORMS)
def test_integers_in_every_form(form: str) -> None:
    given = FORMS[form]
    model = model_of("xlm")
    call = {
        "token_type_ids": IDS % 3, "position_ids": torch.arange(4).expand(2, 4), "langs": IDS % 2,
        "lengths": torch.tensor([4, 3]), "labels": IDS,
    }  # fmt: skip
    expected, found = (
        model(IDS, **call),
        model(given(IDS), **{name: given(value) for name, value in call.items()}),
    )
    assert torch.equal(found.logits, expected.logits) and torch.equal(found.loss, expected.loss)
    kept = model(given(IDS), logits_to_keep=given(torch.tensor([0, 2]))).logits
    assert torch.equal(kept, model(IDS, logits_to_keep=torch.tensor([0, 2])).logits)
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]])
    assert torch.equal(
        model(IDS, attention_mask=given(mask)).logits, model(IDS, attention_mask=mask > 0).logits
    )


@pytest.mark.parametrize("form", FORMS)
def test_text_methods_read_as_forward_does(form: str) -> None:
    given = FORMS[form]
    mask = torch.tensor([[1, 1, 1, 1], [0, 1, 1, 1]])
    decoder, both_ways = model_of("xglm"), model_of("xlm-roberta-xl")
    assert torch.equal(
        decoder.generate(given(IDS), attention_mask=given(mask), max_new_tokens=3),
        decoder.generate(IDS, attention_mask=mask, max_new_tokens=3),
    )
    call: dict[str, Any] = {"attention_mask": mask, "targets": mask}
    expected, found = (
        decoder.score(IDS, **call),
        decoder.score(given(IDS), **{k: given(v) for k, v in call.items()}),
    )
    assert torch.equal(found.log_probs, expected.log_probs)
    assert both_ways.fill_mask(given(IDS), mask_token_id=9) == both_ways.fill_mask(
        IDS, mask_token_id=9
    )
    filled = both_ways.mask_predict(given(IDS), 2, mask_token_id=9)
    assert torch.equal(filled, both_ways.mask_predict(IDS, 2, mask_token_id=9))
    reader = model_of("transformer-xl")
    parts = [list(reader.stream(text, 2, memory_length=4)) for text in (given(IDS), IDS)]
    agree(parts[0][-1].last_hidden_state, parts[1][-1].last_hidden_state)


def test_labels_of_every_head_in_lists() -> None:
    for head, name, labels in (
        ("sequence_classification", "labels", [1, 0]),
        ("token_classification", "labels", [[1, 0, 1, 0]] * 2),
        ("question_answering", "start_positions", [1, 2]),
    ):
        model = model_of("xlm-roberta-xl", head)
        ends = {"end_positions": [2, 3]} if name == "start_positions" else {}
        tensors = {key: torch.tensor(value) for key, value in {name: labels, **ends}.items()}
        assert torch.equal(model(IDS, **{name: labels}, **ends).loss, model(IDS, **tensors).loss), (
            head
        )


ADDED = torch.tensor([[0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, -torch.inf]])
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a mask that is added": ({"attention_mask": ADDED}, "attention_mask holds -inf, as masks that are added"),
    "one with a large number": ({"attention_mask": ADDED.clamp(min=-1e4)}, "attention_mask holds -10000.0, as masks"),
    "one that hides nobody": ({"attention_mask": torch.zeros(2, 4)}, "attention_mask is 0.0 everywhere"),
    "a mask of NaN": ({"attention_mask": torch.full((2, 4), torch.nan)}, "attention_mask holds nan"),
    "a soft mask": ({"attention_mask": torch.full((2, 4), 0.5)}, "attention_mask holds 0.5; it is 1 for"),
    "ids as a mask": ({"attention_mask": IDS}, "attention_mask holds 5"),
    "an inverse mask of NaN": ({"input_mask": torch.full((2, 4), torch.nan)}, "input_mask holds nan; it is 1 for padding"),
    "fractional positions": ({"position_ids": torch.rand(2, 4)}, "position_ids must hold integers"),
    "types of truth values": ({"token_type_ids": IDS > 6}, "token_type_ids must hold integers, found torch.bool"),
    "fractional languages": ({"langs": [[0.5] * 4] * 2}, "langs must hold integers, found torch.float32"),
    "fractional labels": ({"labels": IDS.float()}, "labels must hold integers"),
    "labels of unequal length": ({"labels": [[1, 2], [3]]}, "labels cannot be read as one tensor"),
    "labels of words": ({"labels": "no"}, "labels is a str"),
    "truth value for logits": ({"logits_to_keep": True}, "logits_to_keep is True"),
    "truth values for logits": ({"logits_to_keep": torch.ones(4) > 0}, "logits_to_keep must hold integers"),
    "places past the end": ({"logits_to_keep": [4]}, "logits_to_keep holds 4, outside 0 … 3"),
    "a fraction of logits": ({"logits_to_keep": 1.5}, "logits_to_keep must hold integers"),
    "a flag that is a word": ({"output_attentions": "no"}, "output_attentions is 'no', expected True or False"),
    "a number for a flag": ({"use_memory": 1}, "use_memory is 1, expected True, False, None or"),
    "head masks of NaN": ({"head_mask": torch.tensor([1.0, torch.nan, 1.0, 1.0])}, "head_mask holds nan"),
    "a set": ({"attention_mask": {1}}, "attention_mask is a set"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_can_be_read_in_two_ways_is_refused(case: str) -> None:
    call, message = REFUSED[case]
    with pytest.raises(InputError, match=message):
        model_of("xlm")(IDS, **call)


@pytest.mark.parametrize("mask", [ADDED, torch.full((2, 4), torch.nan), torch.full((2, 4), 0.5)])
def test_every_text_method_refuses_the_same_masks(mask: Tensor) -> None:
    decoder, both_ways = model_of("xglm"), model_of("xlm-roberta-xl")
    for call in (decoder.generate, decoder.score):
        with pytest.raises(InputError, match="attention_mask holds"):
            call(IDS, attention_mask=mask)
    for fill in (both_ways.fill_mask, both_ways.mask_predict):
        with pytest.raises(InputError, match="attention_mask holds"):
            fill(IDS, mask_token_id=9, attention_mask=mask)


def test_permutations_and_answers_are_of_zeros_and_ones() -> None:
    with pytest.raises(InputError, match="perm_mask holds -inf, as masks that are added"):
        model_of("xlnet")(IDS, perm_mask=torch.zeros(2, 4, 4).fill_(-torch.inf))
    with pytest.raises(InputError, match="p_mask holds nan"):
        model_of("xlnet", "beam_question_answering")(IDS, p_mask=torch.full((2, 4), torch.nan))


def test_arrays_of_objects_are_refused() -> None:
    with pytest.raises(InputError, match="input_ids cannot be read as one tensor"):
        model_of("xglm")(np.array([["a", None]], dtype=object))

"""Every text method on every spec: a text has the answer in a batch that it has alone, or both are
refused.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from engine import InputError, Model, Spec
from engine.laws.compare import agree
from tests.generation.cases import ids, unequal
from tests.searching import examples
from tests.strategies import built, valid_specs

HIDDEN = 3
Call = Callable[[Model, Tensor, Tensor | None], list[Any]]


def generated(model: Model, texts: Tensor, mask: Tensor | None) -> list[Any]:
    found: Any = model.generate(
        texts,
        attention_mask=mask,
        max_new_tokens=2,
        eos_token_id=(),
        output_scores=True,
        return_dict_in_generate=True,
    )
    return list(zip(found.new_tokens, found.step_scores, strict=True))


def scored(model: Model, texts: Tensor, mask: Tensor | None) -> list[Any]:
    found = model.score(texts, attention_mask=mask, mask_token_id=HIDDEN)
    real, parts = torch.ones_like(texts) if mask is None else mask, (found.log_probs, found.counted)
    return [
        (int(counted.sum()), row[keep > 0]) for row, counted, keep in zip(*parts, real, strict=True)
    ]


def filled(model: Model, texts: Tensor, mask: Tensor | None) -> list[Any]:
    rows: dict[int, list[Any]] = {row: [] for row in range(len(texts))}
    for place in model.fill_mask(texts, 3, mask_token_id=HIDDEN, attention_mask=mask):
        rows[place.row].append((place.tokens, torch.tensor(place.probabilities)))
    return [part for row in rows.values() for part in row]


def predicted(model: Model, texts: Tensor, mask: Tensor | None) -> list[Any]:
    found = model.mask_predict(texts, 2, mask_token_id=HIDDEN, attention_mask=mask)
    real = torch.ones_like(texts) if mask is None else mask
    return [(row[keep > 0].tolist(), torch.zeros(1)) for row, keep in zip(found, real, strict=True)]


def streamed(model: Model, texts: Tensor, mask: Tensor | None) -> list[Any]:
    parts = list(model.stream(texts, 3, memory_length=8))
    states = torch.cat([part.last_hidden_state for part in parts], dim=1)
    return [(len(states[0]), row) for row in states]


METHODS: dict[str, Call] = {
    "generate": generated, "score": scored, "fill_mask": filled, "mask_predict": predicted, "stream": streamed,
}  # fmt: skip


def answers(call: Call, model: Model, texts: Tensor, mask: Tensor | None) -> list[Any] | str:
    try:
        return call(model, texts, mask)
    except InputError as error:
        return str(error)


def check_company(spec: Spec, method: str, seed: int, padding: bool) -> None:
    model, call = built(spec, seed=seed).eval(), METHODS[method]
    texts = ids(seed=seed).remainder(11) + 4
    fill = spec.embeddings.tables.tokens.padding
    texts = torch.where(texts == (-1 if fill is None else fill), 4, texts)
    texts[:, 3] = HIDDEN if fill != HIDDEN else 2
    mask = unequal() if padding else None
    together = answers(call, model, texts, mask)
    alone = [
        answers(
            call,
            model,
            texts[row : row + 1] if mask is None else texts[row][mask[row] > 0][None],
            None,
        )
        for row in range(len(texts))
    ]
    if isinstance(together, str):
        assert all(isinstance(one, str) for one in alone), f"refused in company alone: {together}"
        return
    singles: list[Any] = []
    for one in alone:
        assert not isinstance(one, str), f"refused alone, answered in company: {one}"
        singles += one
    for (counted, values), (expected, theirs) in zip(together, singles, strict=True):
        assert counted == expected
        agree(values, theirs, method, 1e-5)


@pytest.mark.parametrize("method", METHODS)
@examples(12)
@given(valid_specs(head="any"), st.integers(0, 999), st.booleans())
def test_company_changes_no_answer_of_a_text_method(
    method: str, spec: Spec, seed: int, padding: bool
) -> None:
    check_company(spec, method, seed, padding and method != "stream")

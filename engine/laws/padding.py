"""Padding and company change nothing: a real token has the same answer alone, padded on either side,
and in any batch.
"""

from typing import Any

import torch
from torch import Tensor

from engine.laws.calls import answer, ask, inputs_for
from engine.laws.compare import agree
from engine.network.network import Network
from engine.spec import Spec, axes

LENGTH, PADDED = 5, 8
BY_TOKEN = ("input_ids", "token_type_ids", "langs")


def padded_call(
    spec: Spec, row: dict[str, Any], company: dict[str, Any], left: int
) -> dict[str, Any]:
    """The first row of `row` with `left` padding tokens before it and the rest behind, above the
    first of `company`.
    """
    stop = left + LENGTH
    call: dict[str, Any] = {}
    for name in BY_TOKEN:
        if name in row:
            call[name] = company[name].clone()
            call[name][0, left:stop] = row[name][0]
    padding = spec.embeddings.tables.tokens.padding
    mask = torch.ones(2, PADDED, dtype=torch.long)
    mask[0, :left], mask[0, stop:] = 0, 0
    if padding is not None:
        call["input_ids"][0, :left], call["input_ids"][0, stop:] = padding, padding
    if "encoder_hidden_states" in row:
        states = torch.cat((row["encoder_hidden_states"], company["encoder_hidden_states"]), dim=1)[
            :1
        ]
        call["encoder_hidden_states"] = torch.cat(
            (states, company["encoder_hidden_states"].repeat(1, 2, 1)[:1])
        )
        call["encoder_attention_mask"] = torch.tensor([[1, 1, 1, 0, 0, 0], [1, 1, 1, 1, 1, 1]])
    if "source_ids" in row:
        source, filler = company["source_ids"].repeat(1, 2), spec.tokens.padding or 0
        source[0, :3], source[0, 3:] = row["source_ids"][0], filler
        call["source_ids"] = source
        call["encoder_attention_mask"] = torch.tensor([[1, 1, 1, 0, 0, 0], [1, 1, 1, 1, 1, 1]])
    for name in ("source_token_type_ids", "source_langs"):
        if name in row:
            call[name] = company[name].repeat(1, 2)
            call[name][0, :3] = row[name][0]
    if "perm_mask" in row:
        call["perm_mask"] = company["perm_mask"].clone()
        call["perm_mask"][0, left:stop, left:stop] = row["perm_mask"][0]
    if "target_mapping" in row:
        call["target_mapping"] = company["target_mapping"].clone()
        call["target_mapping"][0] = 0
        call["target_mapping"][0, :, left:stop] = row["target_mapping"][0]
    return {**call, "attention_mask": mask}


def alone(spec: Spec, row: dict[str, Any]) -> dict[str, Any]:
    """The first row by itself; twice where half of a batch is mirrored."""
    mirrored = isinstance(spec.position, axes.RelativePosition) and spec.position.reversed_half
    return {
        name: value[:1].repeat(2 if mirrored else 1, *[1] * (value.dim() - 1))
        for name, value in row.items()
    }


def answers(model: Network, call: dict[str, Any], left: int, whole: bool) -> Tensor:
    """The answers at the real tokens of the first row, or at its predictions."""
    result = answer(ask(model, **call))[0]
    return result if "target_mapping" in call or whole else result[left : left + LENGTH]


def check_padding(
    model: Network, seed: int, left: int | None = None, targets: int | None = None
) -> None:
    """Raise Broken unless a text with `left` padding tokens before it answers as it does alone.

    `left` is drawn by `seed` where it is None; states of zero that stand before the text leave no
    place for padding between them and it.
    """
    spec = model.spec
    if left is None:
        left = 0 if starts_with_zeros(spec) else seed % (PADDED - LENGTH + 1)
    row = inputs_for(spec, length=LENGTH, seed=seed, targets=targets)
    company = inputs_for(spec, length=PADDED, seed=seed + 1, targets=targets)
    expected = answers(model, alone(spec, row), 0, whole=True)
    found = answers(model, padded_call(spec, row, company, left), left, whole=False)
    behind = PADDED - LENGTH - left
    agree(found, expected, f"answers with {left} padding tokens before and {behind} behind")


def starts_with_zeros(spec: Spec) -> bool:
    """Whether the first segment sees a memory of zeros."""
    return isinstance(spec.memory, axes.Recurrent) and spec.memory.initial == "zeros"


def check_company(model: Network, seed: int) -> None:
    """Raise Broken unless one row answers as that row in a batch of four."""
    inputs = inputs_for(model.spec, batch=4, length=LENGTH, seed=seed, targets=2)
    single = answer(ask(model, **alone(model.spec, inputs)))[0]
    agree(single, answer(ask(model, **inputs))[0], "the first row")

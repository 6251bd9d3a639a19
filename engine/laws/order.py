"""Nobody sees what comes later: in the text under a causal mask, in the factorization order under a
permutation.
"""

from typing import Any

import torch
from torch import Tensor

from engine.laws.calls import answer, ask, changed_from, inputs_for, order_mask
from engine.laws.compare import agree, claim
from engine.network.network import Network
from engine.spec import Spec, axes

LENGTH = 6


def check_later_tokens(model: Network, seed: int, place: int | None = None) -> None:
    """Raise Broken unless a change at `place` (drawn by `seed` where None) moves only answers from
    there on.
    """
    place = 1 + seed % (LENGTH - 1) if place is None else place
    inputs = inputs_for(model.spec, length=LENGTH, seed=seed, permuted=False)
    before = answer(ask(model, **inputs))
    after = answer(ask(model, **changed_from(inputs, model.spec, place)))
    agree(after[:, :place], before[:, :place], f"answers before the changed token {place}")
    moved = not torch.allclose(after[:, place], before[:, place])
    claim(moved, f"the changed token {place} changes nothing")


def streams_of(model: Network, inputs: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """The last states of the content and of the query stream."""
    hidden = ask(model, **inputs, output_hidden_states=True).hidden_states
    return hidden[-2], hidden[-1]


def check_order(model: Network, seed: int, place: int | None = None) -> None:
    """Raise Broken unless a change at `place` moves only states later in a random order."""
    place = seed % LENGTH if place is None else place
    generator = torch.Generator().manual_seed(seed)
    order = torch.stack([torch.randperm(LENGTH, generator=generator) for _ in range(2)])
    inputs = inputs_for(model.spec, length=LENGTH, seed=seed, optional=False)
    inputs["perm_mask"] = order_mask(order)
    inputs["target_mapping"] = torch.eye(LENGTH).expand(2, -1, -1)
    other = {**inputs, "input_ids": inputs["input_ids"].clone()}
    other["input_ids"][:, place] = changed_from(inputs, model.spec, 0)["input_ids"][:, place]
    content, query = streams_of(model, inputs)
    changed_content, changed_query = streams_of(model, other)
    earlier, not_later = order < order[:, place, None], order <= order[:, place, None]
    agree(changed_content[earlier], content[earlier], "content states earlier in the order")
    agree(changed_query[not_later], query[not_later], "query states not later in the order")
    own = not torch.allclose(changed_content[:, place], content[:, place])
    claim(own, "the content stream misses its own token")


def goes_by_length(spec: Spec) -> bool:
    """Whether positions depend on the length of the whole text."""
    kinds = axes.DynamicScaling | axes.LongRopeScaling
    return isinstance(spec.position, axes.RotaryPosition) and isinstance(
        spec.position.scaling, kinds
    )


def check_distances(model: Network, seed: int, step: int = 37) -> None:
    """Raise Broken unless positions that all grow by `step` leave every answer."""
    inputs = inputs_for(model.spec, length=LENGTH, seed=seed, targets=2)
    places = torch.arange(LENGTH).expand(2, -1)
    expected = answer(ask(model, **inputs))
    agree(answer(ask(model, **inputs, position_ids=places)), expected, "positions from zero")
    found = answer(ask(model, **inputs, position_ids=places + step))
    agree(found, expected, f"positions from {step}", tolerance=1e-4)

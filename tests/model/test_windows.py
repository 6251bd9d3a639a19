"""A window without a causal mask reaches ahead as far as back."""

from typing import Any

import pytest
import torch

from engine import Spec
from engine.laws.compare import agree
from tests.strategies import built, family

RELATIVE = {"position": {"kind": "relative"}}


def window_of(size: int | None, rules: list[str], **changes: Any) -> Spec:
    return family(
        "xlm-roberta-xl", **{"attention.mask": rules, "attention.window": size, **changes}
    )


@pytest.mark.parametrize(("length", "size"), [(9, 3), (9, 1), (9, 20), (300, 40), (300, 2)])
@pytest.mark.parametrize(
    "changes", [{"position": {"kind": "none"}}, RELATIVE], ids=["fused", "relative"]
)
def test_two_sided_windows_are_masks_by_pair(
    length: int, size: int, changes: dict[str, Any]
) -> None:
    ids = torch.randint(5, 40, (2, length), generator=torch.Generator().manual_seed(0))
    places = torch.arange(length)
    pairs = ((places[:, None] - places).abs() < size).expand(2, -1, -1)
    ours = built(window_of(size, ["padding"], **changes))(ids).logits
    theirs = built(window_of(None, ["padding"], **changes))(ids, attention_mask=pairs).logits
    agree(ours, theirs)


def test_a_causal_window_looks_back_alone() -> None:
    ids = torch.randint(5, 40, (2, 9), generator=torch.Generator().manual_seed(0))
    places = torch.arange(9)
    distance = places[:, None] - places
    pairs = ((distance < 3) & (distance >= 0)).expand(2, -1, -1)
    none = {"position": {"kind": "none"}}
    ours = built(window_of(3, ["padding", "causal"], **none))(ids).logits
    agree(ours, built(window_of(None, ["padding"], **none))(ids, attention_mask=pairs).logits)

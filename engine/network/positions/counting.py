"""Positions counted from the mask.

b batch, i tokens of the call, p predictions.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from engine.memory import Memory


@dataclass(frozen=True)
class PositionInputs:
    """What positions of one call are counted from."""

    length: int
    """Tokens of the call."""
    entering: int
    """How many of them enter memory: the next call counts on from the last of these."""
    device: torch.device
    real: Tensor | None = None
    """(b i): True for tokens that are no padding by the mask."""
    tokens: Tensor | None = None
    """(b i): True for tokens that are no padding by their id."""
    given: Tensor | None = None
    """`position_ids` (b i) or (1 i)."""
    targets: Tensor | None = None
    """(b p): the token that each prediction row stands for."""
    memory: Memory | None = None
    seen: Tensor | int = 0
    """How many positions were given out before, one number or one a row (b)."""


def count_positions(call: PositionInputs, count: str = "all") -> tuple[Tensor, Tensor | int]:
    """Positions (b or 1, i) counted from zero, and how many have been given out up to the last
    token that enters memory.

    Counting starts at the first real token, so that the padding side changes nothing. `columns`
    starts at the left edge, as some published code does; `real` steps over padding ids, which get
    position -1; `ids` does so and looks at no mask, as published for RoBERTa.
    """
    real, tokens, seen = call.real, call.tokens, call.seen
    offset = seen[:, None] if isinstance(seen, Tensor) else seen
    if count in ("real", "ids") and tokens is not None:
        counted = tokens
        if count == "real" and real is not None:
            counted = tokens & _started(real, seen)
        steps = counted.long().cumsum(-1)
        positions = torch.where(counted, steps + offset - 1, -1)
    elif count == "columns" or real is None:
        columns = torch.arange(call.length, device=call.device) + offset
        rows = -1 if isinstance(seen, Tensor) else 1
        return columns.expand(rows, -1), seen + call.entering
    else:
        steps = _started(real, seen).long().cumsum(-1)
        positions = (steps - 1).clamp(min=0) + offset
    # Tokens that memory leaves out come again in the next segment, and are counted there.
    counted_steps = steps[:, : call.entering][:, -1]
    if not isinstance(seen, Tensor):
        seen = torch.full_like(counted_steps, seen)
    return positions, counted_steps + seen


def _started(real: Tensor, seen: Tensor | int) -> Tensor:
    """True from the first real token of a row on, or from the start where earlier tokens were seen."""
    if isinstance(seen, Tensor):
        earlier = (seen > 0)[:, None]
    else:
        earlier = torch.full_like(real[:, :1], seen > 0)
    return (real.long().cumsum(-1) > 0) | earlier

"""One block's share of a memory, in buffers with room to grow."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from engine.kernels.watched import transformed


class Room:
    """Keys and values in buffers (b g c k) wider than what they hold.

    Values that view the same buffers differ in how far they reach; only the one that reaches
    `filled` may grow in place.
    """

    def __init__(self, keys: Tensor, values: Tensor, more: int) -> None:
        length = keys.shape[-2]
        capacity = length + more + max(64, length // 4)
        self.keys, self.values = _widened(keys, capacity), _widened(values, capacity)
        self.filled = length

    def fits(self, stop: int, more: int) -> bool:
        """Whether a value that reaches `stop` can take `more` tokens here without touching what
        another one holds.
        """
        writable = torch.is_inference_mode_enabled() or not self.keys.is_inference()
        return writable and stop == self.filled and stop + more <= self.keys.shape[-2]

    def write(self, keys: Tensor, values: Tensor) -> int:
        """Append keys and values (b g i k); returns how far the buffers now reach."""
        start, self.filled = self.filled, self.filled + keys.shape[-2]
        self.keys[:, :, start : self.filled] = keys
        self.values[:, :, start : self.filled] = values
        return self.filled


@dataclass(frozen=True)
class DistanceKeys:
    """Projected and scaled keys of relative distances, (s h r k), one a step down from distance
    `high`: the same for every row.
    """

    keys: Tensor
    high: int

    def covers(self, high: int, low: int) -> bool:
        """Whether all distances from `high` down to `low` are here."""
        return high <= self.high and self.high - self.keys.shape[-2] < low

    def between(self, high: int, low: int) -> Tensor:
        """Those of distances `high` down to `low`, a view."""
        return self.keys[:, :, self.high - high : self.high - low + 1]


@dataclass(frozen=True)
class LayerMemory:
    """One block's share: its inputs `hidden` (b m d), or `keys` and `values` (b g m k), and those
    of an encoder.

    `distances` are projected once and serve every later step. `room` is the buffer that keys and
    values view up to `stop`.
    """

    hidden: Tensor | None = None
    keys: Tensor | None = None
    values: Tensor | None = None
    cross_keys: Tensor | None = None
    cross_values: Tensor | None = None
    distances: DistanceKeys | None = None
    room: Room | None = field(default=None, repr=False, compare=False)
    stop: int = 0

    def tensors(self) -> dict[str, Tensor]:
        """Everything that has a batch axis, by name."""
        names = ("hidden", "keys", "values", "cross_keys", "cross_values")
        return {name: value for name in names if (value := getattr(self, name)) is not None}

    @property
    def length(self) -> int:
        """How many tokens are remembered."""
        held = self.hidden if self.keys is None else self.keys
        return 0 if held is None else held.shape[-2]

    def holding(self, tensors: Mapping[str, Any]) -> "LayerMemory":
        """The same with other tensors, by name, in buffers of their own."""
        return replace(self, room=None, stop=0, **tensors)

    def extended(self, keys: Tensor, values: Tensor) -> "LayerMemory":
        """This memory longer by new keys and values (b g i k).

        Outside autograd nothing of the past is copied while the shared buffer has room; appending
        to the same value twice copies.
        """
        if self.keys is None or self.values is None:
            return LayerMemory(keys=keys, values=values)
        more, length = keys.shape[-2], self.keys.shape[-2]
        if torch.is_grad_enabled() or transformed():
            joined = torch.cat((self.keys, keys), dim=-2), torch.cat((self.values, values), dim=-2)
            return LayerMemory(keys=joined[0], values=joined[1])
        room, start = self.room, self.stop - length
        if room is None or not room.fits(self.stop, more):
            room, start = Room(self.keys, self.values, more), 0
        stop = room.write(keys, values)
        return LayerMemory(
            keys=room.keys[:, :, start:stop],
            values=room.values[:, :, start:stop],
            room=room,
            stop=stop,
        )

    def between(self, start: int, stop: int) -> "LayerMemory":
        """Remembered tokens `start` to `stop`, a view."""
        if self.keys is None or self.values is None:
            return self if self.hidden is None else replace(self, hidden=self.hidden[:, start:stop])
        if not transformed() and start == 0 and stop == self.keys.shape[-2]:
            return self
        end = self.stop - (self.keys.shape[-2] - stop)
        return replace(
            self,
            keys=self.keys[:, :, start:stop],
            values=self.values[:, :, start:stop],
            stop=end if self.room else 0,
        )


def _widened(tensor: Tensor, capacity: int) -> Tensor:
    buffer = tensor.new_empty(*tensor.shape[:2], capacity, tensor.shape[-1])
    buffer[:, :, : tensor.shape[-2]] = tensor
    return buffer

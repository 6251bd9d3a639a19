"""One block's share of a memory, in buffers that grow in place.

b batch, m remembered tokens, d model width, g key/value heads, k head width, h heads, r distances.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from engine.kernels.watched import transformed


class GrowingBuffer:
    """Keys and values in buffers (b g m k) wider than what they hold.

    Layers that view the same buffers differ in how far they reach; only the one that reaches
    `filled` may grow in place.
    """

    def __init__(self, keys: Tensor, values: Tensor, more: int) -> None:
        length = keys.shape[-2]
        capacity = length + more + max(64, length // 4)
        self.keys, self.values = _widened(keys, capacity), _widened(values, capacity)
        self.filled = length

    def takes(self, stop: int, more: int) -> bool:
        """Whether `more` tokens fit behind `stop` without touching what another layer holds."""
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
    """Projected and scaled keys of relative distances, the same for every row."""

    keys: Tensor
    """(u h r k), one a step down from distance `high`; u is 2 where half the batch is mirrored."""
    high: int

    def covers(self, high: int, low: int) -> bool:
        """Whether all distances from `high` down to `low` are here."""
        return high <= self.high and self.high - self.keys.shape[-2] < low

    def between(self, high: int, low: int) -> Tensor:
        """Those of distances `high` down to `low`, a view."""
        return self.keys[:, :, self.high - high : self.high - low + 1]


@dataclass(frozen=True)
class LayerMemory:
    """One block's share of a memory: hidden states, or keys and values."""

    hidden: Tensor | None = None
    """(b m d): the block's inputs."""
    keys: Tensor | None = None
    """(b g m k)."""
    values: Tensor | None = None
    """(b g m k)."""
    cross_keys: Tensor | None = None
    """(b g s k): those of an encoder's states."""
    cross_values: Tensor | None = None
    """(b g s k)."""
    distances: DistanceKeys | None = None
    """Projected once, they serve every later step."""
    buffer: GrowingBuffer | None = field(default=None, repr=False, compare=False)
    """What keys and values view up to `stop`."""
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

    def with_tensors(self, tensors: Mapping[str, Any]) -> "LayerMemory":
        """The same with other tensors, by name, in buffers of their own."""
        return replace(self, buffer=None, stop=0, **tensors)

    def detach(self) -> "LayerMemory":
        """The same values outside the autograd graph."""
        if not torch.is_grad_enabled():
            return self
        return self.with_tensors({name: value.detach() for name, value in self.tensors().items()})

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor, "LayerMemory"]:
        """All keys and values (b g m+i k) behind new ones (b g i k), and the memory that holds
        them.

        Outside autograd nothing of the past is copied while the shared buffer has space; appending
        to the same value twice copies.
        """
        if self.keys is None or self.values is None:
            return keys, values, LayerMemory(keys=keys, values=values)
        if torch.is_grad_enabled() or transformed():
            keys = torch.cat((self.keys, keys), dim=-2)
            values = torch.cat((self.values, values), dim=-2)
            return keys, values, LayerMemory(keys=keys, values=values)
        buffer, start = self.buffer, self.stop - self.keys.shape[-2]
        if buffer is None or not buffer.takes(self.stop, keys.shape[-2]):
            buffer, start = GrowingBuffer(self.keys, self.values, keys.shape[-2]), 0
        stop = buffer.write(keys, values)
        keys, values = buffer.keys[:, :, start:stop], buffer.values[:, :, start:stop]
        return keys, values, LayerMemory(keys=keys, values=values, buffer=buffer, stop=stop)

    def between(self, start: int, stop: int) -> "LayerMemory":
        """Remembered tokens `start` to `stop`, a view."""
        if self.keys is None or self.values is None:
            if self.hidden is None:
                return self
            return replace(self, hidden=self.hidden[:, start:stop])
        if not transformed() and start == 0 and stop == self.keys.shape[-2]:
            return self
        keys, values = self.keys[:, :, start:stop], self.values[:, :, start:stop]
        end = 0
        if self.buffer is not None:
            end = self.stop - (self.keys.shape[-2] - stop)
        return replace(self, keys=keys, values=values, stop=end)


def _widened(tensor: Tensor, capacity: int) -> Tensor:
    buffer = tensor.new_empty(*tensor.shape[:2], capacity, tensor.shape[-1])
    buffer[:, :, : tensor.shape[-2]] = tensor
    return buffer

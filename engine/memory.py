"""What earlier tokens leave behind: one immutable value for key/value caches and for recurrence."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from engine.errors import InputError
from engine.spec import Spec, axes


@dataclass(frozen=True)
class LayerMemory:
    """One block's share: its inputs `hidden` (b m d), or `keys` and `values` (b g m k), and those of an encoder."""

    hidden: Tensor | None = None
    keys: Tensor | None = None
    values: Tensor | None = None
    cross_keys: Tensor | None = None
    cross_values: Tensor | None = None

    def extended(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Remembered keys and values (b g m k) followed by new ones (b g i k)."""
        if self.keys is None or self.values is None:
            return keys, values
        return torch.cat((self.keys, keys), dim=-2), torch.cat((self.values, values), dim=-2)


@dataclass(frozen=True)
class Memory:
    """Remembered tokens of a batch, batch first; never changed once made.

    `layers` hold hidden states (training: gradients reach the projections through them) or keys and values (inference).
    `mask` (b m) is True for real tokens, or None where all are real. `seen` counts the positions given out so far, one
    number for all rows or one a row (b). `spec` names the network that made it.
    """

    layers: tuple[LayerMemory, ...]
    length: int
    mask: Tensor | None = None
    seen: Tensor | int = 0
    spec: str = ""

    @property
    def batch(self) -> int:
        """How many rows are remembered."""
        return next(value.shape[0] for value in vars(self.layers[0]).values() if value is not None)

    @property
    def hidden_states(self) -> tuple[Tensor, ...]:
        """The published `mems`: one tensor (b m d) a block (raises InputError where keys and values are held)."""
        if any(layer.hidden is None for layer in self.layers):
            raise InputError("this memory holds keys and values, not hidden states")
        return tuple(layer.hidden for layer in self.layers if layer.hidden is not None)

    def _map(self, change: Any) -> "Memory":
        """This memory with `change` applied to every tensor that has a batch axis."""
        layers = tuple(
            replace(layer, **{name: change(value) for name, value in vars(layer).items() if value is not None})
            for layer in self.layers
        )
        mask = None if self.mask is None else change(self.mask)
        return replace(
            self, layers=layers, mask=mask, seen=change(self.seen) if isinstance(self.seen, Tensor) else self.seen
        )

    def select(self, rows: Tensor) -> "Memory":
        """The rows (n) of the batch in this order: beams reordered, finished rows dropped, samples repeated."""
        return self._map(lambda tensor: tensor.index_select(0, rows))

    def detach(self) -> "Memory":
        """The same values outside the autograd graph."""
        return self._map(lambda tensor: tensor.detach())

    def to(self, *args: Any, **kwargs: Any) -> "Memory":
        """Moved or cast like a tensor; masks and counts keep their dtype."""
        return self._map(
            lambda tensor: tensor.to(*args, **kwargs) if tensor.is_floating_point() else _move(tensor, *args, **kwargs)
        )

    def last(self, length: int) -> "Memory":
        """The newest `length` tokens."""
        if length >= self.length:
            return self
        start = self.length - length
        layers = tuple(
            LayerMemory(
                hidden=None if layer.hidden is None else layer.hidden[:, start:],
                keys=None if layer.keys is None else layer.keys[:, :, start:],
                values=None if layer.values is None else layer.values[:, :, start:],
                cross_keys=layer.cross_keys,
                cross_values=layer.cross_values,
            )
            for layer in self.layers
        )
        return replace(self, layers=layers, length=length, mask=None if self.mask is None else self.mask[:, start:])


def _move(tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    moved = torch.empty(0, dtype=torch.float32).to(*args, **kwargs)
    return tensor.to(moved.device)


def zero_memory(spec: Spec, batch: int, like: Tensor) -> Memory | None:
    """The memory that a recurrent spec starts with: full of zero states where `initial` says so, else none."""
    if not isinstance(spec.memory, axes.Recurrent) or spec.memory.initial != "zeros" or not spec.memory.length:
        return None
    states = like.new_zeros(batch, spec.memory.length, spec.dims.model)
    return Memory((LayerMemory(hidden=states),) * spec.dims.layers, spec.memory.length, spec=spec.name)


def remember(spec: Spec, past: LayerMemory, entered: Tensor, made: LayerMemory) -> LayerMemory:
    """What a block leaves behind, from its past, its inputs (b i d), and its keys and values (b g m+i k).

    Recurrent memory keeps the form that it came in, hidden states at first; these are detached (Dai et al. 2019, 3.2).
    """
    if not isinstance(spec.memory, axes.Recurrent):
        return made
    length, new = spec.memory.length, entered.shape[1]
    reuse = new if spec.memory.reuse is None else min(new, spec.memory.reuse)
    if past.keys is None:
        hidden = entered[:, :reuse].detach()
        hidden = hidden if past.hidden is None else torch.cat((past.hidden, hidden), dim=1)
        return replace(made, hidden=_newest(hidden, length, 1), keys=None, values=None)
    assert made.keys is not None and made.values is not None
    stop = made.keys.shape[-2] - new + reuse
    keys, values = (_newest(part[:, :, :stop].detach(), length, 2) for part in (made.keys, made.values))
    return replace(made, keys=keys, values=values)


def _newest(rows: Tensor, length: int | None, axis: int) -> Tensor:
    start = 0 if length is None else max(0, rows.shape[axis] - length)
    return rows.narrow(axis, start, rows.shape[axis] - start)


def join_masks(past: Memory | None, real: Tensor | None, batch: int, new: int, device: torch.device) -> Tensor | None:
    """True for real tokens among remembered and `new` ones, (b m+i), or None where nothing is known to be padding."""
    length = past.length if past is not None else 0
    mask = past.mask if past is not None else None
    if mask is None and real is None:
        return None
    mask = torch.ones(batch, length, dtype=torch.bool, device=device) if mask is None else mask
    real = torch.ones(batch, new, dtype=torch.bool, device=device) if real is None else real
    return torch.cat((mask, real), dim=1)


def memory_after(
    spec: Spec, past: Memory | None, layers: tuple[LayerMemory, ...], mask: Tensor | None, new: int, seen: Tensor | int
) -> Memory:
    """The memory after `new` tokens; `mask` (b m+i) covers the remembered and the new ones."""
    total = (past.length if past is not None else 0) + new
    if isinstance(spec.memory, axes.Recurrent):
        if spec.memory.reuse is not None and mask is not None:
            mask = mask[:, : total - new + min(new, spec.memory.reuse)]
        mask = None if mask is None else _newest(mask, spec.memory.length, 1)
    first = layers[0].hidden if layers[0].hidden is not None else layers[0].keys
    assert first is not None
    return Memory(layers, first.shape[-2], mask, seen, spec.name)

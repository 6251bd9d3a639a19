"""What earlier tokens leave behind: one immutable value for key/value caches and for recurrence."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from engine.arguments import read_ids
from engine.errors import InputError
from engine.memory.file import read_memory, write_memory
from engine.memory.layer import LayerMemory

Keeps = Literal["segments", "tokens", "all"]
Form = Literal["hidden_states", "keys_values"]


@dataclass(frozen=True)
class Memory:
    """Remembered tokens of a batch, batch first; never changed once made."""

    layers: tuple[LayerMemory, ...]
    """Hidden states (gradients reach the projections through them), or keys and values."""
    length: int
    """How many tokens are remembered."""
    mask: Tensor | None = None
    """(b m): True for real tokens; None where all are real."""
    seen: Tensor | int = 0
    """How many positions were given out so far, one number for all rows or one a row (b)."""
    spec: str = ""
    """The name of the network that made it."""
    keeps: Keeps = "segments"
    """What a recurrent spec keeps: `segments` as in training, by length and reuse; `tokens` the
    newest of all; `all` of them, where memory stands for the whole text so far."""
    vacant: Tensor | None = None
    """(b): how many of the oldest places of each row hold nothing, since its text began later."""

    @property
    def batch(self) -> int:
        """How many rows are remembered."""
        return self._any().shape[0]

    @property
    def dtype(self) -> torch.dtype:
        """Of the states, keys and values."""
        return self._any().dtype

    @property
    def projected(self) -> bool:
        """Whether keys and values are held, and not hidden states."""
        return self.layers[0].keys is not None

    def _any(self) -> Tensor:
        return next(iter(self.layers[0].tensors().values()))

    @property
    def hidden_states(self) -> tuple[Tensor, ...]:
        """The published `mems`: one tensor (b m d) a block (raises InputError where keys and values
        are held).
        """
        if any(layer.hidden is None for layer in self.layers):
            raise InputError(
                "this memory holds keys and values, not hidden states: ask for "
                "use_memory='hidden_states' from its start"
            )
        return tuple(layer.hidden for layer in self.layers if layer.hidden is not None)

    def _map(self, change: Callable[[Tensor], Tensor]) -> "Memory":
        """This memory with `change` applied to every tensor that has a batch axis."""
        layers = tuple(
            layer.with_tensors({name: change(value) for name, value in layer.tensors().items()})
            for layer in self.layers
        )
        mask, seen, vacant = self.mask, self.seen, self.vacant
        if mask is not None:
            mask = change(mask)
        if isinstance(seen, Tensor):
            seen = change(seen)
        if vacant is not None:
            vacant = change(vacant)
        return replace(self, layers=layers, mask=mask, seen=seen, vacant=vacant)

    def select(self, rows: Tensor) -> "Memory":
        """The rows (n) of the batch in this order: beams reordered, finished rows dropped, samples
        repeated.
        """
        rows = read_ids("rows", rows, self._any().device)
        if rows.dim() != 1:
            raise InputError(f"rows has shape {tuple(rows.shape)}, expected one axis of numbers")
        return self._map(lambda tensor: tensor.index_select(0, rows))

    @staticmethod
    def concatenate(memories: Sequence["Memory"]) -> "Memory":
        """The rows of several memories as one batch (raises InputError where spec, length or form
        differ).
        """
        if not isinstance(memories, Sequence):
            raise InputError(f"memories are a {type(memories).__name__}, expected a list of them")
        _check_stack(memories)
        first = memories[0]
        layers = tuple(
            layers[0].with_tensors(
                {
                    name: torch.cat([layer.tensors()[name] for layer in layers])
                    for name in layers[0].tensors()
                }
            )
            for layers in zip(*(memory.layers for memory in memories), strict=True)
        )
        stacked = replace(first, layers=layers, mask=None, vacant=None)
        if any(memory.mask is not None for memory in memories):
            stacked = replace(stacked, mask=torch.cat([one._full_mask() for one in memories]))
        if any(isinstance(one.seen, Tensor) or one.seen != first.seen for one in memories):
            stacked = replace(stacked, seen=torch.cat([one.seen_by_row() for one in memories]))
        if any(memory.vacant is not None for memory in memories):
            vacant = torch.cat([memory._vacant_by_row() for memory in memories])
            stacked = replace(stacked, vacant=vacant)
        return stacked

    def _full_mask(self) -> Tensor:
        if self.mask is not None:
            return self.mask
        return torch.ones(self.batch, self.length, dtype=torch.bool, device=self._any().device)

    def seen_by_row(self) -> Tensor:
        """How many positions each row was given so far (b)."""
        if isinstance(self.seen, Tensor):
            return self.seen
        return torch.full((self.batch,), self.seen, device=self._any().device)

    def _vacant_by_row(self) -> Tensor:
        if self.vacant is not None:
            return self.vacant
        return torch.zeros(self.batch, dtype=torch.long, device=self._any().device)

    def held(self) -> Tensor | None:
        """True for places that hold a token of their row's text, (b m); None where all do."""
        if self.vacant is None:
            return None
        return torch.arange(self.length, device=self.vacant.device) >= self.vacant[:, None]

    def with_rows(self, rows: Tensor, fresh: "Memory | None") -> "Memory":
        """This memory where `rows` (b), True for those to begin anew, hold what `fresh` does (1 m)
        and nothing before.

        An encoder's keys and values stay.
        """
        if not isinstance(rows, Tensor) or rows.dtype != torch.bool or rows.dim() != 1:
            raise InputError("rows are a tensor (b) of bools, True for those to begin anew")
        empty = self.length
        if fresh is not None:
            check_is_memory(fresh)
            empty -= fresh.length
        layers = []
        for index, layer in enumerate(self.layers):
            begun: dict[str, Tensor] = {}
            if fresh is not None:
                begun = fresh.layers[index].tensors()
            tensors = {
                name: torch.where(
                    rows.view(-1, *[1] * (value.dim() - 1)),
                    _oldest_empty(begun.get(name), value),
                    value,
                )
                for name, value in layer.tensors().items()
                if name in ("hidden", "keys", "values")
            }
            layers.append(layer.with_tensors(tensors))
        mask = self.mask
        if mask is not None:
            held = torch.arange(self.length, device=rows.device) >= empty
            mask = torch.where(rows[:, None], held, mask)
        return replace(
            self,
            layers=tuple(layers),
            mask=mask,
            seen=torch.where(rows, 0, self.seen_by_row()),
            vacant=torch.where(rows, empty, self._vacant_by_row()),
        )

    def detach(self) -> "Memory":
        """The same values outside the autograd graph."""
        return self._map(lambda tensor: tensor.detach())

    def to(self, *args: Any, **kwargs: Any) -> "Memory":
        """Moved or cast like a tensor; masks and counts keep their dtype."""

        try:
            torch.empty(0).to(*args, **kwargs)
        except (RuntimeError, TypeError) as error:
            reason = str(error).splitlines()[0]
            raise InputError(
                f"a memory is moved like a tensor, to a device or a dtype of floats: {reason}"
            ) from None

        def move(tensor: Tensor) -> Tensor:
            if tensor.is_floating_point():
                return tensor.to(*args, **kwargs)
            return _move(tensor, *args, **kwargs)

        moved = self._map(move)
        layers = []
        for layer in moved.layers:
            if layer.distances is not None:
                keys = move(layer.distances.keys)
                layer = replace(layer, distances=replace(layer.distances, keys=keys))
            layers.append(layer)
        return replace(moved, layers=tuple(layers))

    def last(self, length: int) -> "Memory":
        """The newest `length` tokens (raises InputError for less than none)."""
        if not isinstance(length, int | torch.SymInt) or length < 0:
            raise InputError(f"a memory cannot keep {length} tokens")
        if length >= self.length:
            return self
        start = self.length - length
        layers = tuple(layer.between(start, self.length) for layer in self.layers)
        mask = self.mask
        if mask is not None:
            mask = mask[:, start:]
        return replace(
            self, layers=layers, length=length, mask=mask, vacant=later(self.vacant, start)
        )

    def drop_newest(self, count: int) -> "Memory":
        """All but the newest `count` tokens (raises InputError for fewer than none or more than
        there are).
        """
        if not isinstance(count, int | torch.SymInt) or not 0 <= count <= self.length:
            raise InputError(f"a memory of {self.length} tokens cannot lose {count}")
        kept = self.length - count
        layers = tuple(layer.between(0, kept) for layer in self.layers)
        counted = [known[:, kept:] for known in (self.mask, self.held()) if known is not None]
        dropped: Tensor | int = count
        if counted:
            dropped = torch.stack(counted).all(0).long().sum(-1)
        mask, vacant = self.mask, self.vacant
        if mask is not None:
            mask = mask[:, :kept]
        if vacant is not None:
            vacant = vacant.clamp(max=kept)
        return replace(
            self, layers=layers, length=kept, mask=mask, seen=self.seen - dropped, vacant=vacant
        )

    def dynamic_shapes(self, batch: Any, length: Any) -> list[dict[int, Any]]:
        """What `torch.export.export` is told of this memory in `dynamic_shapes`: its axes of rows
        and of remembered tokens.
        """
        remembered = {"hidden": 1, "keys": 2, "values": 2}
        axes_of: list[dict[int, Any]] = []
        for layer in self.layers:
            for name in layer.tensors():
                axes_of.append({0: batch})
                if name in remembered:
                    axes_of[-1][remembered[name]] = length
        axes_of.append({0: batch})
        if self.mask is not None:
            axes_of.append({0: batch, 1: length})
        if self.vacant is not None:
            axes_of.append({0: batch})
        return axes_of

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write to a safetensors file, whole or not at all; `Memory.load` reads it back to the same
        value.
        """
        tensors = {
            f"layers.{index}.{name}": value
            for index, layer in enumerate(self.layers)
            for name, value in layer.tensors().items()
        }
        if self.mask is not None:
            tensors["mask"] = self.mask
        if self.vacant is not None:
            tensors["vacant"] = self.vacant
        tensors["seen"] = torch.as_tensor(self.seen)
        about = {
            "spec": self.spec,
            "length": self.length,
            "layers": len(self.layers),
            "keeps": self.keeps,
        }
        write_memory(path, about, tensors)

    @staticmethod
    def load(path: str | os.PathLike[str], device: torch.device | str = "cpu") -> "Memory":
        """The memory that `save` wrote (raises InputError for a file that holds none, or is
        damaged).
        """
        about, layers, mask, counted, vacant = read_memory(path, device)
        seen: Tensor | int = counted
        if not counted.dim():
            seen = int(counted)
        return Memory(layers, about["length"], mask, seen, about["spec"], about["keeps"], vacant)


def _oldest_empty(newest: Tensor | None, like: Tensor) -> Tensor:
    """The newest places of a row, (1 m d) or (1 g m k), behind zeros that make it as long as
    another.
    """
    axis = like.dim() - 2
    if newest is None:
        return like.new_zeros(())
    empty = list(newest.shape)
    empty[axis] = like.shape[axis] - newest.shape[axis]
    return torch.cat((newest.new_zeros(empty), newest), dim=axis)


def later(vacant: Tensor | None, start: int) -> Tensor | None:
    """How many places of each row are vacant from place `start` on."""
    if vacant is None:
        return None
    return (vacant - start).clamp(min=0)


def _move(tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    moved = torch.empty(0, dtype=torch.float32).to(*args, **kwargs)
    return tensor.to(moved.device)


def check_is_memory(given: object) -> None:
    """Raise InputError for what is no Memory."""
    if not isinstance(given, Memory):
        raise InputError(
            f"memory is a {type(given).__name__}, expected the Memory that a call gave"
        )


def _check_stack(memories: Sequence[Memory]) -> None:
    """Raise InputError for memories that cannot be rows of one."""
    for memory in memories:
        check_is_memory(memory)
    if not memories:
        raise InputError("there is no memory to stack: give at least one")
    first = memories[0]
    for other in memories[1:]:
        if (other.spec, other.length, other.keeps) != (first.spec, first.length, first.keeps):
            raise InputError(
                f"memories of '{first.spec}' with {first.length} tokens and of '{other.spec}' with "
                f"{other.length} do not stack: they need the same spec and length"
            )
        if list(other.layers[0].tensors()) != list(first.layers[0].tensors()):
            raise InputError(
                "a memory of hidden states and one of keys and values do not stack: project both "
                "first"
            )

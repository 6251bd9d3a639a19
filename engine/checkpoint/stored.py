"""The tensors of a checkpoint under the names that its network gave them."""

from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from engine.errors import CheckpointError

# What torch.compile, fully sharded training and activation checkpointing put into the middle of a
# name.
WRAPPERS = frozenset(["_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"])
# Where training programs keep a network's tensors in a file that holds more.
STATES = ("model", "state_dict", "model_state_dict", "module", "encoder")


class Tensors(Protocol):
    """Tensors by name, each with a shape that is known before it is read, and what a file says
    beside them.
    """

    folder: Path

    def names(self) -> list[str]:
        """Names of all tensors."""
        ...

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor without reading it."""
        ...

    def read(self, name: str) -> Tensor:
        """One tensor."""
        ...

    def metadata(self) -> Mapping[str, str]:
        """Words beside the tensors."""
        ...


class InMemory:
    """Tensors that are at hand, with the place where they come from."""

    def __init__(self, folder: Path, tensors: Mapping[str, Tensor]) -> None:
        self.folder = folder
        self._tensors = tensors

    def names(self) -> list[str]:
        """Names of all tensors."""
        return list(self._tensors)

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor."""
        return tuple(self._tensors[name].shape)

    def read(self, name: str) -> Tensor:
        """One tensor."""
        return self._tensors[name]

    def metadata(self) -> Mapping[str, str]:
        """Nothing stands beside the tensors."""
        return {}


class Stored:
    """Tensors without what wrapped their network, and under the names that
    `safetensors.torch.save_model` left out.

    Raises CheckpointError where two tensors would have one name.
    """

    def __init__(self, tensors: Tensors) -> None:
        self.folder = tensors.folder
        self._tensors = tensors
        self._place = unwrapped_names(tensors.names(), tensors.folder)
        behind = {raw: name for name, raw in self._place.items()}
        left_out = unwrapped_names(tensors.metadata(), tensors.folder)
        for name, raw in left_out.items():
            kept = tensors.metadata()[raw]
            if name not in self._place and kept in behind:
                self._place[name] = kept

    def names(self) -> list[str]:
        """Names of all tensors, further names of the same one among them."""
        return list(self._place)

    def holds(self, name: str) -> bool:
        """Whether there is a tensor of that name; `*` in it stands for the number of an expert."""
        return name in self._place or name in self._of_experts

    def places(self, name: str) -> tuple[str, ...]:
        """The names in the file: of one tensor, or of that of each expert."""
        if name in self._place:
            return (self._place[name],)
        return tuple(self._of_experts[name])

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor without reading it; of experts' tensors as of one."""
        places = self.places(name)
        first, *others = (self._tensors.shape(place) for place in places)
        if name in self._place:
            return first
        for place, other in zip(places[1:], others, strict=True):
            if other != first:
                raise CheckpointError(
                    f"{self.folder}: {places[0]} is {first} and {place} {other}; experts are alike"
                )
        return (len(places), *first)

    def read(self, name: str) -> Tensor:
        """One tensor; those of experts in one."""
        parts = [self._tensors.read(place) for place in self.places(name)]
        if name in self._place:
            return parts[0]
        return torch.stack(parts)

    @cached_property
    def _of_experts(self) -> dict[str, list[str]]:
        """Names in the file that differ in one number, which counts from 0, by the name with `*` in
        its place.
        """
        numbered: dict[str, dict[int, str]] = {}
        for name, place in self._place.items():
            parts = name.split(".")
            for at, part in enumerate(parts):
                if part.isdecimal():
                    whole = ".".join([*parts[:at], "*", *parts[at + 1 :]])
                    numbered.setdefault(whole, {})[int(part)] = place
        return {
            name: [found[number] for number in range(len(found))]
            for name, found in numbered.items()
            if found.keys() == set(range(len(found)))
        }


def unwrapped_names(names: Iterable[str], where: Path) -> dict[str, str]:
    """Each name in a file by the name that it has without wrappers, `module.` of data-parallel
    training among them.
    """
    # torch.optim.swa_utils.AveragedModel keeps a counter beside the tensors.
    kept = [name for name in names if name != "n_averaged"]
    found = {raw: ".".join(part for part in raw.split(".") if part not in WRAPPERS) for raw in kept}
    while found and all(name.startswith("module.") for name in found.values()):
        found = {raw: name.removeprefix("module.") for raw, name in found.items()}
    places: dict[str, str] = {}
    for raw, name in found.items():
        if name in places:
            raise CheckpointError(
                f"{where}: {places[name]} and {raw} are two tensors of one name, {name}"
            )
        places[name] = raw
    return places


def state_in(content: Any) -> Mapping[str, Tensor] | None:
    """The tensors by name in what a file holds, at its top or under the name that training programs
    give them.
    """
    if not isinstance(content, Mapping):
        return None
    for state in (content, *(content.get(name) for name in STATES)):
        if isinstance(state, Mapping) and state and all(map(_is_named_tensor, state.items())):
            return state
    return None


def _is_named_tensor(entry: tuple[Any, Any]) -> bool:
    name, value = entry
    return isinstance(name, str) and isinstance(value, Tensor)

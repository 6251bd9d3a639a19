"""Parameters that have several names, and how `load_state_dict` treats them."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn


def shared_names(model: nn.Module) -> dict[str, list[str]]:
    """Every parameter by its first name, with all the names under which it is shared."""
    first: dict[int, str] = {}
    groups: dict[str, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        groups.setdefault(first.setdefault(id(parameter), name), []).append(name)
    return groups


def copy_further_names(model: nn.Module, state: dict[str, Any], prefix: str, _: object) -> None:
    """After a state is read: further names of a tied parameter hold copies of it.

    Some readers look up every name (accelerate's offloading), and some writers refuse tensors that
    share memory (safetensors, and with it transformers' Trainer). States that keep their variables
    are left as they are.
    """
    for _, *further in shared_names(model).values():
        for name in further:
            held = state.get(prefix + name)
            if type(held) is Tensor:
                state[prefix + name] = held.clone()


def fit_state(  # noqa: PLR0913
    model: nn.Module,
    state: dict[str, Any],
    prefix: str,
    metadata: Mapping[str, Any],
    strict: bool,
    missing: list[str],
    unexpected: list[str],
    errors: list[str],
) -> None:
    """Before a state is loaded: a tied parameter under one of its names counts under all of them.

    Adds to `errors` where tied names hold different values, or where no name is one of this
    network.
    """
    groups = shared_names(model)
    ours = {name for names in groups.values() for name in names}
    given = {name.removeprefix(prefix) for name in state if name.startswith(prefix)}
    if given and not given & ours:
        errors.append(
            f"none of its names is one of this network ({min(given)}; here: {min(ours)}): weights under the names of "
            "another library are opened by load_model, from their folder"
        )
    for names in groups.values():
        held = [name for name in names if name in given]
        if not held or len(names) == 1:
            continue
        values = [state[prefix + name] for name in held]
        if unlike := [
            name for name, value in zip(held, values, strict=True) if not _same(values[0], value)
        ]:
            errors.append(
                f"{', '.join([held[0], *unlike])} are tied here, but hold different values"
            )
        state.update({prefix + name: values[0] for name in names})


def _same(one: Any, other: Any) -> bool:
    """Whether two plain tensors hold the same values; of others, of which nothing is read, True."""
    plain = all(
        type(value) in (Tensor, nn.Parameter) and not value.is_meta for value in (one, other)
    )
    if one is other or not plain or one.shape != other.shape or one.data_ptr() == other.data_ptr():
        return True
    return torch.equal(one.detach(), other.detach().to(one.device, one.dtype))

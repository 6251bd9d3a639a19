"""The composition root: from a spec to a model with its head."""

import math
import os
from collections.abc import Mapping
from typing import Any

import torch
from pydantic import ValidationError
from torch import nn

import heads
from engine.arguments import check_dtype, check_head, check_seed, read_device
from engine.encoder_decoder import EncoderDecoder
from engine.errors import InputError, Problem, SpecError
from engine.model import Model
from engine.parameters.init import initialize
from engine.spec import Spec, SpecSource
from engine.spec import load_spec as load_plain_spec
from engine.spec.explain import explain


def load_spec(source: SpecSource, overrides: Mapping[str, Any] | None = None) -> Spec:
    """The spec at a path, under a bare name in specs/, in a dict, or itself; `overrides` are dotted
    keys with values.

    Raises SpecError with every problem at its file, line and column, or FileNotFoundError with the
    nearest name.
    """
    return load_plain_spec(source, overrides, head_options())


def head_options() -> dict[str, type[heads.HeadOptions]]:
    """The options that each registered head takes, by its name."""
    return {name: head.Options for name, head in heads.registered_heads().items()}


def shared_parts(spec: Spec) -> Mapping[str, str]:
    """What of a spec's own head another kind of head may go on with: `Head.shared_parts`."""
    name = spec.heads.default
    if name is None:
        return {}
    kind = heads.find_head(name)
    return kind.shared_parts(kind.Options.model_validate(spec.heads.options.get(name, {})))


def build_model(
    spec: SpecSource,
    head: str | None = "default",
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
    overrides: Mapping[str, Any] | None = None,
    seed: int | None = None,
    **head_options: Any,
) -> Model:
    """A model with fresh weights from a spec.

    `head` is a registered name, None for the bare backbone, or "default" for the spec's own;
    further keywords are options of that head. On the meta device nothing is allocated. With a
    `seed` nothing of the process is read or changed: any number of threads may build at once;
    without one, weights are drawn from the process's random numbers. Raises SpecError, or
    InputError for an unknown head or a network that is larger than the machine's memory.
    """
    resolved = load_spec(spec, overrides)
    place = read_device(device)
    check_dtype(dtype)
    check_seed(seed)
    model = assemble(resolved, head, **head_options)
    if place.type != "meta" and any(buffer.is_meta for buffer in model.buffers()):
        # A head's own buffers hold values from the beginning.
        model = assemble(resolved, head, device=place, **head_options)
    _allocate(model, dtype or torch.get_default_dtype(), place)
    if place.type != "meta":
        generator = None if seed is None else torch.Generator(place).manual_seed(seed)
        initialize(model, model.spec, generator=generator)
    return model


def assemble(
    spec: Spec,
    head: str | None = "default",
    *,
    device: torch.device | str = "meta",
    **head_options: Any,
) -> Model:
    """The modules of a model, their weights not yet filled."""
    check_head(head)
    name = spec.heads.default if head == "default" else head
    if head_options and name is None:
        raise InputError(f"a bare backbone has no option '{next(iter(head_options))}'")
    front = Model if spec.encoder is None else EncoderDecoder
    with torch.device(device):
        if name is None:
            return front(
                spec.model_copy(update={"heads": spec.heads.model_copy(update={"default": None})})
            )
        kind = heads.find_head(name)
        options = kind.Options.combined(spec.heads.options.get(name, {}), head_options)
        checked = _options(name, kind, options, spec)
        chosen = spec.heads.model_copy(
            update={
                "default": name,
                "options": {**spec.heads.options, name: checked.model_dump(mode="json")},
            }
        )
        spec = spec.model_copy(update={"heads": chosen})
        return front(spec, kind(spec, checked))


def _allocate(model: nn.Module, dtype: torch.dtype, device: torch.device) -> None:
    """Room for every weight, in the dtype and on the device that are asked for; shared weights stay
    shared.
    """
    size = sum(weight.numel() for weight in model.parameters()) * dtype.itemsize
    if device.type == "cpu" and size > (memory := _machine_memory()):
        raise InputError(
            f"a network of {size / 2**30:.1f} GiB does not fit into this machine's memory of "
            f"{memory / 2**30:.1f} GiB: lower dims, or give device='meta' for shapes alone"
        )
    made: dict[int, nn.Parameter] = {}
    for module in model.modules():
        for name, weight in module._parameters.items():
            if weight is None:
                continue
            if id(weight) not in made:
                empty = torch.empty(weight.shape, dtype=dtype, device=device)
                made[id(weight)] = nn.Parameter(empty, requires_grad=weight.requires_grad)
            module._parameters[name] = made[id(weight)]
        for name, buffer in module._buffers.items():
            if buffer is not None and buffer.is_floating_point():
                module._buffers[name] = buffer.to(dtype)


def _machine_memory() -> float:
    """Bytes of memory in this machine; without limit where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return math.inf


def _options(name: str, kind: type[heads.Head], options: Mapping[str, Any], spec: Spec) -> Any:
    found: list[tuple[tuple[str, ...], str]] = []
    checked = None
    try:
        checked = kind.Options.model_validate(options)
        found = [(tuple(path.split(".")), text) for path, text in checked.problems(spec)]
    except ValidationError as error:
        found = explain(error, options, kind.Options)
    if found:
        raise SpecError(
            Problem(".".join(("heads", "options", name, *path)), text) for path, text in found
        )
    return checked

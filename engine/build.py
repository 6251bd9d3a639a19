"""The composition root: from a spec to a model with its head."""

from collections.abc import Mapping
from typing import Any

import torch
from pydantic import ValidationError

import heads
from engine.errors import InputError, Problem, SpecError
from engine.init import initialize
from engine.model import Model
from engine.spec import Spec, SpecSource
from engine.spec import load_spec as load_plain_spec
from engine.spec.explain import explain


def load_spec(source: SpecSource, overrides: Mapping[str, Any] | None = None) -> Spec:
    """The spec at a path, under a bare name in specs/, in a dict, or itself; `overrides` are dotted keys with values.

    Raises SpecError with every problem at its file, line and column, or FileNotFoundError with the nearest name.
    """
    return load_plain_spec(source, overrides, head_options())


def head_options() -> dict[str, type[heads.HeadOptions]]:
    """The options that each registered head takes, by its name."""
    return {name: head.Options for name, head in heads.registered_heads().items()}


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

    `head` is a registered name, None for the bare backbone, or "default" for the spec's own; further keywords are options
    of that head. On the meta device nothing is allocated. `seed` leaves the global random state as it was.
    Raises SpecError, or InputError for an unknown head.
    """
    resolved = load_spec(spec, overrides)
    with torch.random.fork_rng(enabled=seed is not None):
        model = assemble(resolved, head, dtype=dtype, device=device, **head_options)
        if next(model.parameters()).device.type != "meta":
            if seed is not None:
                torch.manual_seed(seed)
            initialize(model, model.spec)
    return model


def assemble(
    spec: Spec,
    head: str | None = "default",
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
    **head_options: Any,
) -> Model:
    """The modules of a model, their weights not yet filled."""
    name = spec.heads.default if head == "default" else head
    if head_options and name is None:
        raise InputError(f"a bare backbone has no option '{next(iter(head_options))}'")
    previous = torch.get_default_dtype()
    torch.set_default_dtype(dtype or previous)
    try:
        with torch.device(device if device is not None else torch.get_default_device()):
            if name is None:
                return Model(spec.model_copy(update={"heads": spec.heads.model_copy(update={"default": None})}))
            kind = heads.find_head(name)
            options = kind.Options.combined(spec.heads.options.get(name, {}), head_options)
            checked = _options(name, kind, options, spec)
            chosen = spec.heads.model_copy(
                update={"default": name, "options": {**spec.heads.options, name: checked.model_dump(mode="json")}}
            )
            spec = spec.model_copy(update={"heads": chosen})
            return Model(spec, kind(spec, checked))
    finally:
        torch.set_default_dtype(previous)


def _options(name: str, kind: type[heads.Head], options: Mapping[str, Any], spec: Spec) -> Any:
    found: list[tuple[tuple[str, ...], str]] = []
    checked = None
    try:
        checked = kind.Options.model_validate(options)
        found = [(tuple(path.split(".")), text) for path, text in checked.problems(spec)]
    except ValidationError as error:
        found = explain(error, options, kind.Options)
    if found:
        raise SpecError(Problem(".".join(("heads", "options", name, *path)), text) for path, text in found)
    return checked

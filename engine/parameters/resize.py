"""A network's vocabulary, grown or shrunk in place."""

import torch
from torch import nn

from engine.errors import InputError
from engine.kernels.int8 import holds_int8
from engine.network.network import Network
from engine.parameters.init import initialize
from engine.spec import Spec, load_spec


@torch.no_grad()
def resize_vocabulary(model: Network, size: int) -> None:
    """Give every table and bias that has a row a token `size` rows; an adaptive vocabulary changes
    in its last cluster.

    Rows that stay keep their values, new ones are drawn as the spec's `init` says; what is shared
    must be tied again. Parameters that change shape are new objects, so an optimizer must be made afterwards. Raises
    InputError for a model on the meta device or with 8-bit weights, and SpecError where the spec
    cannot have that vocabulary.
    """
    if next(model.parameters()).is_meta:
        raise InputError(
            "a model on the meta device has no rows to keep: build it with the vocabulary that it should have"
        )
    if holds_int8(model):
        raise InputError(
            "a model with 8-bit weights keeps its vocabulary: resize it loaded without weights='int8', and save that"
        )
    spec = load_spec(model.spec, {"dims.vocab": size})
    with torch.device("meta"):
        head = None if model.head is None else type(model.head)(spec, model.head.options)
        wanted = type(model)(spec, head)
    changed = [
        name
        for name, parameter in wanted.named_parameters()
        if parameter.shape != model.get_parameter(name).shape
    ]
    old = {name: model.get_parameter(name) for name in changed}
    for name, before in old.items():
        shape = wanted.get_parameter(name).shape
        fresh = torch.empty(shape, dtype=before.dtype, device=before.device)
        _put(model, name, nn.Parameter(fresh, requires_grad=before.requires_grad))
    _settle(model, wanted, spec)
    initialize(model, spec, only=set(changed))
    for name, before in old.items():
        kept = min(len(before), wanted.get_parameter(name).shape[0])
        model.get_parameter(name)[:kept] = before[:kept]


def _put(model: nn.Module, name: str, parameter: nn.Parameter) -> None:
    path, _, last = name.rpartition(".")
    setattr(model.get_submodule(path), last, parameter)


def _settle(model: Network, wanted: Network, spec: Spec) -> None:
    """What the modules know of their sizes, as in a model that was built with them."""
    model.spec = spec
    for path, module in wanted.named_modules():
        if path.removeprefix("encoder.").split(".")[0] in ("embeddings", "head"):
            known = {
                name: value
                for name, value in vars(module).items()
                if name != "training" and name[0] != "_"
            }
            vars(model.get_submodule(path)).update(known)

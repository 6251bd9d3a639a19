"""Which layers of a network an adapter stands beside, and which weights learn as they are."""

from collections.abc import Iterator

from torch import nn

from engine.build import build_model
from engine.errors import InputError, SpecError, nearest
from engine.model import Model
from engine.parameters.ties import shared_names
from engine.spec import Spec
from engine.spec.intact import Problem
from engine.training.recipe.fit import HEADS
from engine.training.recipe.model import Recipe
from engine.training.recipe.parts import parts_of
from engine.training.recipe.sections import LoraAdapter


def adapted_layers(model: Model, section: LoraAdapter) -> list[str]:
    """Names of the linear layers that have updates: those of `on` that do not train whole."""
    whole = set(trained_names(model, section))
    return [
        name
        for name in _linear_layers(model)
        if f"{name}.weight" not in whole and any(_ends(name, end) for end in section.on)
    ]


def trained_names(model: Model, section: LoraAdapter) -> list[str]:
    """Names of the parameters that train as they are."""
    names = [name for name, _ in model.named_parameters()]
    if section.also is not None:
        return [name for name in names if any(_within(name, part) for part in section.also)]
    if model.load_report is None:
        return [name for name in names if _within(name, "head")]
    anew = {*model.load_report.initialised, *model.load_report.other_shape}
    return [name for name in names if name in anew]


def adapter(recipe: Recipe, spec: Spec) -> Iterator[Problem]:
    """Names in an adapter are those of layers and parts that the network has."""
    section = recipe.adapter
    if section is None:
        return
    try:
        model = build_model(spec, _head(recipe), device="meta", **recipe.model.options)
    except (InputError, SpecError):  # told by the rules about the head and its options
        return
    yield from _names(model, section)
    yield from _layers(model, section)


def _names(model: Model, section: LoraAdapter) -> Iterator[Problem]:
    layers, network = _linear_layers(model), model.spec.name
    ends = list(dict.fromkeys(name.rpartition(".")[2] for name in layers))
    for number, end in enumerate(section.on):
        if not any(_ends(name, end) for name in layers):
            text = f"no linear layer of {network} is called '{end}'{nearest(end, ends)}"
            yield f"adapter.on.{number}", text
    parameters = [name for name, _ in model.named_parameters()]
    parts = [name for name, module in model.named_modules() if [*module.parameters()]]
    for number, part in enumerate(section.also or ()):
        if not any(_within(name, part) for name in parameters):
            text = f"no part of {network} with weights of its own is called '{part}'"
            yield f"adapter.also.{number}", text + nearest(part, parts)


def _layers(model: Model, section: LoraAdapter) -> Iterator[Problem]:
    shared, names = shared_names(model), adapted_layers(model, section)
    if not names:
        yield "adapter.on", "these layers train as they are (adapter.also): leave the adapter out"
    for name in names:
        group = next(group for group in shared.values() if f"{name}.weight" in group)
        if len(group) > 1:
            text = f"{name} shares its weight ({', '.join(group)}): an update beside one of them"
            yield "adapter.on", f"{text} could not be merged"


def _head(recipe: Recipe) -> str:
    if recipe.model.head is not None:
        return recipe.model.head
    kinds: list[str] = [part.objective.kind for part in parts_of(recipe)]
    if recipe.task is not None:
        kinds = [recipe.task.kind]
    return HEADS[kinds[0]][0] if kinds else "default"


def _linear_layers(model: Model) -> list[str]:
    return [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]


def _ends(name: str, end: str) -> bool:
    return f".{name}".endswith(f".{end}")


def _within(name: str, part: str) -> bool:
    return f"{name}.".startswith(f"{part}.")

"""Adapters: small matrices that learn beside the frozen weights of a network (Hu et al. 2021), by
peft.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from engine.checkpoint.files import Weights
from engine.errors import CheckpointError
from engine.model import Model
from engine.training.recipe.adapted import adapted_layers, trained_names
from engine.training.recipe.sections import LoraAdapter
from engine.training.run.step import mixed_seed
from tokenization.extras import import_extra

FOLDER = "adapter"
_FILE = "adapter_model.safetensors"
_NAME = "default"  # the one adapter, as peft calls it


def require_peft() -> Any:
    """peft; raises MissingExtraError where it is not installed."""
    return import_extra("peft", "lora", "a recipe with an adapter")


class Adapter:
    """Updates beside the linear layers of a network, whose own weights are frozen.

    The layers that have updates become peft's: their own weights are called `base_layer`. What the
    section says is as `broken_rules` asks.
    """

    def __init__(self, model: Model, section: LoraAdapter, seed: int, base: str | None) -> None:
        peft = require_peft()
        layers, whole = adapted_layers(model, section), trained_names(model, section)
        self.config = peft.LoraConfig(
            r=section.rank,
            lora_alpha=section.alpha,
            lora_dropout=section.dropout,
            target_modules=layers,
            modules_to_save=_owners(whole) or None,
            base_model_name_or_path=base,
            inference_mode=True,
        )
        # peft takes the modules that train whole out of their places; they stay in them here.
        injected = peft.LoraConfig(
            **{**self.config.to_dict(), "modules_to_save": None, "inference_mode": False}
        )
        with torch.random.fork_rng():
            torch.manual_seed(mixed_seed(seed))
            peft.inject_adapter_in_model(injected, model)
        for name in whole:
            model.get_parameter(name).requires_grad_(True)
        self.model = model
        self.frozen = _digest(p for p in model.parameters() if not p.requires_grad)
        """A digest of the frozen weights, which checkpoints hold no copy of."""
        self.files = {
            name: f"base_model.model.{name.replace(f'.{_NAME}.', '.')}"
            for name, parameter in model.named_parameters()
            if parameter.requires_grad
        }
        """What is learned, by name: what it is called in peft's file."""

    def merged(self, whole: Callable[[Tensor], Tensor]) -> Iterator[tuple[str, Tensor]]:
        """The parameters of the plain network, updates added to its weights; `whole` gathers."""
        for name, parameter in self.model.named_parameters():
            if f".{_NAME}." in name:
                continue
            layer, own, kind = name.rpartition(".base_layer.")
            tensor = whole(parameter)
            if own and kind == "weight":
                tensor = tensor + self._update(layer, whole)
            yield name.replace(".base_layer.", "."), tensor

    def learned(self, whole: Callable[[Tensor], Tensor]) -> Iterator[tuple[str, Tensor]]:
        """What was learned, by its name in peft's file; `whole` gathers."""
        for name, stored in self.files.items():
            yield stored, whole(self.model.get_parameter(name))

    def open(self, folder: Path) -> Weights:
        """What a checkpoint's adapter learned; raises CheckpointError where it has none."""
        file = folder / FOLDER / _FILE
        if not file.is_file():
            raise CheckpointError(f"{folder} holds no adapter: its run was begun without one")
        return Weights(folder, [file])

    def save(self, tensors: Iterable[tuple[str, Tensor]], folder: Path) -> None:
        """Write what was learned into a folder as peft lays it out."""
        (folder / FOLDER).mkdir()
        self.config.save_pretrained(str(folder / FOLDER))
        kept = {name: tensor.cpu().contiguous() for name, tensor in tensors}
        save_file(kept, folder / FOLDER / _FILE, metadata={"format": "pt"})

    def _update(self, layer: str, whole: Callable[[Tensor], Tensor]) -> Tensor:
        module: Any = self.model.get_submodule(layer)
        down, up = whole(module.lora_A[_NAME].weight), whole(module.lora_B[_NAME].weight)
        update: Tensor = (up @ down) * module.scaling[_NAME]
        return update


def _owners(names: Iterable[str]) -> list[str]:
    """The outermost modules that hold parameters of these names themselves."""
    owners = dict.fromkeys(name.rpartition(".")[0] for name in names)
    return [
        owner
        for owner in owners
        if not any(owner.startswith(f"{other}.") for other in owners if other != owner)
    ]


def _digest(parameters: Iterable[Tensor]) -> str:
    """A digest of the numbers of parameters, in their order."""
    found = hashlib.blake2b(digest_size=16)
    for parameter in parameters:
        numbers = parameter.detach().cpu().contiguous().flatten()
        found.update(numbers.view(torch.uint8).numpy().data)
    return found.hexdigest()

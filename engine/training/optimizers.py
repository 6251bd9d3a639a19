"""AdamW over groups of parameters: which decay, and at which share of the rate."""

import re
from fnmatch import fnmatchcase

from torch import nn
from torch.optim import AdamW

from engine.errors import TrainingError, nearest
from engine.model import Model
from engine.training.recipe.sections import Optimizer

# Segment terms of a score are biases in the shape of matrices (Yang et al. 2019, 2.5).
_UNDECAYED = re.compile(r"(^|\.)(\w*bias|biases\.\d+|segments)$")


def freeze(model: Model, patterns: tuple[str, ...]) -> list[str]:
    """Take parameters whose names match out of training; returns these names.

    Raises TrainingError for a pattern that matches none.
    """
    names = [name for name, _ in model.named_parameters()]
    frozen: list[str] = []
    for pattern in patterns:
        matching = [name for name in names if fnmatchcase(name, pattern)]
        if not matching:
            raise TrainingError(
                f"optimizer.frozen: '{pattern}' is no parameter's name{nearest(pattern, names)}"
            )
        frozen += matching
    for name in frozen:
        model.get_parameter(name).requires_grad_(False)
    return list(dict.fromkeys(frozen))


def make_optimizer(model: Model, section: Optimizer) -> AdamW:
    """AdamW over what is not frozen, each group with its `share` of the rate (`layer_decay`).

    Biases, norms, segment terms and single vectors do not decay. Raises TrainingError where a
    pattern of `frozen` matches nothing or nothing is left to train.
    """
    freeze(model, section.frozen)
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            share = section.layer_decay ** _below_the_top(name, len(model.blocks))
            groups.setdefault((share, decays(model, name)), []).append(parameter)
    if not groups:
        raise TrainingError("optimizer.frozen leaves no parameter to train")
    described = [
        {
            "params": parameters,
            "share": share,
            "lr": section.rate * share,
            "weight_decay": section.decay * decayed,
        }
        for (share, decayed), parameters in groups.items()
    ]
    return AdamW(described, betas=section.betas, eps=section.epsilon, fused=True)


def decays(model: Model, name: str) -> bool:
    """Whether weight decay applies to the parameter of that name."""
    if model.get_parameter(name).dim() <= 1 or _UNDECAYED.search(name):
        return False
    return not isinstance(model.get_submodule(name.rpartition(".")[0]), nn.LayerNorm | nn.RMSNorm)


def _below_the_top(name: str, layers: int) -> int:
    """How many layers stand between a parameter and the top: 0 for the last block and the head."""
    block = re.match(r"blocks\.(\d+)\.", name)
    if block is not None:
        return layers - 1 - int(block[1])
    if name.startswith(("embeddings.", "from_end.")):
        return layers
    return 0

"""Fresh weights."""

from collections.abc import Container

import torch
from torch import Tensor, nn

from engine.network.embeddings import Embeddings, TokenEmbedding
from engine.network.norms import HeadsNorm
from engine.network.positions.table import LearnedTable, SinusoidTable
from engine.spec import Spec
from engine.spec.axes import Init

ZERO_NAMES = (
    "bias",
    "biases",
    "table_bias",
    "cluster_bias",
    "projection_bias",
    "correction_bias",
)


@torch.no_grad()
def initialize(
    model: nn.Module,
    spec: Spec,
    only: Container[str] | None = None,
    generator: torch.Generator | None = None,
) -> None:
    """Fill parameters as the spec's `init` says; padding rows and plain biases with zeros.

    `only` names the parameters to fill (None: all). `generator` draws them (None: the process's
    own).
    """
    for name, parameter in model.named_parameters():
        if only is None or name in only:
            path, _, last = name.rpartition(".")
            index = 0
            if last.isdigit():
                index = int(last)
                path, _, last = path.rpartition(".")
            _fill(model.get_submodule(path), last, index, parameter, spec.init, generator)


def _fill(
    module: nn.Module,
    name: str,
    index: int,
    parameter: Tensor,
    init: Init,
    generator: torch.Generator | None,
) -> None:
    if isinstance(module, nn.LayerNorm | nn.RMSNorm | HeadsNorm) and name == "weight":
        nn.init.normal_(parameter, 1.0 - getattr(module, "offset", 0.0), init.norm, generator)
    elif name in ZERO_NAMES:
        nn.init.zeros_(parameter)
    elif isinstance(module, SinusoidTable):
        module.fill()
    elif name in ("projection", "projections"):
        _draw(
            parameter,
            init.std if init.projections is None else init.projections,
            "normal",
            generator,
        )
    elif isinstance(module, Embeddings | TokenEmbedding | LearnedTable):
        _draw(
            parameter,
            init.std if init.embeddings is None else init.embeddings,
            init.kind,
            generator,
        )
        row = module.padding_rows[index] if isinstance(module, TokenEmbedding) else None
        if isinstance(module, LearnedTable):
            row = module.padding
        if row is not None:
            parameter[row] = 0
    else:
        _draw(parameter, init.std, init.kind, generator)


def _draw(parameter: Tensor, spread: float, kind: str, generator: torch.Generator | None) -> None:
    if kind == "uniform":
        nn.init.uniform_(parameter, -spread, spread, generator)
    else:
        nn.init.normal_(parameter, 0.0, spread, generator)

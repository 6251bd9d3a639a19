"""Heads that a published checkpoint has pruned: silent heads of a whole network, with the same
answers.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from engine.errors import CheckpointError
from engine.spec import Spec

PROJECTION = re.compile(r"blocks\.(\d+)\.attention\.(query|key|value|output)\.(weight|bias)")


@dataclass(frozen=True)
class Pruned:
    """Which features of the heads a block keeps, by block; empty where no head is pruned."""

    width: int = 0
    kept: Mapping[int, tuple[int, ...]] | None = None

    def restore(self, name: str, tensor: Tensor) -> Tensor:
        """A tensor of ours with zeros where pruned heads were, which so add nothing and learn
        nothing.

        Raises CheckpointError where it does not lack what was pruned.
        """
        found = PROJECTION.fullmatch(name)
        kept = (self.kept or {}).get(int(found.group(1))) if found else None
        if found is None or kept is None or found.group(2, 3) == ("output", "bias"):
            return tensor
        axis = 1 if found.group(2) == "output" else 0
        if tensor.shape[axis] != len(kept):
            raise CheckpointError(
                f"config.json says pruned_heads, but {name} has {tensor.shape[axis]} features of "
                f"heads instead of {len(kept)}"
            )
        whole = list(tensor.shape)
        whole[axis] = self.width
        index = torch.tensor(kept, dtype=torch.long, device=tensor.device)
        return tensor.new_zeros(whole).index_copy(axis, index, tensor)


WHOLE = Pruned()


def pruned_heads(config: Mapping[str, Any], spec: Spec) -> Pruned:
    """What a config.json says of pruned heads (raises CheckpointError for heads that the network
    has not).
    """
    given = config.get("pruned_heads")
    if not given:
        return WHOLE
    dims, score = spec.dims, spec.attention
    if (
        dims.kv_heads != dims.heads
        or score.query_bias != "none"
        or spec.position.kind == "relative"
    ):
        raise CheckpointError(
            "config.json has pruned_heads, which the published code of this family does not know"
        )
    if not isinstance(given, Mapping):
        raise CheckpointError(
            f"config.json: pruned_heads should give heads a block, found {given!r}"
        )
    kept = {}
    for block, heads in given.items():
        numbers = isinstance(heads, list) and all(
            type(head) is int and 0 <= head < dims.heads for head in heads
        )
        if not (numbers and str(block).isdecimal() and int(block) < dims.layers):
            raise CheckpointError(
                f"config.json: pruned_heads says {block}: {heads!r}; there are blocks 0 to "
                f"{dims.layers - 1} with heads 0 to {dims.heads - 1}"
            )
        left = [head for head in range(dims.heads) if head not in heads]
        kept[int(block)] = tuple(head * dims.head + i for head in left for i in range(dims.head))
    return Pruned(dims.heads * dims.head, kept)

"""Memory in the form for inference: keys and values, so that nothing of the past is projected
twice.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from engine.memory import Keeps, LayerMemory, Memory, check_memory
from engine.network.block import Block
from engine.network.inputs import expect, in_range

if TYPE_CHECKING:
    from engine.model import Model


def remembers(model: "Model", keeps: Keeps = "segments") -> bool:
    """Whether the spec leaves anything behind for later tokens; `keeps`: see Memory."""
    return model.memory_policy.remembers(keeps)


def project_memory(model: "Model", memory: Memory) -> Memory:
    """Remembered hidden states as the keys and values that the blocks would make of them, exactly.

    A memory that holds keys and values already comes back as it is, and so does one whose keys
    change with every token.
    """
    if memory.projected or not model.position.keys_stay:
        return memory
    rotation = model.position.memory_rotation(memory, model.device)
    layers = []
    for block, layer in zip(model.blocks, memory.layers, strict=True):
        assert isinstance(block, Block) and layer.hidden is not None
        made = block.project(layer.hidden, rotation)
        layers.append(replace(layer, hidden=None, keys=made.keys, values=made.values))
    return replace(memory, layers=tuple(layers))


def reset_memory(model: "Model", memory: Memory, rows: Tensor | Sequence[int]) -> Memory:
    """The same memory, of which some `rows` begin a new text: their numbers, or (b) True for each."""
    check_memory(model.spec, memory, memory.batch)
    held = next(iter(memory.layers[0].tensors().values()))
    chosen = torch.as_tensor(rows, device=held.device)
    if chosen.dtype == torch.bool:
        expect("rows", chosen, (memory.batch,))
    else:
        in_range("rows", chosen, memory.batch, "the number of rows in the memory")
        nobody = torch.zeros(memory.batch, dtype=torch.bool, device=held.device)
        chosen = nobody.index_fill(0, chosen.flatten().long(), True)
    fresh = model.memory_policy.start(1, held)
    if fresh is not None and memory.projected:
        fresh = model.project_memory(fresh)
    return memory.with_rows(chosen, fresh)


def start_memory(model: "Model", batch: int, keeps: Keeps = "segments") -> Memory | None:
    """The memory that inference starts with: empty or zero-filled as the spec says, or None where
    it keeps nothing.

    `keeps`: see Memory.
    """
    spec, nothing = model.spec, partial(torch.empty, dtype=model.dtype, device=model.device)
    if not remembers(model, keeps):
        return None
    zeros = model.memory_policy.start(batch, nothing(0))
    if zeros is not None:
        return model.project_memory(replace(zeros, keeps=keeps))
    if not model.position.keys_stay:
        empty = LayerMemory(hidden=nothing(batch, 0, spec.dims.model))
    else:
        rows = nothing(batch, spec.dims.kv_heads, 0, spec.dims.head)
        empty = LayerMemory(keys=rows, values=rows)
    return Memory((empty,) * spec.dims.layers, 0, spec=spec.name, keeps=keeps)

"""Memory in the form for inference: keys and values, so that nothing of the past is projected
twice.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from engine.arguments import check_count, expect, in_range, read_tensor
from engine.memory import Keeps, LayerMemory, Memory, check_is_memory, check_memory
from engine.network.block import Block
from engine.network.network import Network


class MemoryMethods(Network):
    """A network whose memory is started, reset and projected for inference."""

    def start_memory(self, batch: int) -> Memory | None:
        """The memory that inference starts with, in the form of keys and values; None where the
        spec keeps nothing.
        """
        check_count("batch", batch)
        return start_memory(self, batch)

    def reset_memory(self, memory: Memory, rows: Tensor | Sequence[int]) -> Memory:
        """A memory of which some `rows` begin a new text, and answer from here on as rows of a
        fresh batch would.

        Rows are given by their numbers, or as (b) with True for those to begin anew; an encoder's
        keys and values stay. Raises InputError for rows that the memory does not have.
        """
        check_is_memory(memory)
        check_memory(self.spec, memory, memory.batch)
        held = next(iter(memory.layers[0].tensors().values()))
        chosen = read_tensor("rows", rows, held.device)
        if chosen.dtype == torch.bool:
            expect("rows", chosen, (memory.batch,))
        else:
            in_range("rows", chosen, memory.batch, "the number of rows in the memory")
            none = torch.zeros(memory.batch, dtype=torch.bool, device=held.device)
            chosen = none.index_fill(0, chosen.flatten().long(), True)
        fresh = self.memory_policy.start(1, held)
        if fresh is not None and memory.projected:
            fresh = self.project_memory(fresh)
        return memory.with_rows(chosen, fresh)

    def project_memory(self, memory: Memory) -> Memory:
        """Remembered hidden states as the keys and values that this model makes of them, exactly.

        A memory that holds keys and values already comes back as it is, and so does one whose keys
        change with every token.
        """
        check_is_memory(memory)
        if memory.projected or not self.position.keys_stay:
            return memory
        rotations = {
            kind.layers: kind.position.memory_rotation(memory, self.device) for kind in self.kinds
        }
        layers = []
        parts = zip(self.blocks, memory.layers, memory.hidden_states, strict=True)
        for index, (block, layer, hidden) in enumerate(parts):
            assert isinstance(block, Block)
            made = block.project(hidden, rotations[self.kind_of(index).layers])
            layers.append(replace(layer, hidden=None, keys=made.keys, values=made.values))
        return replace(memory, layers=tuple(layers))


def start_memory(network: MemoryMethods, batch: int, keeps: Keeps = "segments") -> Memory | None:
    """As the method; `keeps`: see Memory."""
    spec, policy = network.spec, network.memory_policy
    if not policy.remembers(keeps):
        return None
    empty = partial(torch.empty, dtype=network.dtype, device=network.device)
    zeros = policy.start(batch, empty(0))
    if zeros is not None:
        return network.project_memory(replace(zeros, keeps=keeps))
    if network.position.keys_stay:
        rows = empty(batch, spec.dims.kv_heads, 0, spec.dims.head)
        layer = LayerMemory(keys=rows, values=rows)
    else:
        layer = LayerMemory(hidden=empty(batch, 0, spec.dims.model))
    return Memory((layer,) * spec.dims.layers, 0, spec=spec.name, keeps=keeps)


def begin_with(
    network: MemoryMethods, given: Memory | None, batch: int, keeps: Keeps = "segments"
) -> Memory | None:
    """The memory that was given, projected, or the one that inference starts with."""
    if given is None:
        return start_memory(network, batch, keeps)
    return network.project_memory(given)

"""A memory as a node of PyTorch's trees, so that it goes through export, compile and vmap."""

from collections.abc import Iterable
from typing import Any

from torch import Tensor
from torch.utils._pytree import GetAttrKey, register_pytree_node

from engine.kernels.watched import transformed
from engine.memory.layer import LayerMemory
from engine.memory.memory import Memory


def _flatten(memory: Memory) -> tuple[list[Tensor], list[Any]]:
    """The tensors of a memory, with counts by row, and their names; distances are made anew."""
    names = [list(layer.tensors()) for layer in memory.layers]
    tensors = [value for layer in memory.layers for value in layer.tensors().values()]
    tensors.append(memory.seen_by_row())
    others = (memory.mask, memory.vacant)
    present = [tensor is not None for tensor in others]
    tensors += [tensor for tensor in others if tensor is not None]
    # An exporter would take the size of what a tensor views for one of its own.
    if not transformed():
        tensors = [_unviewed(tensor) for tensor in tensors]
    return tensors, [names, present, memory.spec, memory.keeps]


def _unviewed(tensor: Tensor) -> Tensor:
    if tensor._is_view():
        return tensor.clone()
    return tensor


def _unflatten(tensors: Iterable[Any], context: list[Any]) -> Memory:
    names, present, spec, keeps = context
    rest = iter(tensors)
    layers = tuple(LayerMemory(**{name: next(rest) for name in layer}) for layer in names)
    seen = next(rest)
    others: list[Any] = [None, None]
    for index, here in enumerate(present):
        if here:
            others[index] = next(rest)
    mask, vacant = others
    first = layers[0].hidden
    if first is None:
        first = layers[0].keys
    length = 0
    if isinstance(first, Tensor):  # torch also passes what stands for tensors
        length = first.shape[-2]
    return Memory(layers, length, mask, seen, spec, keeps, vacant)


def _flatten_with_names(memory: Memory) -> tuple[list[tuple[Any, Tensor]], list[Any]]:
    tensors, context = _flatten(memory)
    names = [f"layers_{index}_{name}" for index, layer in enumerate(context[0]) for name in layer]
    names += [
        "seen",
        *(name for name, here in zip(("mask", "vacant"), context[1], strict=True) if here),
    ]
    return [
        (GetAttrKey(name), tensor) for name, tensor in zip(names, tensors, strict=True)
    ], context


def register_memory() -> None:
    """Make a memory a node of PyTorch's trees."""
    register_pytree_node(
        Memory,
        _flatten,
        _unflatten,
        serialized_type_name="engine.Memory",
        flatten_with_keys_fn=_flatten_with_names,
    )

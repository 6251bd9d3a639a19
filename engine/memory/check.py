"""Whether a memory that a caller gives is one of this network and batch."""

from engine.errors import InputError
from engine.memory.memory import Memory
from engine.spec import Spec


def check_memory(spec: Spec, memory: Memory, batch: int) -> None:
    """Raise InputError for a memory of another network or batch."""
    if memory.spec != spec.name or len(memory.layers) != spec.dims.layers:
        raise InputError(
            f"this memory was made by '{memory.spec}' with {len(memory.layers)} layers, not by "
            f"'{spec.name}' with {spec.dims.layers}"
        )
    layer, dims = memory.layers[0], spec.dims
    expected: tuple[int, ...] = (dims.model,)
    found = next(iter(layer.tensors().values())).shape[2:]
    if layer.keys is not None:
        expected = (dims.kv_heads, dims.head)
        found = layer.keys.shape[1::2]
    if tuple(found) != expected:
        raise InputError(
            f"this memory holds states of shape {tuple(found)}, '{spec.name}' has {expected}"
        )
    lengths = [layer.length for layer in memory.layers]
    if any(length != memory.length for length in lengths):
        raise InputError(
            f"this memory holds {lengths} tokens in its layers, all of them should hold "
            f"{memory.length}"
        )
    if memory.batch != batch:
        raise InputError(f"this memory holds {memory.batch} rows, the input has {batch}")

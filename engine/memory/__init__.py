"""What earlier tokens leave behind: one immutable value for key/value caches and for recurrence."""

from engine.memory.layer import DistanceKeys, LayerMemory
from engine.memory.memory import (
    Form,
    Keeps,
    Memory,
    check_memory,
    entering,
    form_of,
    join_masks,
    longest,
    memory_after,
    remember,
    zero_memory,
)

__all__ = [
    "DistanceKeys",
    "Form",
    "Keeps",
    "LayerMemory",
    "Memory",
    "check_memory",
    "entering",
    "form_of",
    "join_masks",
    "longest",
    "memory_after",
    "remember",
    "zero_memory",
]

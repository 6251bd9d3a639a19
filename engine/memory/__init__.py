"""What earlier tokens leave behind: one immutable value for key/value caches and for recurrence."""

from engine.memory.check import check_memory
from engine.memory.layer import DistanceKeys, LayerMemory
from engine.memory.memory import Form, Keeps, Memory, check_is_memory
from engine.memory.policy import MemoryPolicy, memory_after, memory_policy, remembered_mask
from engine.memory.tree import register_memory

register_memory()

__all__ = [
    "DistanceKeys",
    "Form",
    "Keeps",
    "LayerMemory",
    "Memory",
    "MemoryPolicy",
    "check_is_memory",
    "check_memory",
    "memory_after",
    "memory_policy",
    "remembered_mask",
]

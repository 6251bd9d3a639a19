"""Task heads, found by name."""

from heads import language_modeling as language_modeling
from heads.registry import Head, HeadOptions, find_head, register_head, registered_heads

__all__ = ["Head", "HeadOptions", "find_head", "register_head", "registered_heads"]

"""Task heads, found by name, and what a new one may be made of."""

from heads import classification as classification
from heads import language_modeling as language_modeling
from heads import multiple_choice as multiple_choice
from heads.pooling import AnyPooling, Pooling
from heads.question_answering import Span, best_spans
from heads.registry import Head, HeadOptions, find_head, register_head, registered_heads

__all__ = [
    "AnyPooling",
    "Head",
    "HeadOptions",
    "Pooling",
    "Span",
    "best_spans",
    "find_head",
    "register_head",
    "registered_heads",
]

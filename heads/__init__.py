"""Task heads, found by name."""

from heads import classification as classification
from heads import language_modeling as language_modeling
from heads.question_answering import Span, best_spans
from heads.registry import Head, HeadOptions, find_head, register_head, registered_heads

__all__ = ["Head", "HeadOptions", "Span", "best_spans", "find_head", "register_head", "registered_heads"]

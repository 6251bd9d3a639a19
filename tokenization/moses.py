"""Moses text processing (Koehn et al. 2007) through sacremoses, which the extra `moses` installs.

The rules are sacremoses' own; here they are only driven faster, and in a form that can follow characters.
"""

import unicodedata
from collections.abc import Callable
from functools import lru_cache
from types import ModuleType
from typing import Any

from tokenization.edits import Drop, Edit, Strip, Substitute
from tokenization.extras import import_extra


def _sacremoses() -> ModuleType:
    return import_extra("sacremoses", "moses", "Moses word splitting")


@lru_cache(maxsize=256)
def punctuation_edits(language: str) -> tuple[Edit, ...]:
    """Moses' normalization of punctuation for a language; raises MissingExtraError without sacremoses."""
    normalizer = _sacremoses().MosesPunctNormalizer(lang=language)
    return (*(Substitute(pattern, template) for pattern, template in normalizer.substitutions), Strip())


@lru_cache(maxsize=1)
def unicode_punctuation_edits() -> tuple[Edit, ...]:
    """Moses' replacement of full-width and typographic punctuation."""
    table = _sacremoses().MosesPunctNormalizer.REPLACE_UNICODE_PUNCTUATION
    return tuple(Substitute(pattern, template) for pattern, template in table)


def is_control(char: str) -> bool:
    """Whether a character is one that does not print (Unicode categories C*)."""
    return unicodedata.category(char).startswith("C")


DROP_NON_PRINTING = Drop(is_control, clean=str.isprintable)


@lru_cache(maxsize=256)
def word_splitter(
    language: str, aggressive_dashes: bool = False, protected: tuple[str, ...] = ()
) -> Callable[[str], list[str]]:
    """A function from text to Moses words; `protected` are patterns that stay whole, dashes may become `@-@`."""
    moses = _sacremoses().MosesTokenizer(lang=language)
    # sacremoses builds sets of a hundred thousand characters at each question; these answer the same from one set.
    moses.islower = frozenset(moses.IsLower).issuperset
    letters = frozenset(moses.IsAlpha)
    moses.isanyalpha = lambda text: not letters.isdisjoint(text)
    moses.NONBREAKING_PREFIXES = frozenset(moses.NONBREAKING_PREFIXES)
    moses.NUMERIC_ONLY_PREFIXES = frozenset(moses.NUMERIC_ONLY_PREFIXES)
    settings: dict[str, Any] = {"escape": False, "aggressive_dash_splits": aggressive_dashes}
    return lambda text: moses.tokenize(text, protected_patterns=list(protected) or None, **settings)


@lru_cache(maxsize=256)
def word_joiner(language: str) -> Callable[[list[str]], str]:
    """A function from Moses words to text."""
    return _sacremoses().MosesDetokenizer(lang=language).detokenize

"""Moses text processing (Koehn et al. 2007) through sacremoses, which the extra `moses` installs.

The rules are sacremoses' own; here they are only driven faster, and in a form that can follow
characters.
"""

import re
import unicodedata
from collections.abc import Callable
from functools import lru_cache
from types import ModuleType

from tokenization.errors import TokenizationError
from tokenization.extras import import_extra
from tokenization.text.character_edits import Drop
from tokenization.text.edits import Edit, Strip, Substitute, apply_edits, needed_character


def _sacremoses() -> ModuleType:
    return import_extra("sacremoses", "moses", "Moses word splitting")


@lru_cache(maxsize=256)
def punctuation_edits(language: str) -> tuple[Edit, ...]:
    """Moses' normalization of punctuation for a language; raises MissingExtraError without
    sacremoses.
    """
    normalizer = _sacremoses().MosesPunctNormalizer(lang=language)
    return (
        *(Substitute(pattern, template) for pattern, template in normalizer.substitutions),
        Strip(),
    )


@lru_cache(maxsize=1)
def unicode_punctuation_edits() -> tuple[Edit, ...]:
    """Moses' replacement of full-width and typographic punctuation."""
    table = _sacremoses().MosesPunctNormalizer.REPLACE_UNICODE_PUNCTUATION
    return tuple(Substitute(pattern, template) for pattern, template in table)


def is_control(char: str) -> bool:
    """Whether a character is one that does not print (Unicode categories C*)."""
    return unicodedata.category(char).startswith("C")


DROP_NON_PRINTING = Drop(is_control, clean=str.isprintable)


class MosesWords:
    """Splits text into Moses words; `protected` are patterns that stay whole, `aggressive_dashes`
    makes `@-@`.

    The rules are those of sacremoses' MosesTokenizer without its escaping; each is tried only where
    it can match.
    """

    def __init__(self, language: str, aggressive_dashes: bool, protected: tuple[str, ...]) -> None:
        rules = _sacremoses().MosesTokenizer(lang=language)
        self._rules = rules
        self._protected = [
            (re.compile(pattern, re.IGNORECASE), _sure_sign(pattern)) for pattern in protected
        ]
        self._lower, self._letters = frozenset(rules.IsLower), frozenset(rules.IsAlpha)
        self._prefixes = frozenset(rules.NONBREAKING_PREFIXES)
        self._number_prefixes = frozenset(rules.NUMERIC_ONLY_PREFIXES)
        self._before = [Substitute(*rules.PAD_NOT_ISALNUM)]
        if aggressive_dashes:
            self._before.append(Substitute(*rules.AGGRESSIVE_HYPHEN_SPLIT))
        apostrophes = {
            "en": rules.ENGLISH_SPECIFIC_APOSTROPHE,
            "fr": rules.FR_IT_SPECIFIC_APOSTROPHE,
            "it": rules.FR_IT_SPECIFIC_APOSTROPHE,
        }.get(language, [rules.NON_SPECIFIC_APOSTROPHE])
        commas = (rules.COMMA_SEPARATE_1, rules.COMMA_SEPARATE_2, rules.COMMA_SEPARATE_3)
        self._after = [Substitute(*rule) for rule in (*commas, *apostrophes)]
        self._last = Substitute(*rules.TRAILING_DOT_APOSTROPHE)

    def __call__(self, text: str) -> list[str]:
        words = text.split()
        if not words:
            return []
        # One space for each run, those at the ends too: a protected pattern may need them.
        text = " " * text[0].isspace() + " ".join(words) + " " * text[-1].isspace()
        if not text.isprintable():
            text = self._rules.ASCII_JUNK[0].sub("", text)
        kept: dict[str, str] = {}
        if self._protected:
            text, kept = self._protect(text)
        text = apply_edits(self._before, text.strip())
        dots = ".." in text
        if dots:
            text = self._rules.replace_multidots(text)
        text = apply_edits(self._after, text)
        if "." in text:
            text = self._last.apply(" ".join(self._split_periods(text.split())))
        for mark, original in kept.items():
            text = text.replace(mark, original)
        # A text can also spell the mark of several dots itself; sacremoses restores that one too.
        if dots or "MULTI" in text:
            text = self._rules.restore_multidots(text)
        return text.split()

    def _protect(self, text: str) -> tuple[str, dict[str, str]]:
        found = [
            match.group()
            for pattern, sign in self._protected
            if sign in text
            for match in pattern.finditer(text)
        ]
        if not found:
            return text, {}
        if len(found) > self._rules.MAX_PROTECTED_TOKENS:
            raise TokenizationError(
                f"a text holds {len(found)} tokens that never_split protects, more than "
                f"{self._rules.MAX_PROTECTED_TOKENS}: tokenize it in smaller parts"
            )
        stem = self._rules.unused_protect_marker(text)
        marks = {f"{stem}{index:03}": original for index, original in enumerate(found)}
        for mark, original in sorted(marks.items(), key=lambda item: len(item[1]), reverse=True):
            text = text.replace(original, mark)
        return text, marks

    def _split_periods(self, words: list[str]) -> list[str]:
        """Part a final period from its word, unless the word is an abbreviation or the sentence
        goes on after it.
        """
        for index, word in enumerate(words):
            if word[-1] != "." or len(word) == 1:
                continue
            stem = word[:-1]
            following = words[index + 1] if index + 1 < len(words) else ""
            kept = "." in stem and not self._letters.isdisjoint(stem)
            kept |= stem in self._prefixes and stem not in self._number_prefixes
            kept |= following[:1] in self._lower
            kept |= stem in self._number_prefixes and following[:1] in _DIGITS
            if not kept:
                words[index] = f"{stem} ."
        return words


_DIGITS = frozenset("0123456789")


def _sure_sign(pattern: str) -> str:
    sign = needed_character(pattern)
    if sign.isalpha():
        return ""
    return sign


@lru_cache(maxsize=256)
def word_splitter(
    language: str, aggressive_dashes: bool = False, protected: tuple[str, ...] = ()
) -> Callable[[str], list[str]]:
    """The splitter of a language, made once; raises MissingExtraError without sacremoses."""
    return MosesWords(language, aggressive_dashes, protected)


@lru_cache(maxsize=256)
def word_joiner(language: str) -> Callable[[list[str]], str]:
    """A function from Moses words to text."""
    detokenizer = _sacremoses().MosesDetokenizer(lang=language)
    return lambda words: str(detokenizer.detokenize(words))

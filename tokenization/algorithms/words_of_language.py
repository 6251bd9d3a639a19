"""XLM's way from text to words: normalize, split as the language needs, lower-case and remove
accents.
"""

import unicodedata
from collections.abc import Callable
from functools import lru_cache

from tokenization.options import BytePairOptions
from tokenization.text.aligned import AlignedText, concatenate, locate_words
from tokenization.text.character_edits import Decompose, Translate
from tokenization.text.edits import Edit, LowerCase, apply_edits, apply_edits_aligned
from tokenization.text.moses import (
    DROP_NON_PRINTING,
    punctuation_edits,
    unicode_punctuation_edits,
    word_splitter,
)
from tokenization.text.segmenters import find_segmenter, segmenter_words

# Cedilla and comma forms alike lose their marks (Sennrich et al. 2016, wmt16-scripts).
_ROMANIAN = str.maketrans("ŞşȘșŢţȚțĂăÂâÎî", "SsSsTtTtAaAaIi")

_LOWER_WITHOUT_ACCENTS: tuple[Edit, ...] = (
    LowerCase(),
    Decompose("NFD", drop=lambda char: unicodedata.category(char) == "Mn"),
    LowerCase(),
)


class WordSplitter:
    """Splits a text of a language into words, as the options say."""

    def __init__(self, options: BytePairOptions) -> None:
        self._options = options
        self._edits = lru_cache(maxsize=256)(self._make_edits)

    def _make_edits(self, language: str) -> tuple[Edit, ...]:
        edits = (*unicode_punctuation_edits(), *punctuation_edits(language), DROP_NON_PRINTING)
        # The authors' Romanian script runs for one published model only; the option says for which
        # languages.
        without_segmenter = language not in self._options.segmenters
        if language in self._options.romanian_diacritics and without_segmenter:
            edits += (Translate({place: chr(char) for place, char in _ROMANIAN.items()}),)
        return edits

    def split(self, text: str, language: str | None) -> list[str]:
        """The words of a text; raises MissingExtraError where a package is missing."""
        if self._options.splitting == "spaces":
            return text.split()
        code = language or ""
        name = self._options.segmenters.get(code)
        if name is not None and find_segmenter(name).first:
            words = apply_edits(self._edits(code), " ".join(segmenter_words(name)(text))).split()
        else:
            words = _splitter(code, name)(apply_edits(self._edits(code), text))
        if not self._options.lower_case_and_remove_accents:
            return [word for word in words if word]
        return [
            word for word in apply_edits(_LOWER_WITHOUT_ACCENTS, " ".join(words)).split(" ") if word
        ]

    def split_aligned(self, text: AlignedText, language: str | None) -> list[AlignedText]:
        """The same words, with the origins of their characters."""
        if self._options.splitting == "spaces":
            return locate_words(text.text.split(), text)
        code = language or ""
        name = self._options.segmenters.get(code)
        if name is not None and find_segmenter(name).first:
            words = segmenter_words(name)(text.text)
            edited = apply_edits_aligned(self._edits(code), _spaced(locate_words(words, text)))
            words = edited.text.split()
        else:
            edited = apply_edits_aligned(self._edits(code), text)
            words = _splitter(code, name)(edited.text)
        found = locate_words(words, edited)
        if self._options.lower_case_and_remove_accents:
            found = [apply_edits_aligned(_LOWER_WITHOUT_ACCENTS, word) for word in found]
            found = [part for word in found for part in _split_spaces(word)]
        return [word for word in found if word.text]


def _splitter(code: str, segmenter: str | None) -> Callable[[str], list[str]]:
    if segmenter is None:
        return word_splitter(code)
    return segmenter_words(segmenter)


def _spaced(words: list[AlignedText]) -> AlignedText:
    parts = []
    for word in words:
        end = word.span(0, len(word))[1]
        parts += [word, AlignedText(" ", [(end, end)])]
    if not parts:
        return AlignedText("")
    return concatenate(parts)


def _split_spaces(word: AlignedText) -> list[AlignedText]:
    if " " not in word.text:
        return [word]
    parts, place = [], 0
    for index, char in enumerate(word.text):
        if char == " ":
            parts.append(word[place:index])
            place = index + 1
    return [*parts, word[place:]]

"""Byte-pair encoding of words, whose last symbol carries an end-of-word mark."""

import json
import math
from collections.abc import Iterable, Sequence
from itertools import pairwise, repeat
from pathlib import Path
from typing import Any

from typing_extensions import Self

from tokenization.algorithms.algorithm import TokensAndSpans
from tokenization.algorithms.fast_merges import fast_merges
from tokenization.algorithms.pair_training import Merge, learn_merges, merge_pair
from tokenization.algorithms.words_of_language import WordSplitter
from tokenization.errors import TokenizationError, VocabularyError
from tokenization.files.vocabulary_files import read_mapping, read_text
from tokenization.options import BytePairOptions
from tokenization.text.aligned import AlignedText, Span
from tokenization.text.edits import lowered_as_read

# Words come again and again; this many are remembered with their symbols, about a hundred
# megabytes.
_MOST_WORDS = 500_000


class BytePairAlgorithm:
    """A vocabulary, token to id, and merges in the order of their rank."""

    library = None

    def __init__(
        self, options: BytePairOptions, vocabulary: dict[str, int], merges: Sequence[Merge]
    ) -> None:
        self.options = options
        self.vocabulary = vocabulary
        self.size = len(vocabulary)
        self.unknown = None
        self.lower_case = _lowers_first(options)
        self._merges = list(merges)
        self._ranks = {merge: rank for rank, merge in enumerate(self._merges)}
        self._tokens = {index: token for token, index in vocabulary.items()}
        self._splitter = WordSplitter(options)
        self._fast = fast_merges(self._ranks, options.end_of_word)
        self._known: dict[str, list[str]] = {}

    @classmethod
    def load(cls, options: BytePairOptions, directory: Path) -> Self:
        return cls(
            options,
            read_vocabulary(directory / options.vocabulary_file),
            read_merges(directory / options.merges_file),
        )

    @classmethod
    def train(
        cls,
        options: BytePairOptions,
        corpus: Iterable[str],
        vocab_size: int | None,
        languages: Iterable[str] | None = None,
    ) -> Self:
        """Learn merges from a corpus until the vocabulary has `vocab_size` tokens."""
        splitter = WordSplitter(options)
        named: Iterable[str | None] = repeat(options.default_language)
        if languages is not None:
            named = languages
        texts = lowered_as_read(corpus, _lowers_first(options))
        words = (
            word for text, language in zip(texts, named) for word in splitter.split(text, language)
        )
        vocabulary, merges = learn_merges(
            words, vocab_size or 8000, options.end_of_word, options.reserved
        )
        return cls(options, vocabulary, merges)

    @classmethod
    def held(cls, options: BytePairOptions) -> tuple[str, ...]:
        return options.reserved

    def with_options(self, options: BytePairOptions) -> Self:
        return type(self)(options, self.vocabulary, self._merges)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.options, self.vocabulary, self._merges)

    def tokenize(self, text: str, language: str | None) -> list[str]:
        return [
            symbol for word in self._splitter.split(text, language) for symbol in self.merge(word)
        ]

    def tokenize_batch(self, texts: list[str], languages: Sequence[str | None]) -> list[list[str]]:
        split = [self._splitter.split(text, language) for text, language in zip(texts, languages)]
        if self._fast is not None:
            unseen = {word for words in split for word in words if word not in self._known}
            new = [word for word in unseen if self._fast.knows(word)]
            self._remember(dict(zip(new, self._fast.merge(new))))
        return [[symbol for word in words for symbol in self.merge(word)] for words in split]

    def encode_batch(self, texts: list[str]) -> None:
        return None

    def tokenize_aligned(
        self, texts: Sequence[AlignedText], languages: Sequence[str | None]
    ) -> list[TokensAndSpans]:
        return [self._tokenize_aligned(text, language) for text, language in zip(texts, languages)]

    def _tokenize_aligned(self, text: AlignedText, language: str | None) -> TokensAndSpans:
        tokens: list[str] = []
        spans: list[Span] = []
        for word in self._splitter.split_aligned(text, language):
            place = 0
            for token in self.merge(word.text):
                length = len(token.removesuffix(self.options.end_of_word))
                tokens.append(token)
                spans.append(word.span(place, place + length))
                place += length
        return tokens, spans

    def merge(self, word: str) -> list[str]:
        """The symbols of a word: merges are applied best rank first, each one everywhere in the
        word at once.
        """
        known = self._known.get(word)
        if known is not None:
            return known
        symbols = [*word[:-1], word[-1] + self.options.end_of_word]
        ranks = self._ranks
        while len(symbols) > 1:
            best = min(pairwise(symbols), key=lambda pair: ranks.get(pair, math.inf))
            if best not in ranks:
                break
            symbols = merge_pair(symbols, best)
        # A space inside a word, as segmenters can leave it, cuts its symbols in two, as published.
        symbols = " ".join(symbols).split(" ")
        self._remember({word: symbols})
        return symbols

    def _remember(self, words: dict[str, list[str]]) -> None:
        if len(self._known) > _MOST_WORDS:
            self._known.clear()
        self._known.update(words)

    def token_of(self, token_id: int) -> str:
        token = self._tokens.get(token_id)
        if token is None:
            unknown = self.options.special_tokens.unk
            if unknown is None:
                raise TokenizationError(
                    f"there is no token {token_id} in a vocabulary of {self.size}"
                )
            return unknown.content
        return token

    def join(self, tokens: list[str]) -> str:
        return "".join(tokens).replace(self.options.end_of_word, " ").strip()

    def files(self) -> dict[str, bytes]:
        vocabulary = (
            json.dumps(self.vocabulary, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
        )
        merges = "".join(f"{first} {second}\n" for first, second in self._merges)
        return {
            self.options.vocabulary_file: vocabulary.encode(),
            self.options.merges_file: merges.encode(),
        }


def _lowers_first(options: BytePairOptions) -> bool:
    return options.lower_case_and_remove_accents and options.lower_case_first


def read_vocabulary(path: Path) -> dict[str, int]:
    """Read token-to-id JSON; raises VocabularyError where it is cut short or holds something else."""
    vocabulary = read_mapping(path)
    if not all(type(index) is int for index in vocabulary.values()):
        raise VocabularyError(f"{path}: must be one JSON object of tokens and whole numbers")
    return vocabulary


def read_merges(path: Path) -> list[Merge]:
    """Read merges, one `first second` a line (a count may follow); raises VocabularyError naming a
    wrong line.
    """
    lines = read_text(path).replace("\r\n", "\n").split("\n")
    if lines.pop():
        raise VocabularyError(
            f"{path}: the last line has no end, so the file is cut short (or lacks a final line "
            "break)"
        )
    merges = []
    for number, line in enumerate(lines, 1):
        parts = line.split()
        if len(parts) < 2:
            raise VocabularyError(f"{path}:{number}: a merge is two symbols, not {line!r}")
        merges.append((parts[0], parts[1]))
    return merges

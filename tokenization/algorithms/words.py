"""Whole words: a list of them is the vocabulary."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from typing_extensions import Self

from tokenization.algorithms.algorithm import TokensAndSpans
from tokenization.errors import TokenizationError, VocabularyError
from tokenization.files.pickles import read_pickled_words
from tokenization.files.vocabulary_files import read_file, read_text
from tokenization.options import WordOptions
from tokenization.text.aligned import AlignedText, locate_words
from tokenization.text.edits import (
    Edit,
    LowerCase,
    Strip,
    apply_edits,
    apply_edits_aligned,
    lowered_as_read,
)
from tokenization.text.moses import punctuation_edits, word_joiner, word_splitter

_NUMBER_MARKS = re.compile(r"(?<=\d)[,.](?=\d)")
_PICKLES = ("vocab.pkl", "vocab.bin")


class WordAlgorithm:
    """A list of words, whose places are their ids."""

    library = None

    def __init__(self, options: WordOptions, words: Sequence[str]) -> None:
        self.options = options
        self.lower_case = options.lower_case
        self._words = list(words)
        self.vocabulary = {word: index for index, word in enumerate(self._words)}
        self.size = len(self._words)
        # The older published vocabularies write <UNK>; where both stand, the authors' reader takes
        # that one.
        self.unknown = self.vocabulary.get("<UNK>", self.vocabulary.get("<unk>"))
        self._clean: tuple[Edit, ...] = (Strip(),)
        if options.lower_case:
            self._clean = (Strip(), LowerCase())
        self._never_split = options.never_split
        if self._never_split is None:
            specials = options.special_tokens.in_order()
            self._never_split = tuple(token.content for token in specials)
        self._by_characters = options.delimiter == ""

    @classmethod
    def load(cls, options: WordOptions, directory: Path) -> Self:
        """Read the words of a text file, one a line, or of a published pickle beside it that cannot
        run code.
        """
        path = directory / options.vocabulary_file
        if not path.exists():
            for name in _PICKLES:
                if (directory / name).exists():
                    return cls(options, read_pickled_words(directory / name))
            read_file(path)
        return cls(options, read_words(path))

    @classmethod
    def train(
        cls,
        options: WordOptions,
        corpus: Iterable[str],
        vocab_size: int | None,
        languages: Iterable[str] | None = None,
    ) -> Self:
        """Count the words of a corpus and keep the most frequent ones."""
        reader = cls(options, ())
        counts: Counter[str] = Counter()
        for text in lowered_as_read(corpus, options.lower_case):
            counts.update(reader.tokenize(text, None))
        if not counts:
            raise TokenizationError("the corpus holds no words")
        words = dict.fromkeys(options.reserved)
        words.update(
            dict.fromkeys(
                word
                for word, count in counts.most_common(options.max_size)
                if count >= options.min_freq
            )
        )
        return cls(options, list(words)[:vocab_size])

    @classmethod
    def held(cls, options: WordOptions) -> tuple[str, ...]:
        return options.reserved

    def with_options(self, options: WordOptions) -> Self:
        return type(self)(options, self._words)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.options, self._words)

    def tokenize(self, text: str, language: str | None = None) -> list[str]:
        text = apply_edits(self._clean, text)
        if self._by_characters:
            return list(text)
        if self.options.splitting == "delimiter":
            return text.split(self.options.delimiter)
        words = self._moses(apply_edits(punctuation_edits(self.options.language), text))
        return [part for word in words for part in _split_number(word)]

    def tokenize_batch(self, texts: list[str], languages: Sequence[str | None]) -> list[list[str]]:
        return [self.tokenize(text) for text in texts]

    def _moses(self, text: str) -> list[str]:
        return word_splitter(
            self.options.language, aggressive_dashes=True, protected=self._never_split
        )(text)

    def encode_batch(self, texts: list[str]) -> None:
        return None

    def tokenize_aligned(
        self, texts: Sequence[AlignedText], languages: Sequence[str | None]
    ) -> list[TokensAndSpans]:
        return [self._tokenize_aligned(text) for text in texts]

    def _tokenize_aligned(self, text: AlignedText) -> TokensAndSpans:
        text = apply_edits_aligned(self._clean, text)
        if self._by_characters:
            return list(text.text), text.spans
        if self.options.splitting == "delimiter":
            words = text.text.split(self.options.delimiter)
        else:
            text = apply_edits_aligned(punctuation_edits(self.options.language), text)
            words = [part for word in self._moses(text.text) for part in _split_number(word)]
        return words, [
            word.span(0, len(word)) for word in locate_words(words, text, inserted="-,.")
        ]

    def token_of(self, token_id: int) -> str:
        if not 0 <= token_id < self.size:
            raise TokenizationError(
                f"there is no token {token_id}: the vocabulary has ids 0 to {self.size - 1}"
            )
        return self._words[token_id]

    def join(self, tokens: list[str]) -> str:
        if self.options.splitting == "delimiter":
            delimiter = self.options.delimiter
            if delimiter is None:
                delimiter = " "
            return delimiter.join(tokens)
        text = word_joiner(self.options.language)(tokens)
        return text.replace(" @,@ ", ",").replace(" @.@ ", ".").strip()

    def files(self) -> dict[str, bytes]:
        for word in self._words:
            if word.split() not in ([word], []) or "\n" in word:
                raise VocabularyError(
                    f"{word!r} cannot stand in {self.options.vocabulary_file}: it holds white space"
                )
        return {self.options.vocabulary_file: "".join(f"{word}\n" for word in self._words).encode()}


def _split_number(word: str) -> list[str]:
    """`23,000` becomes `23 @,@ 000`, as the WikiText corpora write numbers (Merity et al. 2016)."""
    if "," not in word and "." not in word:
        return [word]
    return _NUMBER_MARKS.sub(r" @\g<0>@ ", word).split()


def read_words(path: Path) -> list[str]:
    """Read words, the first of each line, or the line itself where it is white space (characters as
    words).

    Raises VocabularyError for an empty line, and where no word stands for unknown ones.
    """
    words: dict[str, None] = {}
    for number, line in enumerate(read_text(path).removesuffix("\n").split("\n"), 1):
        if not line:
            raise VocabularyError(f"{path}:{number}: the line holds no word")
        words.setdefault((line.split() or [line])[0])
    if not words.keys() & {"<unk>", "<UNK>"}:
        raise VocabularyError(
            f"{path}: no word is <unk> or <UNK>, so nothing can stand for unknown words"
        )
    return list(words)

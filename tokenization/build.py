"""Making tokenizers: from options and files, from a corpus, or from a saved or published directory."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tokenization.algorithms.algorithm import Algorithm, train_algorithm
from tokenization.algorithms.bpe import BytePairAlgorithm
from tokenization.algorithms.library import LibraryAlgorithm
from tokenization.algorithms.pieces import PieceAlgorithm
from tokenization.algorithms.words import WordAlgorithm
from tokenization.errors import TokenizationError
from tokenization.files.paths import as_path
from tokenization.options import CommonOptions, parse_options
from tokenization.tokenizer import Tokenizer

_ALGORITHMS: dict[str, type[Algorithm[Any]]] = {
    "sentencepiece": PieceAlgorithm,
    "bpe": BytePairAlgorithm,
    "words": WordAlgorithm,
    "tokenizers": LibraryAlgorithm,
}


def _algorithm(options: CommonOptions) -> type[Algorithm[Any]]:
    return _ALGORITHMS[
        str(getattr(options, "backend", None) or getattr(options, "algorithm", None))
    ]


def build_tokenizer(options: CommonOptions | Mapping[str, Any], directory: str | Path) -> Tokenizer:
    """Make a tokenizer of options (or a `tokenizer:` section) and the vocabulary files in a
    directory.

    Raises VocabularyError for a file that is missing or broken, TokenizationError for options
    that are.
    """
    place = as_path("directory", directory, TokenizationError)
    checked = parse_options(options)
    return Tokenizer(checked, _algorithm(checked).load(checked, place))


def train_tokenizer(
    options: CommonOptions | Mapping[str, Any],
    corpus: Iterable[str],
    vocab_size: int | None = None,
    *,
    languages: Iterable[str] | None = None,
) -> Tokenizer:
    """Make a tokenizer with a new vocabulary of at most `vocab_size` ids from texts; `languages`
    names those of each.

    Raises TokenizationError for a corpus that holds no text, or is one string.
    """
    checked = parse_options(options)
    return Tokenizer(
        checked, train_algorithm(_algorithm(checked), checked, corpus, vocab_size, languages)
    )

"""Text in, text out: tokenizers that are data, for SentencePiece, byte-pair and whole-word vocabularies."""

from tokenization.build import build_tokenizer, train_tokenizer
from tokenization.encoding import Encoding
from tokenization.errors import MissingExtraError, TokenizationError, VocabularyError
from tokenization.loading import load_tokenizer
from tokenization.options import AddedToken, TokenizerOptions, parse_options
from tokenization.tokenizer import Tokenizer

__all__ = [
    "AddedToken",
    "Encoding",
    "MissingExtraError",
    "TokenizationError",
    "Tokenizer",
    "TokenizerOptions",
    "VocabularyError",
    "build_tokenizer",
    "load_tokenizer",
    "parse_options",
    "train_tokenizer",
]

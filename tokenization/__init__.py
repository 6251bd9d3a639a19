"""Text in, text out: tokenizers that are data, for SentencePiece, byte-pair and whole-word
vocabularies.

tokenizer = load_tokenizer("xlnet/xlnet-large-cased")          # or a directory, ours or one of transformers
batch = tokenizer(["A text.", "Another."], padding=True, return_tensors="pt")
tokenizer.batch_decode(batch.input_ids, skip_special_tokens=True)

tokenizer = train_tokenizer(section, corpus, vocab_size=8000)  # `section` as under `tokenizer:` in a spec
tokenizer.save("directory")                                    # or format="huggingface"
"""

from tokenization.build import build_tokenizer, train_tokenizer
from tokenization.comparison import compare_tokenizers
from tokenization.errors import MissingExtraError, TokenizationError, VocabularyError
from tokenization.files.published import family_section
from tokenization.loading import load_tokenizer
from tokenization.options import AddedToken, TokenizerOptions, parse_options
from tokenization.pipeline.encoding import Encoding
from tokenization.pipeline.request import CallOptions
from tokenization.text.segmenters import register_segmenter
from tokenization.tokenizer import Tokenizer

__all__ = [
    "AddedToken",
    "CallOptions",
    "Encoding",
    "MissingExtraError",
    "TokenizationError",
    "Tokenizer",
    "TokenizerOptions",
    "VocabularyError",
    "build_tokenizer",
    "compare_tokenizers",
    "family_section",
    "load_tokenizer",
    "parse_options",
    "register_segmenter",
    "train_tokenizer",
]

"""Piece models as transformers' fast classes read them: the `tokenizers` library, from its own file
or converted.
"""

import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from typing_extensions import Self

from tokenization.algorithms.algorithm import TokensAndSpans
from tokenization.algorithms.conversion import add_tokens, convert, template
from tokenization.algorithms.pieces import PieceAlgorithm
from tokenization.errors import TokenizationError, VocabularyError
from tokenization.files.vocabulary_files import boundary, read_file, read_text
from tokenization.options import SentencePieceOptions
from tokenization.pipeline.added import AddedTokens
from tokenization.pipeline.decoding import Decoder
from tokenization.pipeline.formats import Place
from tokenization.pipeline.inputs import RawText
from tokenization.pipeline.languages import Languages
from tokenization.pipeline.reading import TokenizedText, word_numbers
from tokenization.text.aligned import AlignedText

# What a text goes through before it is cut, and what stands around it: in a file of the library's,
# all is written down.
FIXED = (
    "lower_case",
    "keep_accents",
    "normalize_quotes",
    "remove_space",
    "split_digit_comma",
    "sampling",
    "format",
)


def refuse_fixed(names: Iterable[str], file: str) -> None:
    """Raise TokenizationError for options that a file of the tokenizers library has decided
    already.
    """
    for name in names:
        raise TokenizationError(
            f"{name} is what {file} says: the file is followed as it stands; options change texts "
            "where the vocabulary comes from a piece model"
        )


def _places(encoding: Any) -> tuple[Place, ...]:
    places: list[Place] = []
    for token, kind, text in zip(encoding.ids, encoding.type_ids, encoding.sequence_ids):
        if text is None:
            places.append(Place(kind, token_id=token))
        elif not places or places[-1].text != text:
            places.append(Place(kind, text=text))
    return tuple(places)


class LibraryAlgorithm:
    """A piece model inside the `tokenizers` library; `model` are the bytes of the model file it
    came from, if any.
    """

    lower_case = False
    unknown = None

    def __init__(
        self,
        options: SentencePieceOptions,
        library: Tokenizer,
        model: bytes | None,
        from_file: bool = False,
    ) -> None:
        self.options = options
        self.library = library
        self._model = model
        self.from_file = from_file
        if options.sampling.enable_sampling:
            raise TokenizationError(
                "sampling is SentencePiece's own: the tokenizers library reads a text in one way"
            )
        library.no_padding()
        library.no_truncation()
        self.size = library.get_vocab_size(with_added_tokens=False)
        self.vocabulary = library.get_vocab(with_added_tokens=False)

    @classmethod
    def load(cls, options: SentencePieceOptions, directory: Path) -> Self:
        path = directory / options.tokenizer_file
        has_model = (directory / options.model_file).is_file()
        if not path.is_file():
            model = read_file(directory / options.model_file)
            return cls(options, convert(options, model), model)
        beside: bytes | None = None
        if has_model:
            beside = read_file(directory / options.model_file)
        try:
            with boundary(path):
                return cls(options, Tokenizer.from_str(read_text(path)), beside, from_file=True)
        except VocabularyError as error:
            raise VocabularyError(
                f"{error}: not a file of the tokenizers library, or cut short"
            ) from None

    @classmethod
    def train(
        cls,
        options: SentencePieceOptions,
        corpus: Iterable[str],
        vocab_size: int | None,
        languages: Iterable[str] | None = None,
    ) -> Self:
        model = PieceAlgorithm.train(options, corpus, vocab_size).files()[options.model_file]
        return cls(options, convert(options, model), model)

    @classmethod
    def held(cls, options: SentencePieceOptions) -> tuple[str, ...]:
        return PieceAlgorithm.held(options)

    def with_options(self, options: SentencePieceOptions) -> Self:
        changed = [name for name in FIXED if getattr(options, name) != getattr(self.options, name)]
        if self.from_file:
            refuse_fixed(changed, options.tokenizer_file)
        elif changed and self._model is not None:
            return type(self)(options, convert(options, self._model), self._model)
        return type(self)(
            options, Tokenizer.from_str(self.library.to_str()), self._model, self.from_file
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.options, self.library, self._model, self.from_file)

    def format(self) -> tuple[tuple[Place, ...], tuple[Place, ...]] | None:
        """The places of one text and of two as a file's own post-processor fills them, None where
        it has none.
        """
        if not self.from_file or self.library.post_processor is None:
            return None
        single, pair = (
            _places(self.library.encode(*texts, add_special_tokens=True))
            for texts in (("a",), ("a", "a"))
        )
        complete = [place.text for place in single if place.text is not None] == [0]
        both = sorted(place.text for place in pair if place.text is not None) == [0, 1]
        if not complete or not both:
            return None
        return single, pair

    def tokenize(self, text: str, language: str | None = None) -> list[str]:
        return list(self.library.encode(text, add_special_tokens=False).tokens)

    def tokenize_batch(self, texts: list[str], languages: Sequence[str | None]) -> list[list[str]]:
        return [
            list(found.tokens)
            for found in self.library.encode_batch(texts, add_special_tokens=False)
        ]

    def encode_batch(self, texts: list[str]) -> None:
        return None

    def tokenize_aligned(
        self, texts: Sequence[AlignedText], languages: Sequence[str | None]
    ) -> list[TokensAndSpans]:
        found = self.library.encode_batch([text.text for text in texts], add_special_tokens=False)
        return [
            (each.tokens, [text.span(*span) for span in each.offsets])
            for text, each in zip(texts, found)
        ]

    def token_of(self, token_id: int) -> str:
        token = self.library.id_to_token(token_id)
        if token is None:
            raise TokenizationError(
                f"there is no token {token_id}: the vocabulary has ids 0 to {self.size - 1}"
            )
        return str(token)

    def join(self, tokens: list[str]) -> str:
        if self.library.decoder is None:
            return " ".join(tokens)
        return str(self.library.decoder.decode(tokens))

    def files(self) -> dict[str, bytes]:
        written = self.library
        if written.post_processor is None:
            written = Tokenizer.from_str(written.to_str())  # other threads may be reading with ours
            written.post_processor = template(self.options, written)
        files = {self.options.tokenizer_file: written.to_str(pretty=True).encode()}
        if self._model is not None:
            files[self.options.model_file] = self._model
        return files


class LibraryReader:
    """Reads texts with the library, which finds added tokens by its own rules.

    The library's object is never changed once it reads: threads that read while a setting is
    written fail.
    """

    def __init__(self, library: Tokenizer, added: AddedTokens, languages: Languages) -> None:
        self._library = library
        self._languages = languages
        add_tokens(library, added)
        self._splitting: Tokenizer | None = None
        self._copying = threading.Lock()

    def _for(self, whole: bool) -> Tokenizer:
        """The library, or the copy of it that splits special tokens too, made when it is first
        needed.
        """
        if not whole:
            return self._library
        with self._copying:
            if self._splitting is None:
                copy = Tokenizer.from_str(self._library.to_str())
                copy.encode_special_tokens = True
                self._splitting = copy
            return self._splitting

    def tokens(self, text: str, lang: str | None, whole: bool) -> list[str]:
        """The tokens of one text."""
        self._languages.resolve(lang)
        return list(self._for(whole).encode(text, add_special_tokens=False).tokens)

    def read(
        self, items: Sequence[tuple[RawText, ...]], offsets: bool, whole: bool
    ) -> list[tuple[TokenizedText, ...]]:
        """Tokenize all texts of a call on all cores."""
        texts = [text for item in items for text in item]
        split = any(len(text.words) != 1 for text in texts)
        given: list[Any]
        if split:
            given = [list(text.words) for text in texts]
        else:
            given = [text.words[0] for text in texts]
        found = iter(
            self._for(whole).encode_batch(given, is_pretokenized=split, add_special_tokens=False)
        )
        read = []
        for item in items:
            row = []
            for text in item:
                encoding = next(found)
                language = self._languages.resolve(text.language)[1]
                if offsets:
                    words = _words_of(encoding, text)
                    row.append(TokenizedText(encoding.ids, encoding.offsets, language, words))
                else:
                    row.append(TokenizedText(encoding.ids, None, language))
            read.append(tuple(row))
        return read


def _words_of(encoding: Any, text: RawText) -> list[int]:
    """The number of each token's word: of those that were given, or between white space."""
    if text.split:
        return [0 if word is None else word for word in encoding.word_ids]
    return word_numbers(text.words[0], encoding.offsets)


class LibraryDecoder(Decoder):
    """Decodes with the library, whose special tokens stand apart by its own rules."""

    def join_ids(self, ids: list[int], skip_special_tokens: bool) -> str:
        library: Tokenizer = self._algorithm.library
        return str(library.decode(ids, skip_special_tokens=skip_special_tokens))

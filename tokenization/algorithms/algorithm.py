"""The interface of an algorithm."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias, TypeVar

from tokenizers import Tokenizer as Library
from typing_extensions import Self

from tokenization.errors import TokenizationError
from tokenization.text.aligned import AlignedText, Span

TokensAndSpans: TypeAlias = tuple[list[str], list[Span]]
Options = TypeVar("Options")


class Algorithm(Protocol[Options]):
    """Cuts text that holds no added tokens into tokens, and joins tokens to text.

    `vocabulary` maps tokens to ids; `size` counts the model's own ids; `lower_case` says that text
    is lower-cased before added tokens are looked for; `unknown` is the id of every token that the
    vocabulary lacks (None: that of the special token `unk`, if there is one).
    """

    @property
    def options(self) -> Options: ...

    @property
    def vocabulary(self) -> Mapping[str, int]: ...

    @property
    def size(self) -> int: ...

    @property
    def lower_case(self) -> bool: ...

    @property
    def unknown(self) -> int | None: ...

    @property
    def library(self) -> Library | None:
        """The `tokenizers` library's tokenizer where it reads and decodes whole texts, added tokens
        included.
        """
        ...

    @classmethod
    def load(cls, options: Options, directory: Path) -> Self:
        """Read the vocabulary files of a directory; raises VocabularyError naming the file that is
        wrong.
        """
        ...

    @classmethod
    def train(
        cls,
        options: Options,
        corpus: Iterable[str],
        vocab_size: int | None,
        languages: Iterable[str] | None,
    ) -> Self:
        """Make a new vocabulary from a corpus of texts."""
        ...

    @classmethod
    def held(cls, options: Options) -> tuple[str, ...]:
        """The tokens that every new vocabulary holds, whatever the corpus."""
        ...

    def with_options(self, options: Options) -> Self:
        """The same vocabulary under other options."""
        ...

    def tokenize(self, text: str, language: str | None) -> list[str]:
        """The tokens of a text."""
        ...

    def tokenize_batch(self, texts: list[str], languages: Sequence[str | None]) -> list[list[str]]:
        """The tokens of many texts, on all cores where the algorithm can."""
        ...

    def encode_batch(self, texts: list[str]) -> list[list[int] | None] | None:
        """The ids of many texts where they can be had without their tokens; None for those where
        they cannot.
        """
        ...

    def tokenize_aligned(
        self, texts: Sequence[AlignedText], languages: Sequence[str | None]
    ) -> list[TokensAndSpans]:
        """The same tokens of each text, and beside them their spans of the original."""
        ...

    def token_of(self, token_id: int) -> str:
        """The token of an id; raises TokenizationError for an id outside the vocabulary."""
        ...

    def join(self, tokens: list[str]) -> str:
        """The text that tokens stand for."""
        ...

    def files(self) -> dict[str, bytes]:
        """The vocabulary files, name to content."""
        ...


def train_algorithm(
    kind: type[Algorithm[Any]],
    options: Any,
    corpus: Iterable[str],
    vocab_size: int | None,
    languages: Iterable[str] | None,
) -> Algorithm[Any]:
    """A new vocabulary from texts, of at most `vocab_size` ids with special and added tokens;
    raises TokenizationError for one string, whose letters they would be, and where these tokens
    leave no room.
    """
    for name, given in (("corpus", corpus), ("languages", languages)):
        if isinstance(given, str | bytes):
            raise TokenizationError(
                f"{name} is one string, {given[:40]!r}: give a list or another iterable of strings"
            )
    whole = isinstance(vocab_size, int) and not isinstance(vocab_size, bool)
    if vocab_size is not None and not (whole and 0 < vocab_size < 2**31):
        raise TokenizationError(f"vocab_size is {vocab_size!r}, expected a number of ids")
    if not isinstance(corpus, Iterable):
        raise TokenizationError(f"corpus is a {type(corpus).__name__}, expected texts in a list")
    if vocab_size is not None:
        vocab_size -= _beside(kind, options, vocab_size)
    return kind.train(options, _texts(corpus), vocab_size, languages)


def _beside(kind: type[Algorithm[Any]], options: Any, vocab_size: int) -> int:
    """How many of `vocab_size` ids go to tokens that a new vocabulary may not hold itself."""
    held = dict.fromkeys(kind.held(options))
    named = (*options.special_tokens.in_order(), *options.added_tokens)
    beside = {token.content for token in named} - set(held)
    fixed = len(held) + len(beside)
    if vocab_size <= fixed:
        raise TokenizationError(
            f"vocab_size is {vocab_size}: reserved, special and added tokens alone are {fixed}, "
            "give more"
        )
    return len(beside)


def _texts(corpus: Iterable[Any]) -> Iterator[str]:
    for number, text in enumerate(corpus):
        if not isinstance(text, str):
            raise TokenizationError(f"text {number} of corpus is no string: {text!r:.60}")
        yield text

"""The public tokenizer: text in, ids, types, masks and offsets out, and back."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from typing_extensions import Self

from tokenization.algorithms.algorithm import Algorithm, train_algorithm
from tokenization.algorithms.library import LibraryAlgorithm, LibraryDecoder, LibraryReader
from tokenization.errors import TokenizationError
from tokenization.options import (
    ROLES,
    AddedToken,
    CommonOptions,
    Role,
    Side,
    laid_over,
    parse_options,
)
from tokenization.pipeline.added import AddedTokens
from tokenization.pipeline.assemble import Assembler
from tokenization.pipeline.decoding import Decoder, as_list
from tokenization.pipeline.encoding import Encoding
from tokenization.pipeline.formats import SequenceFormat
from tokenization.pipeline.inputs import RawText, read_inputs, readable
from tokenization.pipeline.languages import Languages
from tokenization.pipeline.reading import TextReader
from tokenization.pipeline.request import (
    Padding,
    Request,
    Tensors,
    make_request,
    padding_strategy,
    read_call,
)
from tokenization.saving import Format, save_tokenizer

# Words of transformers for what is called otherwise here.
ELSEWHERE = {
    "encode_plus": "call it: tokenizer(text)",
    "batch_encode_plus": "call it: tokenizer(texts)",
    "vocab": "get_vocab() gives every token and its id",
    "model_max_length": "options.max_length",
    "all_special_ids": "special_ids gives the id of each part",
    "all_special_tokens": "options.special_tokens",
    "additional_special_tokens": "options.special_tokens.additional",
    "add_special_tokens": "add_tokens(tokens, special=True), or with_options(special_tokens={...})",
    "build_inputs_with_special_tokens": "options.format says how special tokens stand around a text",
    "save_pretrained": "save(directory, format='huggingface')",
    "from_pretrained": "load_tokenizer(directory) opens one",
    "push_to_hub": "save(directory, format='huggingface'), and upload the directory",
    "train_new_from_iterator": "train(corpus, vocab_size)",
    "is_fast": "options.backend says which library reads the text",
    "num_special_tokens_to_add": "len(tokenizer.encode('')) counts them",
    "apply_chat_template": "texts are written out by the caller here",
}


class Tokenizer:
    """Text in, ids out, as `options` say; made by `load_tokenizer`, `build_tokenizer` or
    `train_tokenizer`.

    Special tokens are at hand by their part: `tokenizer.pad_token`, and `tokenizer.pad_id`, also
    known as `pad_token_id`, … (None where the options name none). Raises TokenizationError, a ValueError,
    for anything that a caller can mend.
    """

    def __init__(self, options: CommonOptions, algorithm: Algorithm[Any]) -> None:
        self.options = options
        self.algorithm = algorithm
        placed = [token for token in options.added_tokens if token.id is not None]
        free = [token for token in options.added_tokens if token.id is None]
        tokens = [*placed, *options.special_tokens.in_order(), *free]
        self.added = AddedTokens(tokens, dict(algorithm.vocabulary), algorithm.lower_case)
        self._refresh()

    def _refresh(self) -> None:
        added = {
            text: token.id for text, token in self.added.by_text.items() if token.id is not None
        }
        self._ids = {**self.algorithm.vocabulary, **added}
        roles = self.options.special_tokens.by_role()
        self._unknown = self.algorithm.unknown
        if self._unknown is None:
            self._unknown = self._ids.get(roles.get("unk", ""))
        self.special_ids: dict[Role, int] = {
            role: self.token_to_id(text) for role, text in roles.items()
        }
        languages = Languages(self.options)
        library = self.algorithm.library
        self._reader: TextReader | LibraryReader
        if library is None:
            self._reader = TextReader(
                self.algorithm, self.added, self._ids, self._unknown, languages
            )
            self._decoder = Decoder(self.options, self.algorithm, self.added)
        else:
            self._reader = LibraryReader(library, self.added, languages)
            self._decoder = LibraryDecoder(self.options, self.algorithm, self.added)
        given = None
        if isinstance(self.algorithm, LibraryAlgorithm):
            given = self.algorithm.format()
        format = SequenceFormat(self.options.format, self.special_ids, given)
        self._assembler = Assembler(self.options, format, self.special_ids)

    def __getattr__(self, name: str) -> Any:
        role, _, what = name.partition("_")
        if role in ROLES and what in ("id", "token_id"):
            return self.special_ids.get(role)
        if role in ROLES and what == "token":
            return self.options.special_tokens.by_role().get(role)
        if name in ELSEWHERE:
            raise AttributeError(f"a tokenizer has no {name!r}: {ELSEWHERE[name]}")
        raise AttributeError(f"a tokenizer has no {name!r}")

    def __repr__(self) -> str:
        name = getattr(self.options, "algorithm", "")
        return f"Tokenizer({name}, {self.vocab_size} ids and {len(self) - self.vocab_size} added)"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.options, self.algorithm)

    @property
    def vocab_size(self) -> int:
        """How many ids the model's own vocabulary has, without added tokens."""
        return self.algorithm.size

    def __len__(self) -> int:
        return len(self._ids)

    def get_vocab(self) -> dict[str, int]:
        """Every token and its id, added tokens included."""
        return dict(self._ids)

    def token_to_id(self, token: str) -> int:
        """The id of a token, that of the unknown token where the vocabulary lacks it; raises if
        there is none.
        """
        if not isinstance(token, str):
            raise TokenizationError(f"a token is a text, found {token!r}")
        index = self._ids.get(token, self._unknown)
        if index is None:
            raise TokenizationError(
                f"the vocabulary has no token {token!r} and no unknown token to stand for it"
            )
        return index

    def add_tokens(self, tokens: Iterable[str | AddedToken], special: bool = False) -> int:
        """Add tokens that are never split; returns how many of them the vocabulary did not know.

        A text becomes a plain token unless there is one already; an AddedToken brings its own
        flags, and replaces those of a token that exists.
        """
        count = 0
        added = {token.content: token for token in self.options.added_tokens}
        if not isinstance(special, bool):
            raise TokenizationError(f"special is {special!r:.60}, expected True or False")
        if isinstance(tokens, str) or not _readable(tokens):
            raise TokenizationError(f"tokens are a list of texts, found {tokens!r:.60}")
        listed = list(tokens)
        for token in listed:
            if not isinstance(token, str | AddedToken) or not token:
                raise TokenizationError(f"a token is a text or an AddedToken, found {token!r:.60}")
        for token in listed:
            if isinstance(token, str):
                if token in self.added.by_text:
                    continue
                is_special = special or token in self.added.special_texts
                token = AddedToken(content=token, special=is_special, normalized=not is_special)
            count += self.added.add([token])
            added[token.content] = token
        self.options = self.options.model_copy(update={"added_tokens": tuple(added.values())})
        self._refresh()
        return count

    def tokenize(
        self, text: str, *, lang: str | None = None, split_special_tokens: bool = False
    ) -> list[str]:
        """The tokens of a text, without special tokens around it."""
        with readable([(RawText((text,), lang),)]):
            return self._reader.tokens(text, lang, split_special_tokens)

    def __call__(
        self, text: Any, text_pair: Any = None, *, lang: Any = None, **settings: Any
    ) -> Encoding:
        """Encode a text, a pair, or a list of either; `settings` are the fields of CallOptions, such
        as `padding=True`.

        Returns lists (for one text) or lists of lists, or tensors `(rows, tokens)` of int64. Where
        overflow makes further rows, `overflow_to_sample_mapping` says whose they are. `lang` is a
        language, one for each text, or a pair of them for each pair. The words of a row's tokens
        are what `word_ids(row)` of the result says. Raises TokenizationError.
        """
        call = read_call(settings)
        items, batched = read_inputs(text, text_pair, lang, call.is_split_into_words)
        request = make_request(call, self.options, has_pad="pad" in self.special_ids)
        whole = call.split_special_tokens
        if whole is None:
            whole = self.options.split_special_tokens

        def encode(request: Request) -> Encoding:
            with readable(items):
                tokenized = self._reader.read(items, request.offsets or request.word_ids, whole)
            return self._assembler.assemble(tokenized, request, batched)

        encoding = encode(request)
        encoding.remember(lambda: encode(replace(request, word_ids=True, tensors=None)))
        return encoding

    def encode(self, text: str, text_pair: str | None = None, **settings: Any) -> list[int]:
        """The ids of one text or pair, special tokens included; `settings` as in a call."""
        ids: list[int] = self(text, text_pair, **settings).input_ids
        return ids

    def pad(
        self,
        encodings: Any,
        *,
        padding: bool | str = True,
        max_length: int | None = None,
        pad_to_multiple_of: int | None = None,
        padding_side: Side | None = None,
        return_tensors: Tensors | None = None,
    ) -> Encoding:
        """Pad encodings made before (a list of them, or one of lists) to the same length, as a
        collator does.
        """
        how = Padding(
            padding_strategy(padding),
            max_length,
            pad_to_multiple_of,
            padding_side or self.options.padding_side,
        )
        return self._assembler.pad(encodings, how, return_tensors)

    def get_special_tokens_mask(self, ids: Sequence[int]) -> list[int]:
        """1 for each id of a special token in ids that are formatted already, 0 for the others."""
        special = set(self.added.special_texts.values())
        return [int(index in special) for index in as_list(ids)]

    def convert_tokens_to_ids(self, tokens: str | Sequence[str]) -> int | list[int]:
        """The id of a token, or the ids of several."""
        if isinstance(tokens, str):
            return self.token_to_id(tokens)
        if not _readable(tokens):
            raise TokenizationError(f"tokens are a text or a list of texts, found {tokens!r:.60}")
        return [self.token_to_id(token) for token in tokens]

    def convert_ids_to_tokens(
        self, ids: int | Sequence[int], skip_special_tokens: bool = False
    ) -> str | list[str]:
        """The token of an id, or the tokens of several; raises TokenizationError for an id that
        does not exist.
        """
        if isinstance(ids, int):
            return self._decoder.token(ids)
        return self._decoder.tokens(as_list(ids), skip_special_tokens)

    def convert_tokens_to_string(self, tokens: Sequence[str]) -> str:
        """The text that tokens stand for, without regard to added tokens."""
        if not _readable(tokens):
            raise TokenizationError(f"tokens are a list of texts, found {tokens!r:.60}")
        listed = list(tokens)
        for token in listed:
            if not isinstance(token, str):
                raise TokenizationError(f"tokens are a list of texts, found {token!r:.60}")
        return self.algorithm.join(listed)

    def decode(
        self, ids: Any, skip_special_tokens: bool = False, clean_up_spaces: bool | None = None
    ) -> str:
        """The text of ids (a number, a list, an array or a tensor of one dimension)."""
        return self._decoder.decode(ids, skip_special_tokens, clean_up_spaces)

    def batch_decode(
        self, rows: Any, skip_special_tokens: bool = False, clean_up_spaces: bool | None = None
    ) -> list[str]:
        """The texts of many rows of ids."""
        if not isinstance(rows, Iterable) or isinstance(rows, str):
            raise TokenizationError(f"rows of ids are decoded, found {rows!r}")
        return [self.decode(row, skip_special_tokens, clean_up_spaces) for row in rows]

    def save(self, directory: str | Path, format: Format = "engine") -> Path:
        """Write vocabulary and options so that `load_tokenizer`, or transformers, opens them;
        returns the directory.
        """
        return save_tokenizer(self.options, self.algorithm, self.added, directory, format)

    def with_options(self, **changes: Any) -> Self:
        """The same vocabulary under options of which some fields differ, e.g. `splitting="spaces"`.

        Of a section such as `format`, the keys that are named differ and the others stay. Raises
        TokenizationError for a field that does not exist, a value that does not fit, and a change
        that needs other files.
        """
        options = parse_options(laid_over(self.options.model_dump(), changes))
        for field in ("algorithm", "backend"):
            if getattr(options, field, None) != getattr(self.options, field, None):
                raise TokenizationError(
                    f"{field} says how files are read: give it to load_tokenizer or train_tokenizer"
                )
        return type(self)(options, self.algorithm.with_options(options))

    def train(
        self,
        corpus: Iterable[str],
        vocab_size: int | None = None,
        *,
        languages: Iterable[str] | None = None,
    ) -> Self:
        """A tokenizer with the same options and a new vocabulary of at most `vocab_size` ids, made
        from texts.

        `languages` gives the language of each text where the algorithm needs it. Raises
        TokenizationError for a corpus that holds no text, or is one string.
        """
        algorithm = train_algorithm(
            type(self.algorithm), self.algorithm.options, corpus, vocab_size, languages
        )
        return type(self)(self.options.model_copy(update={"added_tokens": ()}), algorithm)


def _readable(given: object) -> bool:
    """Whether a value can be read one by one: tensors and arrays of no axis cannot."""
    return isinstance(given, Iterable) and getattr(given, "shape", None) != ()

"""The options of a call, checked once, and what follows from them."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, TypeVar, get_args

from pydantic import ValidationError

from tokenization.errors import TokenizationError, nearest, shortened
from tokenization.options import CommonOptions, Side
from tokenization.section import Section

PaddingStrategy: TypeAlias = Literal["longest", "max_length", "do_not_pad"]
TruncationStrategy: TypeAlias = Literal[
    "longest_first", "only_first", "only_second", "do_not_truncate"
]
Overflow: TypeAlias = Literal["rows", "tokens", "none"]
Tensors: TypeAlias = Literal["pt", "np"]
Word = TypeVar("Word", bound=str)

# What stands for a word in a call.
_PADDING: Mapping[bool | None, PaddingStrategy] = {True: "longest", False: "do_not_pad"}
_TRUNCATION: Mapping[bool | None, TruncationStrategy] = {
    True: "longest_first",
    False: "do_not_truncate",
    None: "do_not_truncate",
}
_OVERFLOW: Mapping[bool | None, Overflow] = {True: "rows", False: "none"}
_NO_WORD: Mapping[bool | None, Tensors] = {}


class CallOptions(Section):
    """What a call of a tokenizer takes beside its texts, under the names of transformers.

    Raises pydantic's ValidationError.
    """

    add_special_tokens: bool = True
    padding: bool | str = False
    """"longest" (True), "max_length" or "do_not_pad" (False)."""
    truncation: bool | str | None = None
    """"longest_first" (True), "only_first", "only_second" or "do_not_truncate" (False).

    None: as True where `max_length` is given without `padding`.
    """
    max_length: int | None = None
    """The length in tokens to pad or cut to, special tokens included (None: the tokenizer's)."""
    stride: int = 0
    """How many tokens of a window the next one repeats."""
    is_split_into_words: bool = False
    """Each text is a list of words."""
    pad_to_multiple_of: int | None = None
    padding_side: Side | None = None
    return_tensors: str | None = None
    """"pt" or "np"; None: lists."""
    return_token_type_ids: bool | None = None
    return_attention_mask: bool | None = None
    return_overflowing_tokens: bool | str = False
    """What does not fit: "rows" (True) makes further rows of it, "tokens" returns it beside its
    row, "none" (False) leaves it out.
    """
    return_special_tokens_mask: bool = False
    return_offsets_mapping: bool = False
    return_sequence_ids: bool = False
    """0 and 1 for tokens of the first and second text, -1 for others."""
    return_length: bool = False
    split_special_tokens: bool | None = None
    """Whether the texts of special tokens in a text are taken apart (None: as `options` say)."""


_USUAL = CallOptions()


def read_call(settings: Mapping[str, Any]) -> CallOptions:
    """The options of a call; raises TokenizationError for an unknown name, with the nearest one,
    and for a value that does not fit.
    """
    if not settings:
        return _USUAL
    known = CallOptions.model_fields
    for name in settings:
        if name not in known:
            raise TokenizationError(f"a call takes no {name!r}{nearest(name, known)}")
    # None means as by default, as it does in transformers.
    given = {name: value for name, value in settings.items() if value is not None}
    try:
        return CallOptions.model_validate(given)
    except ValidationError as error:
        issue = error.errors()[0]
        told = f"{issue['loc'][0]}={shortened(repr(issue['input']), 100)}: {issue['msg']}"
        raise TokenizationError(told) from None


@dataclass(frozen=True)
class Padding:
    """How rows become equally long: to the longest one or to `max_length` tokens, rounded up to a
    multiple.
    """

    strategy: PaddingStrategy
    max_length: int | None
    multiple: int | None
    side: Side


@dataclass(frozen=True)
class Truncation:
    """How texts are cut to `max_length` tokens; windows overlap by `stride` tokens."""

    strategy: TruncationStrategy
    max_length: int | None
    stride: int
    side: Side


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a call returns, every default filled in."""

    padding: Padding
    truncation: Truncation
    overflow: Overflow
    add_special_tokens: bool
    token_type_ids: bool
    attention_mask: bool
    special_tokens_mask: bool
    offsets: bool
    sequence_ids: bool
    length: bool
    tensors: Tensors | None
    word_ids: bool = False


def _read_word(name: str, given: object, words: object, short: Mapping[bool | None, Word]) -> Word:
    """One of the `words` of a Literal, or what True, False and None are `short` for; raises
    TokenizationError for anything else.
    """
    if (given is None or isinstance(given, bool)) and given in short:
        return short[given]
    known: tuple[Word, ...] = get_args(words)
    for word in known:
        if word == given:
            return word
    raise TokenizationError(f"{name}={given!r:.60} is not one of {', '.join(map(repr, known))}")


def padding_strategy(padding: bool | str) -> PaddingStrategy:
    """Read the `padding` argument; raises TokenizationError for a word that is none."""
    return _read_word("padding", padding, PaddingStrategy, _PADDING)


def make_request(call: CallOptions, options: CommonOptions, has_pad: bool) -> Request:
    """Fill in what a call leaves open; raises TokenizationError where two of its options exclude each
    other.
    """
    padding, truncation = _lengths(call, options)
    _check_lengths(padding, truncation, has_pad)
    if call.return_token_type_ids and not call.add_special_tokens:
        raise TokenizationError(
            "token types are only defined with special tokens: leave add_special_tokens at True"
        )
    types, mask = call.return_token_type_ids, call.return_attention_mask
    if types is None:
        types = "token_type_ids" in options.outputs
    if mask is None:
        mask = "attention_mask" in options.outputs
    tensors, overflow = call.return_tensors, call.return_overflowing_tokens
    kind: Tensors | None = None
    if tensors is not None:
        kind = _read_word("return_tensors", tensors, Tensors, _NO_WORD)
    return Request(
        padding=padding,
        truncation=truncation,
        tensors=kind,
        overflow=_read_word("return_overflowing_tokens", overflow, Overflow, _OVERFLOW),
        add_special_tokens=call.add_special_tokens,
        token_type_ids=types,
        attention_mask=mask,
        special_tokens_mask=call.return_special_tokens_mask,
        offsets=call.return_offsets_mapping,
        sequence_ids=call.return_sequence_ids,
        length=call.return_length,
    )


def _lengths(call: CallOptions, options: CommonOptions) -> tuple[Padding, Truncation]:
    """How a call pads and cuts; warns where no length is given."""
    max_length, cut = call.max_length, call.truncation
    if max_length is not None and call.padding is False and cut is None:
        cut = True
    padding = padding_strategy(call.padding)
    truncation = _read_word("truncation", cut, TruncationStrategy, _TRUNCATION)
    needs_length = padding == "max_length" or truncation != "do_not_truncate"
    if max_length is None and needs_length:
        max_length = options.max_length
        if max_length is None:
            warnings.warn(
                "no max_length is given and the tokenizer has none: nothing is cut or padded to it",
                stacklevel=4,
            )
            truncation = "do_not_truncate"
            if padding == "max_length":
                padding = "do_not_pad"
    return (
        Padding(
            padding, max_length, call.pad_to_multiple_of, call.padding_side or options.padding_side
        ),
        Truncation(truncation, max_length, call.stride, options.truncation_side),
    )


def _check_lengths(padding: Padding, truncation: Truncation, has_pad: bool) -> None:
    if padding.strategy == "do_not_pad":
        return
    if not has_pad:
        raise TokenizationError(
            "padding needs a pad token: name one in special_tokens.pad, or use a token that exists"
        )
    length, multiple = padding.max_length, padding.multiple
    if truncation.strategy == "do_not_truncate" or not length or not multiple:
        return
    if length % multiple:
        raise TokenizationError(
            f"max_length={length} is not a multiple of pad_to_multiple_of={multiple}"
        )

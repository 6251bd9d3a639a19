"""The options of a call, checked once, and what follows from them."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, cast, get_args

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


def _one_of(name: str, value: object, allowed: object) -> str:
    choices = get_args(allowed)
    if not isinstance(value, str) or value not in choices:
        raise TokenizationError(
            f"{name}={value!r:.60} is not one of {', '.join(map(repr, choices))}"
        )
    return cast(str, value)


def padding_strategy(padding: bool | str) -> PaddingStrategy:
    """Read the `padding` argument; raises TokenizationError for a word that is none."""
    if padding is True:
        return "longest"
    if padding is False:
        return "do_not_pad"
    return cast(PaddingStrategy, _one_of("padding", padding, PaddingStrategy))


def truncation_strategy(truncation: bool | str | None) -> TruncationStrategy:
    """Read the `truncation` argument; raises TokenizationError for a word that is none."""
    if truncation is True:
        return "longest_first"
    if truncation is None or truncation is False:
        return "do_not_truncate"
    return cast(TruncationStrategy, _one_of("truncation", truncation, TruncationStrategy))


def overflow_strategy(overflow: bool | str) -> Overflow:
    """Read the `return_overflowing_tokens` argument, likewise."""
    if overflow is True:
        return "rows"
    if overflow is False:
        return "none"
    return cast(Overflow, _one_of("return_overflowing_tokens", overflow, Overflow))


def tensors_kind(kind: str | None) -> Tensors | None:
    """Read the `return_tensors` argument, likewise."""
    if kind is None:
        return None
    return cast(Tensors, _one_of("return_tensors", kind, Tensors))


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
    return Request(
        padding=padding,
        truncation=truncation,
        tensors=tensors_kind(call.return_tensors),
        overflow=overflow_strategy(call.return_overflowing_tokens),
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
    padding, truncation = padding_strategy(call.padding), truncation_strategy(cut)
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

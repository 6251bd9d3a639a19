"""What a call asks for, checked once and in the words that the field uses."""

import warnings
from dataclasses import dataclass
from typing import Literal, cast, get_args

from tokenization.errors import TokenizationError
from tokenization.options import CommonOptions, Side

Padding = Literal["longest", "max_length", "do_not_pad"]
Truncation = Literal["longest_first", "only_first", "only_second", "do_not_truncate"]
Overflow = Literal["rows", "tokens", "none"]
Tensors = Literal["pt", "np"]


@dataclass(frozen=True)
class Request:
    """The settings of one call, every default filled in."""

    padding: Padding
    truncation: Truncation
    max_length: int | None
    stride: int
    padding_side: Side
    truncation_side: Side
    pad_to_multiple_of: int | None
    overflow: Overflow
    add_special_tokens: bool
    token_type_ids: bool
    attention_mask: bool
    special_tokens_mask: bool
    offsets: bool
    sequence_ids: bool
    length: bool
    word_ids: bool
    tensors: Tensors | None


def _one_of(name: str, value: object, allowed: object) -> str:
    choices = get_args(allowed)
    if value not in choices:
        raise TokenizationError(f"{name}={value!r} is not one of {', '.join(map(repr, choices))}")
    return cast(str, value)


def padding_strategy(padding: bool | str) -> Padding:
    """Read the `padding` argument; raises TokenizationError for a word that is none."""
    if isinstance(padding, bool):
        return "longest" if padding else "do_not_pad"
    return cast(Padding, _one_of("padding", padding, Padding))


def truncation_strategy(truncation: bool | str | None) -> Truncation:
    """Read the `truncation` argument; raises TokenizationError for a word that is none."""
    if truncation is None or isinstance(truncation, bool):
        return "longest_first" if truncation else "do_not_truncate"
    return cast(Truncation, _one_of("truncation", truncation, Truncation))


def make_request(
    options: CommonOptions,
    *,
    has_pad: bool,
    padding: bool | str,
    truncation: bool | str | None,
    max_length: int | None,
    stride: int,
    padding_side: Side | None,
    pad_to_multiple_of: int | None,
    return_overflowing_tokens: bool | str,
    add_special_tokens: bool,
    return_token_type_ids: bool | None,
    return_attention_mask: bool | None,
    return_special_tokens_mask: bool,
    return_offsets_mapping: bool,
    return_sequence_ids: bool,
    return_length: bool,
    return_word_ids: bool,
    return_tensors: Tensors | None,
) -> Request:
    """Fill in what a call leaves open; raises TokenizationError where its wishes contradict each
    other.
    """
    if max_length is not None and padding is False and truncation is None:
        truncation = True
    how_padded, how_cut = padding_strategy(padding), truncation_strategy(truncation)
    if max_length is None:
        max_length = (
            options.max_length
            if how_padded == "max_length" or how_cut != "do_not_truncate"
            else None
        )
        if max_length is None and (how_padded == "max_length" or how_cut != "do_not_truncate"):
            warnings.warn(
                "no max_length is given and the tokenizer has none: nothing is cut or padded to it",
                stacklevel=3,
            )
            how_padded = "do_not_pad" if how_padded == "max_length" else how_padded
            how_cut = "do_not_truncate"
    if how_padded != "do_not_pad" and not has_pad:
        raise TokenizationError(
            "padding needs a pad token: name one in special_tokens.pad, or use a token that exists"
        )
    multiple = pad_to_multiple_of
    cuts_and_pads = how_cut != "do_not_truncate" and how_padded != "do_not_pad"
    if cuts_and_pads and multiple and max_length and max_length % multiple:
        raise TokenizationError(
            f"max_length={max_length} is not a multiple of pad_to_multiple_of={multiple}"
        )
    if return_token_type_ids and not add_special_tokens:
        raise TokenizationError(
            "token types are only defined with special tokens: leave add_special_tokens at True"
        )
    if return_tensors is not None:
        _one_of("return_tensors", return_tensors, Tensors)
    overflow = return_overflowing_tokens
    if isinstance(overflow, bool):
        overflow = "rows" if overflow else "none"
    return Request(
        padding=how_padded,
        truncation=how_cut,
        max_length=max_length,
        stride=stride,
        padding_side=padding_side or options.padding_side,
        truncation_side=options.truncation_side,
        pad_to_multiple_of=multiple,
        overflow=cast(Overflow, _one_of("return_overflowing_tokens", overflow, Overflow)),
        add_special_tokens=add_special_tokens,
        token_type_ids=_default(return_token_type_ids, "token_type_ids" in options.outputs),
        attention_mask=_default(return_attention_mask, "attention_mask" in options.outputs),
        special_tokens_mask=return_special_tokens_mask,
        offsets=return_offsets_mapping,
        sequence_ids=return_sequence_ids,
        length=return_length,
        word_ids=return_word_ids,
        tensors=return_tensors,
    )


def _default(asked: bool | None, usual: bool) -> bool:
    return usual if asked is None else asked

"""Padding, permutations, targets and head masks of a call."""

from torch import Tensor

from engine.arguments import check_finite, check_keeps, check_mask, expect, in_range, readable
from engine.errors import InputError
from engine.network.inputs.call import Inputs, numbers
from engine.spec import Spec


def takes_mask(spec: Spec) -> bool:
    """Whether anything in the network of a spec reads which tokens are padding."""
    return "padding" in spec.attention.mask or spec.block.zero_padding


def check_masks(spec: Spec, inputs: Inputs) -> None:
    """Raise InputError for the first mask of another shape, or of values that it cannot have."""
    batch, length = inputs.shape
    _check_padding(spec, inputs)
    expect("perm_mask", inputs.perm_mask, (batch, length, length))
    check_mask("attention_mask", inputs.attention_mask)
    check_mask("input_mask", inputs.input_mask, "1 for padding and 0 for what is kept")
    check_mask("perm_mask", inputs.perm_mask, "1 where a token may not see another, else 0")
    check_mask("encoder_attention_mask", inputs.encoder_attention_mask)
    check_keeps("attention_mask", inputs.attention_mask)
    check_keeps("encoder_attention_mask", inputs.encoder_attention_mask)
    if inputs.target_mapping is not None:
        _check_targets(inputs.target_mapping, batch, length)
    dims = spec.dims
    expect("head_mask", inputs.head_mask, (dims.heads,), (dims.layers, dims.heads))
    expect("cross_head_mask", inputs.cross_head_mask, (dims.heads,), (dims.layers, dims.heads))
    check_finite("head_mask", inputs.head_mask)
    check_finite("cross_head_mask", inputs.cross_head_mask)


def _check_padding(spec: Spec, inputs: Inputs) -> None:
    batch, length = inputs.shape
    names = ("attention_mask", "input_mask", "lengths")
    given = [name for name in names if getattr(inputs, name) is not None]
    if len(given) > 1:
        raise InputError(
            f"give only one of attention_mask, input_mask and lengths, found {' and '.join(given)}"
        )
    if given and not takes_mask(spec):
        raise InputError(
            f"{given[0]} needs the mask rule padding; attention.mask has "
            f"{list(spec.attention.mask)}"
        )
    columns = length
    if inputs.memory is not None:
        columns = inputs.memory.length + length
    by_row = ((batch, length), (batch, columns))
    by_pair = ((batch, length, length), (batch, length, columns))
    expect("attention_mask", inputs.attention_mask, *by_row, *by_pair)
    expect("input_mask", inputs.input_mask, (batch, length))
    expect("lengths", inputs.lengths, (batch,))
    if inputs.lengths is not None:
        in_range("lengths", inputs.lengths, length + 1, "the length of the input plus one")


def _check_targets(mapping: Tensor, batch: int, length: int) -> None:
    if mapping.dim() != 3:
        raise InputError(
            f"target_mapping has shape {tuple(mapping.shape)}, expected "
            "(batch, predictions, length)"
        )
    places = max(length, mapping.shape[-1])
    expect("target_mapping", mapping, (batch, mapping.shape[1], places))
    if not mapping.shape[1]:
        raise InputError("target_mapping has no rows: leave it out, or ask for at least one token")
    if readable(mapping):
        ones = numbers(mapping)
        if bool((ones * (ones - 1)).any()) or bool((ones.sum(-1) > 1).any()):
            raise InputError(
                "each row of target_mapping is one-hot over the tokens, or all zero for no "
                "prediction"
            )

"""Whether the arguments of a call are well formed: tokens, vectors, memory."""

from typing import get_args

import torch

from engine.arguments import check_flag, check_vectors, expect, in_range
from engine.errors import InputError
from engine.memory import Form, check_is_memory, check_memory
from engine.network.inputs.axes import check_axes
from engine.network.inputs.call import ARGUMENTS, AXES, FLAGS, MASKS, STATES, Inputs
from engine.network.inputs.masks import check_masks
from engine.network.positions import Position
from engine.spec import Spec


def check(spec: Spec, position: Position, inputs: Inputs, dtype: torch.dtype) -> None:
    """Raise InputError for the first argument that is malformed or that the spec has no axis for.

    `dtype` is that of the network's weights.
    """
    if (inputs.input_ids is None) == (inputs.inputs_embeds is None):
        raise InputError("give exactly one of input_ids and inputs_embeds")
    if inputs.memory is not None:
        check_is_memory(inputs.memory)
    for name in FLAGS:
        if getattr(inputs, name) is not False:
            check_flag(name, getattr(inputs, name))
    _check_tokens(spec, position, inputs)
    given = {name for name in ARGUMENTS if getattr(inputs, name) is not None}
    if not given.isdisjoint(AXES):
        check_axes(spec, position, inputs)
    if not given.isdisjoint((*STATES, "encoder_attention_mask")):
        _check_states(spec, inputs, dtype)
    if not given.isdisjoint((*MASKS, "lengths")):
        check_masks(spec, inputs)
    if not given.isdisjoint(("memory", "use_memory")):
        _check_memory(spec, inputs)


def _check_tokens(spec: Spec, position: Position, inputs: Inputs) -> None:
    ids, vectors = inputs.input_ids, inputs.inputs_embeds
    if ids is not None:
        if ids.dim() != 2:
            raise InputError(f"input_ids has shape {tuple(ids.shape)}, expected (batch, length)")
        in_range("input_ids", ids, spec.dims.vocab, "dims.vocab")
    elif vectors is not None:
        if vectors.dim() != 3 or vectors.shape[-1] != spec.embedding_width:
            raise InputError(
                f"inputs_embeds has shape {tuple(vectors.shape)}, expected "
                f"(batch, length, {spec.embedding_width})"
            )
    batch, length = inputs.shape
    if not batch * length:
        raise InputError(f"the input is empty: batch {batch}, length {length}")
    if position.mirrored and batch % 2:
        raise InputError(
            "position.reversed_half mirrors half the batch and needs an even one, found "
            f"{batch} rows"
        )


def _check_states(spec: Spec, inputs: Inputs, dtype: torch.dtype) -> None:
    """Vectors that the caller made: their dtype, and the shape of an encoder's."""
    batch, length = inputs.shape
    for name in STATES:
        check_vectors(name, getattr(inputs, name), dtype)
    states, mask = inputs.encoder_hidden_states, inputs.encoder_attention_mask
    if states is not None:
        count = states.shape[1] if states.dim() > 1 else 0
        expect("encoder_hidden_states", states, (batch, count, spec.encoder_width))
    if mask is None:
        return
    held = None if inputs.memory is None else inputs.memory.layers[0].cross_keys
    if held is not None:
        count = held.shape[2]
    elif states is not None:
        count = states.shape[1]
    else:
        raise InputError(
            "encoder_attention_mask needs encoder_hidden_states, given here or held by memory"
        )
    expect("encoder_attention_mask", mask, (batch, count), (batch, length, count))


def _check_memory(spec: Spec, inputs: Inputs) -> None:
    asked, forms = inputs.use_memory, get_args(Form)
    named = isinstance(asked, str) and asked in forms
    if asked is not None and not isinstance(asked, bool) and not named:
        allowed = " or ".join(f"'{form}'" for form in forms)
        raise InputError(f"use_memory is {asked!r}, expected True, False, None or {allowed}")
    if asked and spec.memory.kind == "none":
        raise InputError("use_memory needs a memory: this spec has memory.kind none")
    if inputs.memory is None:
        return
    if spec.memory.kind == "none":
        raise InputError("memory was given but this spec has memory.kind none")
    check_memory(spec, inputs.memory, inputs.shape[0])

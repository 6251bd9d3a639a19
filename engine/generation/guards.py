"""What each text method needs of a network.

Every check of a spec stands here, and every question about its kinds of position and memory.
"""

from typing import Literal

import torch

from engine.arguments import check_count
from engine.errors import InputError
from engine.generation.predictions import output_layer
from engine.network.network import Network
from engine.parameters.offloading import gather_for
from engine.spec import Spec

TextMethod = Literal["generate", "fill_mask", "mask_predict", "score", "stream"]


def check_text_method(network: Network, method: TextMethod, predicts: bool = True) -> None:
    """Raise InputError for a method that a network cannot do.

    `predicts`: the method needs the scores of tokens. Methods run the body and not forward, which
    is where sharded weights are gathered otherwise.
    """
    spec = network.spec
    gather_for(network, "body", "project_memory")
    for block in network.blocks:
        gather_for(block, "project")
    if predicts:
        output_layer(network)
    if network.position.mirrored:
        raise InputError(
            "position.reversed_half mirrors half of each training batch, so that a text's answers "
            f"would hang on its row: override it with false for {method}()"
        )
    if method == "generate" and not reads_forward(spec):
        raise InputError(
            f"'{spec.name}' attends both ways, so it cannot continue a text: use fill_mask() or "
            "mask_predict(), or override attention.mask with a causal one if it was trained left "
            "to right"
        )
    if method in ("fill_mask", "mask_predict") and is_causal(spec):
        raise InputError(
            f"'{spec.name}' sees only earlier tokens, so it cannot fill a place from both sides: "
            "use generate()"
        )
    streams = is_recurrent(spec) and network.memory_policy.remembers("segments")
    if method == "stream" and not streams:
        raise InputError(
            f"stream() needs memory.kind recurrent; '{spec.name}' has {spec.memory.kind}: use "
            "score(window=…)"
        )


def is_causal(spec: Spec) -> bool:
    """Whether a token sees only earlier ones."""
    return "causal" in spec.attention.mask


def has_two_streams(spec: Spec) -> bool:
    """Whether a query stream predicts tokens that the content stream does not show it."""
    return spec.two_streams


def reads_forward(spec: Spec) -> bool:
    """Whether the next token can be predicted from the earlier ones."""
    return is_causal(spec) or has_two_streams(spec)


def is_recurrent(spec: Spec) -> bool:
    """Whether a long text goes through in segments, each with the memory of those before it."""
    return spec.memory.kind == "recurrent"


def has_memory(spec: Spec) -> bool:
    """Whether the spec has any kind of memory, however short."""
    return spec.memory.kind != "none"


def hides_padding_behind(network: Network) -> bool:
    """Whether padding behind a text, or hidden by a rule, leaves the text's states alone."""
    rules = network.spec.attention.mask
    return ("padding" in rules or "causal" in rules) and network.position.keys_stay


def hides_padding_before(network: Network) -> bool:
    """Whether padding before a text leaves the text's states alone, where no memory is before it.

    Zero states at the start would be seen before the padding by some rows, behind it by others.
    """
    starts_with_zeros = network.memory_policy.start(1, torch.empty(0, device="meta")) is not None
    moved = starts_with_zeros or network.position.padding_counts
    return "padding" in network.spec.attention.mask and not moved


def mask_token(network: Network, given: int | None) -> int:
    """The id that stands for a masked token.

    Raises InputError where neither the caller nor the spec names it.
    """
    spec = network.spec
    token = spec.tokens.mask
    if given is not None:
        token = given
    if token is None:
        raise InputError(
            f"'{spec.name}' does not say which id hides a token: give "
            "mask_token_id=tokenizer.mask_token_id"
        )
    check_count("mask_token_id", token, least=0)
    if token >= spec.dims.vocab:
        raise InputError(f"mask_token_id is {token}, outside 0 … {spec.dims.vocab - 1}")
    return token

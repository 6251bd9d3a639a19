"""What prompts and texts share in reading the arguments of a call.

b batch, n tokens, s states of an encoder, d model width.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from engine.arguments import expect, read_mask, read_tensor
from engine.errors import InputError
from engine.generation.guards import has_memory
from engine.memory import Memory, check_is_memory, check_memory
from engine.network.network import Network
from engine.spec import Spec

Read = Callable[[str, Any, torch.device], Tensor]


def read_given(name: str, given: Any, read: Read, device: torch.device) -> Tensor | None:
    """What was given, as a tensor; None where nothing was."""
    if given is None:
        return None
    return read(name, given, device)


def read_encoder(
    network: Network, states: Any, mask: Any, batch: int
) -> tuple[Tensor | None, Tensor | None]:
    """States of an encoder (b s d) and their mask (b s); raises InputError for another batch."""
    spec, device = network.spec, network.device
    states = read_given("encoder_hidden_states", states, read_tensor, device)
    mask = read_given("encoder_attention_mask", mask, read_mask, device)
    if states is not None:
        _check_encoder(spec, states, mask, batch)
    elif mask is not None:  # a memory may hold what the states became
        fits = mask.dim() == 2 and len(mask) == batch
        if not (spec.attention.cross and fits):
            raise InputError(
                "encoder_attention_mask (batch, length) needs encoder_hidden_states, given here or "
                "held by memory"
            )
    return states, mask


def _check_encoder(spec: Spec, states: Tensor, mask: Tensor | None, batch: int) -> None:
    if not spec.attention.cross:
        raise InputError(
            "encoder_hidden_states needs cross-attention: this spec has attention.cross false"
        )
    count = 0
    if states.dim() > 1:
        count = states.shape[1]
    expect("encoder_hidden_states", states, (batch, count, spec.encoder_width))
    expect("encoder_attention_mask", mask, (batch, count))


def check_given_memory(spec: Spec, memory: Memory | None, batch: int) -> None:
    """Raise InputError for what is no memory of this network and batch."""
    if memory is None:
        return
    check_is_memory(memory)
    if not has_memory(spec):
        raise InputError("memory was given but this spec has memory.kind none")
    check_memory(spec, memory, batch)


def infer_mask(spec: Spec, tokens: Tensor) -> Tensor | None:
    """The mask (b n) of tokens given without one, where the spec counts padding by its id."""
    padding = spec.embeddings.tables.tokens.padding
    if spec.attention.infer_padding != "count" or padding is None:
        return None
    return tokens != padding


def unless_all(mask: Tensor | None) -> Tensor | None:
    """A mask as truth values; None where every token is real."""
    if mask is None:
        return None
    real = mask > 0
    if bool(real.all()):
        return None
    return real


def count_real(real: Tensor, what: str) -> Tensor:
    """How many tokens of each row are real (b); raises InputError for a row without any."""
    counts = real.sum(1)
    if not bool(counts.all()):
        row = int((counts == 0).nonzero()[0])
        raise InputError(f"{what} {row} is empty: its attention_mask keeps no token")
    return counts


def check_no_gap(real: Tensor, first: Tensor, counts: Tensor, what: str) -> None:
    """Raise InputError where the real tokens (b n) are not `counts` (b) from `first` (b 1) on."""
    columns = torch.arange(real.shape[1], device=real.device)
    if not torch.equal(real, (columns >= first) & (columns < first + counts[:, None])):
        raise InputError(
            f"attention_mask has a gap: the real tokens of a {what} stand together, padding before "
            "or after"
        )


def moved(tensor: Tensor | None, source: Tensor) -> Tensor | None:
    """Columns (b n) or vectors (b n d), each taken from its `source` (b n)."""
    if tensor is None:
        return None
    if tensor.dim() == 3:
        source = source[..., None].expand_as(tensor)
    return tensor.gather(1, source)

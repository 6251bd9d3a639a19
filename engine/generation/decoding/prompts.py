"""Prompts of unequal lengths: checked, moved to the right edge, and grouped where padding cannot be
hidden.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from engine.arguments import check_mask, expect, read_ids, read_mask, read_tensor
from engine.errors import InputError
from engine.generation.guards import hides_padding_before
from engine.generation.reading import (
    check_given_memory,
    check_no_gap,
    count_real,
    infer_mask,
    moved,
    read_encoder,
    read_given,
    unless_all,
)
from engine.memory import Memory
from engine.network.network import Network
from engine.spec import Spec


@dataclass(frozen=True)
class GivenPrompts:
    """The arguments of a call that say what to continue, not yet read; see `Model.generate`."""

    tokens: Any
    """(b n); None where there are vectors alone."""
    mask: Any = None
    """(b n), with padding on either side."""
    langs: Any = None
    """(b) or (b n)."""
    encoder_states: Any = None
    encoder_mask: Any = None
    memory: Any = None
    vectors: Any = None
    """(b n d)."""


@dataclass(frozen=True)
class Prompts:
    """Texts that end together."""

    tokens: Tensor
    """(b n)."""
    mask: Tensor | None = None
    """(b n): True for real tokens, None where all are."""
    langs: Tensor | None = None
    """(b): the language of each row."""
    encoder_states: Tensor | None = None
    """(b s d): those that a decoder attends to."""
    encoder_mask: Tensor | None = None
    """(b s)."""
    memory: Memory | None = None
    """What stands before the prompts."""
    vectors: Tensor | None = None
    """(b n d): read in the place of the ids where they are given."""
    has_ids: bool = True
    """Whether the ids are known: not where vectors are all there is."""

    def select(self, rows: Tensor, length: int | None = None) -> "Prompts":
        """These rows, cut to their last `length` tokens, which are then all real."""
        columns, mask, memory = slice(None), None, self.memory
        if length is not None:
            columns = slice(-length, None)
        elif self.mask is not None:
            mask = unless_all(self.mask[rows])
        if memory is not None:
            memory = memory.select(rows)
        vectors = _rows(self.vectors, rows)
        if vectors is not None:
            vectors = vectors[:, columns]
        return Prompts(
            self.tokens[rows][:, columns],
            mask=mask,
            langs=_rows(self.langs, rows),
            encoder_states=_rows(self.encoder_states, rows),
            encoder_mask=_rows(self.encoder_mask, rows),
            memory=memory,
            vectors=vectors,
            has_ids=self.has_ids,
        )


def _rows(tensor: Tensor | None, rows: Tensor) -> Tensor | None:
    if tensor is None:
        return None
    return tensor[rows]


def read_prompts(network: Network, given: GivenPrompts) -> Prompts:
    """Checked prompts, moved to the right edge (raises InputError)."""
    spec, device = network.spec, network.device
    vectors = _read_vectors(given, spec.embedding_width, device)
    tokens = _read_tokens(given, vectors, device)
    has_ids, batch = given.tokens is not None, len(tokens)
    mask = read_given("attention_mask", given.mask, read_mask, device)
    expect("attention_mask", mask, tuple(tokens.shape))
    check_mask("attention_mask", mask)
    if mask is None and has_ids:
        mask = infer_mask(spec, tokens)
    langs = _read_langs(given.langs, tokens, device)
    states, states_mask = read_encoder(network, given.encoder_states, given.encoder_mask, batch)
    check_given_memory(spec, given.memory, batch)
    real = unless_all(mask)
    if real is not None:
        source = _source_columns(real)
        tokens, real = tokens.gather(1, source), real.gather(1, source)
        vectors = moved(vectors, source)
    return Prompts(
        tokens,
        mask=real,
        langs=langs,
        encoder_states=states,
        encoder_mask=states_mask,
        memory=given.memory,
        vectors=vectors,
        has_ids=has_ids,
    )


def _read_vectors(given: GivenPrompts, width: int, device: torch.device) -> Tensor | None:
    """The vectors (b n d) that were given, if any."""
    if given.tokens is None and given.vectors is None:
        raise InputError("give prompts as input_ids or inputs_embeds")
    vectors = read_given("inputs_embeds", given.vectors, read_tensor, device)
    if vectors is not None and (vectors.dim() != 3 or vectors.shape[-1] != width):
        raise InputError(
            f"inputs_embeds has shape {tuple(vectors.shape)}, expected (batch, length, {width})"
        )
    return vectors


def _read_tokens(given: GivenPrompts, vectors: Tensor | None, device: torch.device) -> Tensor:
    """Ids (b n), 0 where only vectors (b n d) are given."""
    if given.tokens is None and vectors is not None:
        tokens = torch.zeros(vectors.shape[:2], dtype=torch.long, device=device)
    else:
        tokens = read_ids("input_ids", given.tokens, device)
    if tokens.dim() != 2:
        raise InputError(f"input_ids has shape {tuple(tokens.shape)}, expected (batch, length)")
    if vectors is not None and vectors.shape[:2] != tokens.shape:
        raise InputError(
            f"inputs_embeds has shape {tuple(vectors.shape)}, but input_ids {tuple(tokens.shape)}"
        )
    if not tokens.numel():
        raise InputError(
            "the prompt is empty: give at least one token, such as the id of the start token"
        )
    return tokens


def _read_langs(given: Any, tokens: Tensor, device: torch.device) -> Tensor | None:
    """The language (b) of each row, given so or for each token (b n)."""
    langs = read_given("langs", given, read_ids, device)
    if langs is None:
        return None
    if langs.shape not in (tokens.shape[:1], tokens.shape):
        raise InputError(
            f"langs has shape {tuple(langs.shape)}, expected (batch,) or (batch, length)"
        )
    if langs.dim() == 1:
        return langs
    if bool((langs != langs[:, :1]).any()):
        raise InputError(
            "langs holds several languages in one row: a generated text has one language"
        )
    return langs[:, 0]


def _source_columns(real: Tensor) -> Tensor:
    """Which column (b n) each column holds once padding has moved to the left."""
    counts = count_real(real, "prompt")
    columns = torch.arange(real.shape[1], device=real.device)
    after = torch.where(real, columns, -1).amax(1, keepdim=True) + 1
    check_no_gap(real, after - counts[:, None], counts, "prompt")
    return (columns + after) % real.shape[1]


def groups(network: Network, prompts: Prompts) -> list[tuple[Tensor, Prompts]]:
    """Row numbers and prompts of each batch that can run together.

    Padding on the left leaves a row's answers alone where a rule hides it and nothing stands before
    it; else prompts of the same length run together.
    """
    mask, memory = prompts.mask, prompts.memory
    follows = memory is not None and memory.length > 0
    if mask is None or (hides_padding_before(network) and not follows):
        return [(torch.arange(len(prompts.tokens), device=prompts.tokens.device), prompts)]
    lengths = mask.sum(1)
    result = []
    for length in lengths.unique().tolist():
        rows = (lengths == length).nonzero().squeeze(1)
        result.append((rows, prompts.select(rows, length)))
    return result


def check_positions(spec: Spec, prompts: Prompts, new: int) -> None:
    """Raise InputError where a prompt, or `new` tokens after it, reach past the last position."""
    size = spec.position_limit
    if size is None:
        return
    length = prompts.tokens.shape[1]
    if prompts.memory is not None:
        length += int(torch.as_tensor(prompts.memory.seen).max())
    if length > size:
        raise InputError(
            f"the prompt has {length} tokens but '{spec.name}' has {size} positions: shorten it"
        )
    # The last new token is predicted, not read.
    if length + new - 1 > size:
        raise InputError(
            f"a prompt of {length} tokens and max_new_tokens {new} reach past the {size} positions "
            f"of '{spec.name}': ask for at most {size - length + 1} new tokens"
        )

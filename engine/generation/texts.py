"""Texts to score or to predict masked tokens in: a batch with padding on either side, moved to the
left edge.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from engine.arguments import (
    check_mask,
    check_vectors,
    expect,
    in_range,
    read_ids,
    read_mask,
    read_tensor,
)
from engine.errors import InputError
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
from engine.network.inputs import Inputs, takes_mask
from engine.network.network import Network
from engine.spec import Spec


@dataclass(frozen=True)
class Texts:
    """A batch of texts: as a call gives them, or read and moved to the left edge."""

    tokens: Tensor
    """(b n)."""
    mask: Tensor | None = None
    """(b n): True for real tokens; None where all are."""
    targets: Tensor | None = None
    """(b n): True for tokens that are to be scored; None for all of them."""
    types: Tensor | None = None
    """(b n): token types."""
    langs: Tensor | None = None
    """(b n)."""
    encoder_states: Tensor | None = None
    """(b s d)."""
    encoder_mask: Tensor | None = None
    """(b s)."""
    memory: Memory | None = None
    """What stands before the texts."""
    vectors: Tensor | None = None
    """(b n d): read in the place of the ids where they are given."""
    places: Tensor | None = None
    """(b n): where each column of the texts as given stands now; None where none has moved."""

    def real(self) -> Tensor:
        """True for real tokens (b n)."""
        if self.mask is None:
            return torch.ones_like(self.tokens, dtype=torch.bool)
        return self.mask

    def as_given(self) -> Tensor:
        """The ids (b n) where they stood before padding was moved to the right, in memory of their
        own.
        """
        if self.places is None:
            return self.tokens.clone()
        return self.tokens.gather(1, self.places)

    def select(self, rows: Tensor, length: int | None = None) -> "Texts":
        """These rows, cut to their first `length` tokens, which are then all real."""

        def cut(tensor: Tensor | None, columns: slice) -> Tensor | None:
            if tensor is None:
                return None
            return tensor[rows, columns]

        first, every, mask, memory = slice(length), slice(None), None, self.memory
        if length is None:
            mask = cut(self.mask, every)
        if memory is not None:
            memory = memory.select(rows)
        return replace(
            self,
            tokens=self.tokens[rows, first],
            mask=mask,
            targets=cut(self.targets, first),
            types=cut(self.types, first),
            langs=cut(self.langs, first),
            encoder_states=cut(self.encoder_states, every),
            encoder_mask=cut(self.encoder_mask, every),
            memory=memory,
            vectors=cut(self.vectors, first),
            places=None,
        )

    def inputs(self, columns: slice, spec: Spec) -> Inputs:
        """Arguments of one call for these columns.

        All are said to be real where the spec would infer padding otherwise. A spec without a
        padding rule takes no mask: its texts come without padding, or with padding that a causal
        mask hides behind them.
        """

        def cut(tensor: Tensor | None) -> Tensor | None:
            if tensor is None:
                return None
            return tensor[:, columns]

        ids, mask = None, None
        if self.vectors is None:
            ids = self.tokens[:, columns]
        if spec.attention.infer_padding != "none":
            mask = self.real()
        elif takes_mask(spec):
            mask = self.mask
        return Inputs(
            ids,
            cut(self.vectors),
            attention_mask=cut(mask),
            token_type_ids=cut(self.types),
            langs=cut(self.langs),
            encoder_hidden_states=self.encoder_states,
            encoder_attention_mask=self.encoder_mask,
        )


def read_texts(network: Network, given: Texts) -> Texts:
    """Checked texts that start at column 0 (raises InputError for a wrong shape, an empty text or a
    gap).
    """
    texts = _read(network, given)
    mask = texts.mask
    if mask is None and texts.vectors is None:
        mask = infer_mask(network.spec, texts.tokens)
    real = unless_all(mask)
    if real is None:
        return replace(texts, mask=None)
    return _to_the_left(texts, real)


def _read(network: Network, given: Texts) -> Texts:
    """The tensors of a call, checked."""
    spec, device = network.spec, network.device
    tokens = read_ids("input_ids", given.tokens, device)
    if tokens.dim() != 2:
        raise InputError(f"input_ids has shape {tuple(tokens.shape)}, expected (batch, length)")
    if not tokens.numel():
        raise InputError("the text is empty: give at least one token")
    in_range("input_ids", tokens, spec.dims.vocab, "dims.vocab")
    mask = read_given("attention_mask", given.mask, read_mask, device)
    targets = read_given("targets", given.targets, read_mask, device)
    types = read_given("token_type_ids", given.types, read_ids, device)
    langs = read_given("langs", given.langs, read_ids, device)
    if langs is not None and langs.shape == tokens.shape[:1]:
        langs = langs[:, None].expand(tokens.shape)
    vectors = read_given("inputs_embeds", given.vectors, read_tensor, device)
    expect("inputs_embeds", vectors, (*tokens.shape, spec.embedding_width))
    check_vectors("inputs_embeds", vectors, network.dtype)
    expect("attention_mask", mask, tuple(tokens.shape))
    expect("targets", targets, tuple(tokens.shape))
    expect("token_type_ids", types, tuple(tokens.shape))
    expect("langs", langs, tuple(tokens.shape))
    check_mask("attention_mask", mask)
    check_mask("targets", targets, "1 for tokens that are asked for, else 0")
    states, states_mask = read_encoder(
        network, given.encoder_states, given.encoder_mask, len(tokens)
    )
    check_given_memory(spec, given.memory, len(tokens))
    if targets is not None:
        targets = targets > 0
    return Texts(
        tokens,
        mask=mask,
        targets=targets,
        types=types,
        langs=langs,
        encoder_states=states,
        encoder_mask=states_mask,
        memory=given.memory,
        vectors=vectors,
    )


def _to_the_left(texts: Texts, real: Tensor) -> Texts:
    """The same texts with all padding behind them; `real` (b n) as they are now."""
    counts = count_real(real, "text")
    first = real.int().argmax(1)[:, None]
    check_no_gap(real, first, counts, "text")
    columns, length = torch.arange(real.shape[1], device=real.device), real.shape[1]
    source = (columns + first) % length
    return replace(
        texts,
        tokens=texts.tokens.gather(1, source),
        mask=real.gather(1, source),
        targets=moved(texts.targets, source),
        types=moved(texts.types, source),
        langs=moved(texts.langs, source),
        vectors=moved(texts.vectors, source),
        places=(columns - first) % length,
    )


def equal_lengths(texts: Texts) -> list[tuple[Tensor, Texts]]:
    """Row numbers and texts of each length, without padding."""
    lengths = texts.real().sum(1)
    rows = [(lengths == length).nonzero().squeeze(1) for length in lengths.unique()]
    return [(some, texts.select(some, int(lengths[some[0]]))) for some in rows]

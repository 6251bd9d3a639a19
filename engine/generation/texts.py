"""Texts to score or fill: a batch with padding on either side, moved to the left edge."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from engine.arguments import check_mask, read_ids, read_mask, read_tensor
from engine.errors import InputError
from engine.generation.prompts import check_encoder, check_given_memory
from engine.memory import Memory
from engine.network.inputs import Inputs, check_vectors, expect, in_range, takes_mask
from engine.spec import Spec

if TYPE_CHECKING:
    from engine.model import Model


@dataclass(frozen=True)
class Texts:
    """Ids (b n); `mask` is True for real tokens, `targets` for those that are asked for; `types`,
    `langs` (b n).

    `vectors` (b n d) are read in the place of the ids where they are given. `places` (b n) says
    where each column of the texts as given stands now.
    """

    tokens: Tensor
    mask: Tensor | None = None
    targets: Tensor | None = None
    types: Tensor | None = None
    langs: Tensor | None = None
    encoder_states: Tensor | None = None
    encoder_mask: Tensor | None = None
    memory: Memory | None = None
    vectors: Tensor | None = None
    places: Tensor | None = None

    def real(self) -> Tensor:
        """True for real tokens (b n)."""
        return torch.ones_like(self.tokens, dtype=torch.bool) if self.mask is None else self.mask

    def as_given(self) -> Tensor:
        """The ids (b n) where they stood before padding was moved to the right, in memory of their
        own.
        """
        return self.tokens.clone() if self.places is None else self.tokens.gather(1, self.places)

    def select(self, rows: Tensor, length: int | None = None) -> "Texts":
        """These rows, cut to their first `length` tokens, which are then all real."""

        def cut(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else tensor[rows, :length]

        return replace(
            self,
            tokens=self.tokens[rows, :length],
            mask=None if length is not None else cut(self.mask),
            targets=cut(self.targets),
            types=cut(self.types),
            langs=cut(self.langs),
            encoder_states=None if self.encoder_states is None else self.encoder_states[rows],
            encoder_mask=None if self.encoder_mask is None else self.encoder_mask[rows],
            memory=None if self.memory is None else self.memory.select(rows),
            vectors=cut(self.vectors),
            places=None,
        )

    def inputs(self, columns: slice, spec: Spec) -> Inputs:
        """Arguments of one call for these columns.

        All are said to be real where the spec would infer padding otherwise. A spec without a
        padding rule takes no mask: its texts come without padding, or with padding that a causal
        mask hides behind them.
        """

        def cut(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else tensor[:, columns]

        mask = self.mask if takes_mask(spec) else None
        if spec.attention.infer_padding != "none":
            mask = self.real()
        return Inputs(
            self.tokens[:, columns] if self.vectors is None else None,
            cut(self.vectors),
            attention_mask=cut(mask),
            token_type_ids=cut(self.types),
            langs=cut(self.langs),
            encoder_hidden_states=self.encoder_states,
            encoder_attention_mask=self.encoder_mask,
        )


def read_texts(model: "Model", texts: Texts) -> Texts:
    """Checked texts that start at column 0 (raises InputError for a wrong shape, an empty text or a
    gap).
    """
    spec, device = model.spec, model.device
    tokens = read_ids("input_ids", texts.tokens, device)
    if tokens.dim() != 2:
        raise InputError(f"input_ids has shape {tuple(tokens.shape)}, expected (batch, length)")
    if not tokens.numel():
        raise InputError("the text is empty: give at least one token")
    in_range("input_ids", tokens, spec.dims.vocab, "dims.vocab")
    mask, targets, types, langs = (
        None if given is None else read(name, given, device)
        for name, given, read in (
            ("attention_mask", texts.mask, read_mask),
            ("targets", texts.targets, read_mask),
            ("token_type_ids", texts.types, read_ids),
            ("langs", texts.langs, read_ids),
        )
    )
    if langs is not None and langs.shape == tokens.shape[:1]:
        langs = langs[:, None].expand(tokens.shape)
    vectors = texts.vectors
    if vectors is not None:
        vectors = read_tensor("inputs_embeds", vectors, device)
        expect("inputs_embeds", vectors, (*tokens.shape, spec.embedding_width))
        check_vectors("inputs_embeds", vectors, model.dtype)
    for name, given in (
        ("attention_mask", mask), ("targets", targets), ("token_type_ids", types), ("langs", langs)
    ):  # fmt: skip
        expect(name, given, tuple(tokens.shape))
    check_mask("attention_mask", mask)
    check_mask("targets", targets, "1 for tokens that are asked for, else 0")
    states, encoder_mask = texts.encoder_states, texts.encoder_mask
    if states is not None:
        states = read_tensor("encoder_hidden_states", states, device)
    if encoder_mask is not None:
        encoder_mask = read_mask("encoder_attention_mask", encoder_mask, device)
    check_encoder(spec, states, encoder_mask, len(tokens))
    if texts.memory is not None:
        check_given_memory(spec, texts.memory, len(tokens))
    padding = spec.embeddings.tables.tokens.padding
    if (
        mask is None
        and vectors is None
        and spec.attention.infer_padding == "count"
        and padding is not None
    ):
        mask = tokens != padding
    targets = None if targets is None else targets > 0
    texts = replace(
        texts, tokens=tokens, mask=None, targets=targets, types=types, langs=langs, vectors=vectors,
        encoder_states=states, encoder_mask=encoder_mask,
    )  # fmt: skip
    if mask is None or bool((mask > 0).all()):
        return texts
    real = mask > 0
    counts = real.sum(1)
    if not bool(counts.all()):
        raise InputError(
            f"text {int((counts == 0).nonzero()[0])} is empty: its attention_mask keeps no token"
        )
    columns = torch.arange(tokens.shape[1], device=tokens.device)
    start = real.int().argmax(1)[:, None]
    if not torch.equal(real, (columns >= start) & (columns < start + counts[:, None])):
        raise InputError(
            "attention_mask has a gap: the real tokens of a text stand together, padding before or after"
        )
    source = (columns + start) % tokens.shape[1]

    def moved(tensor: Tensor | None) -> Tensor | None:
        return None if tensor is None else tensor.gather(1, source)

    return replace(
        texts,
        tokens=tokens.gather(1, source),
        mask=real.gather(1, source),
        targets=moved(targets),
        types=moved(texts.types),
        langs=moved(langs),
        vectors=None
        if vectors is None
        else vectors.gather(1, source[..., None].expand_as(vectors)),
        places=(columns - start) % tokens.shape[1],
    )


def equal_lengths(texts: Texts) -> list[tuple[Tensor, Texts]]:
    """Row numbers and texts of each length, without padding."""
    lengths = texts.real().sum(1)
    rows = [(lengths == length).nonzero().squeeze(1) for length in lengths.unique()]
    return [(some, texts.select(some, int(lengths[some[0]]))) for some in rows]

"""Texts to score or fill: a batch with padding on either side, moved to the left edge."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from engine.errors import InputError
from engine.inputs import Inputs
from engine.memory import Memory


@dataclass(frozen=True)
class Texts:
    """Ids (b n); `mask` is True for real tokens, `targets` for those that are asked for; `types`, `langs` (b n).

    `places` (b n) says where each column of the texts as given stands now.
    """

    tokens: Tensor
    mask: Tensor | None = None
    targets: Tensor | None = None
    types: Tensor | None = None
    langs: Tensor | None = None
    encoder_states: Tensor | None = None
    encoder_mask: Tensor | None = None
    memory: Memory | None = None
    places: Tensor | None = None

    def real(self) -> Tensor:
        """True for real tokens (b n)."""
        return torch.ones_like(self.tokens, dtype=torch.bool) if self.mask is None else self.mask

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
            places=None,
        )

    def inputs(self, columns: slice) -> Inputs:
        """Arguments of one call for these columns."""

        def cut(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else tensor[:, columns]

        return Inputs(
            self.tokens[:, columns],
            attention_mask=cut(self.mask),
            token_type_ids=cut(self.types),
            langs=cut(self.langs),
            encoder_hidden_states=self.encoder_states,
            encoder_attention_mask=self.encoder_mask,
        )


def read_texts(texts: Texts) -> Texts:
    """Checked texts that start at column 0 (raises InputError for a wrong shape, an empty text or a gap)."""
    tokens, mask = texts.tokens, texts.mask
    if tokens.dim() != 2:
        raise InputError(f"input_ids has shape {tuple(tokens.shape)}, expected (batch, length)")
    if not tokens.numel():
        raise InputError("the text is empty: give at least one token")
    langs = texts.langs
    if langs is not None and langs.dim() == 1:
        langs = langs[:, None].expand(tokens.shape)
    for name, given in (
        ("attention_mask", mask),
        ("targets", texts.targets),
        ("token_type_ids", texts.types),
        ("langs", langs),
    ):
        if given is not None and given.shape != tokens.shape:
            raise InputError(f"{name} has shape {tuple(given.shape)}, expected {tuple(tokens.shape)}")
    targets = None if texts.targets is None else texts.targets > 0
    texts = replace(texts, langs=langs, targets=targets, mask=None)
    if mask is None or bool((mask > 0).all()):
        return texts
    real = mask > 0
    counts = real.sum(1)
    if not bool(counts.all()):
        raise InputError(f"text {int((counts == 0).nonzero()[0])} is empty: its attention_mask keeps no token")
    columns = torch.arange(tokens.shape[1], device=tokens.device)
    start = real.int().argmax(1)[:, None]
    if not torch.equal(real, (columns >= start) & (columns < start + counts[:, None])):
        raise InputError("attention_mask has a gap: the real tokens of a text stand together, padding before or after")
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
        places=(columns - start) % tokens.shape[1],
    )


def equal_lengths(texts: Texts) -> list[tuple[Tensor, Texts]]:
    """Row numbers and texts of each length, without padding."""
    lengths = texts.real().sum(1)
    rows = [(lengths == length).nonzero().squeeze(1) for length in lengths.unique()]
    return [(some, texts.select(some, int(lengths[some[0]]))) for some in rows]

"""What a network is asked in pretraining: masked, translation, causal and streamed language
modelling.
"""

from collections.abc import Iterator

import torch
from torch import Generator, Tensor

from engine.errors import InputError
from engine.kernels.losses import IGNORED


def mask_tokens(
    input_ids: Tensor,
    maskable: Tensor,
    *,
    mask_id: int,
    vocab: int,
    generator: Generator,
    probability: float = 0.15,
    weights: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Masked language modelling (Devlin et al. 2019, 3.1) on ids (b i); `maskable` (b i) is True
    for real, plain tokens.

    Each row hides about `probability` of its maskable tokens, at least one where it has any: 80 %
    become `mask_id`, 10 % a random id below `vocab`, 10 % stay. `weights` (v) prefers some ids, as
    in XLM (see `frequency_weights`). Returns the corrupted ids and the labels, both (b i); labels
    are -100 where nothing is asked.
    """
    _same_shape("maskable", maskable, input_ids)
    if not 0 < probability <= 1:
        raise InputError(f"probability is {probability}: it must lie in (0, 1]")
    chosen = _choose(input_ids, maskable.bool(), probability, weights, generator)
    labels = input_ids.masked_fill(~chosen, IGNORED)
    fate = torch.rand(input_ids.shape, generator=generator)
    drawn = torch.randint(vocab, input_ids.shape, generator=generator)
    corrupted = torch.where(chosen & (fate < 0.8), torch.full_like(input_ids, mask_id), input_ids)
    return torch.where(chosen & (fate >= 0.9), drawn, corrupted), labels


def _choose(
    input_ids: Tensor,
    maskable: Tensor,
    probability: float,
    weights: Tensor | None,
    generator: Generator,
) -> Tensor:
    """True for the tokens (b i) that are asked: a draw without repeats, a row's share rounded at
    random.
    """
    weighted = torch.ones(input_ids.shape) if weights is None else weights[input_ids]
    # The largest log w - log E, with E exponential, are a weighted draw without repeats (Efraimidis
    # and Spirakis 2006).
    luck = weighted.log() - torch.empty(input_ids.shape).exponential_(generator=generator).log()
    luck = luck.masked_fill(~maskable, -torch.inf)
    available = maskable.sum(1)
    share = torch.floor(
        available * probability + torch.rand(available.shape, generator=generator)
    ).long()
    place = luck.argsort(dim=1, descending=True).argsort(dim=1)
    return maskable & (place < share.clamp(min=1)[:, None])


def frequency_weights(counts: Tensor, power: float = 0.5) -> Tensor:
    """How much rather a rare id is asked, (v) from its `counts` (v): XLM subsamples by frequency
    (arXiv:1901.07291, 3.3).
    """
    return counts.clamp(min=1).double().pow(-power).float()


def reset_positions(second: Tensor) -> Tensor:
    """Positions (b i) of translation language modelling: they start again where `second` (b i)
    turns from 0 to 1.

    XLM joins a sentence and its translation, each from position 0 (arXiv:1901.07291, 3.4).
    """
    counted = torch.arange(second.shape[1]).expand_as(second)
    first_length = (second == 0).long().cumprod(dim=1).sum(dim=1, keepdim=True)
    return torch.where(second > 0, counted - first_length, counted)


def causal_labels(input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
    """Labels (b i) of causal language modelling, which the head shifts: the ids, -100 at padding."""
    if attention_mask is None:
        return input_ids.clone()
    _same_shape("attention_mask", attention_mask, input_ids)
    return input_ids.masked_fill(attention_mask == 0, IGNORED)


def stream(ids: Tensor, rows: int, length: int) -> Iterator[Tensor]:
    """A text of ids (n) as segments (rows, up to `length`), each row of which goes on where the
    last segment ended.

    So a memory carried from segment to segment is the row's own past (Dai et al. 2019, 3.2). The
    tokens left when n is divided by `rows` are dropped. Raises InputError for a text shorter than
    two tokens a row.
    """
    each = ids.shape[0] // rows
    if each < 2:
        raise InputError(f"{ids.shape[0]} tokens are too few for {rows} rows of at least two")
    table = ids[: rows * each].view(rows, each)
    for start in range(0, each, length):
        yield table[:, start : start + length]


def _same_shape(name: str, tensor: Tensor, input_ids: Tensor) -> None:
    if tensor.shape != input_ids.shape:
        raise InputError(
            f"{name} has shape {tuple(tensor.shape)}, expected {tuple(input_ids.shape)}"
        )

"""Masked language modelling: tokens hidden at random (Devlin et al. 2019, 3.1)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Generator, Tensor
from torch.nn.functional import pad

from engine.errors import InputError
from engine.kernels.losses import IGNORED
from engine.training.data.draws import Draws
from engine.training.data.rows import Row
from engine.training.objectives.base import Batch, Frame, make_batch
from engine.training.objectives.causal import same_shape

Fates = tuple[float, float, float]
PUBLISHED: Fates = (0.8, 0.1, 0.1)


@dataclass(frozen=True)
class Masking:
    """Which tokens are asked, and what stands in their place.

    `fates` are the shares that become `mask_id`, a random id below `vocab`, and that stay.
    `weights` (v) prefers some ids; those of weight 0 are never asked. `over` "batch" asks
    ceil(probability · places) of a whole padded batch, as XLM's own code does, "row" a share of
    each row.
    """

    mask_id: int
    vocab: int
    probability: float = 0.15
    fates: Fates = PUBLISHED
    weights: Tensor | None = None
    over: Literal["row", "batch"] = "row"
    whole_words: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.probability <= 1:
            raise InputError(f"probability is {self.probability}: it must lie in (0, 1]")
        if abs(sum(self.fates) - 1) > 1e-6:
            raise InputError(
                f"fates are {self.fates}: the shares that are masked, drawn and kept add up to 1"
            )

    def hide(
        self, input_ids: Tensor, chosen: Tensor, generator: Generator
    ) -> tuple[Tensor, Tensor]:
        """The corrupted ids (b i), and labels (b i) that are -100 where nothing is `chosen`."""
        device = input_ids.device
        masked, drawn, _ = self.fates
        fate = torch.rand(input_ids.shape, generator=generator).to(device)
        other = torch.randint(self.vocab, input_ids.shape, generator=generator).to(device)
        corrupted = input_ids.masked_fill(chosen & (fate < masked), self.mask_id)
        corrupted = torch.where(chosen & (fate >= 1 - drawn), other, corrupted)
        return corrupted, input_ids.masked_fill(~chosen, IGNORED)


class Masked:
    """Masked language modelling of rows."""

    head = "masked_lm"

    def __init__(self, frame: Frame, masking: Masking) -> None:
        self.frame, self.masking = frame, masking
        self.whole = masking.over == "batch"

    def batch(self, rows: Sequence[Row], draws: Draws) -> Batch:
        """The rows with some of their tokens hidden."""
        if not self.whole:
            return self.evaluation(rows, draws)
        generator = draws.whole()
        ids = self.frame.lay([row.ids for row in rows], self.frame.padding)
        maskable = self.frame.lay([~row.special for row in rows], False)
        starts = None
        if self.masking.whole_words:
            starts = self.frame.lay([row.words for row in rows], True).view(1, -1)
        count = math.ceil(self.masking.probability * ids.numel())
        chosen = choose(
            ids.view(1, -1),
            maskable.view(1, -1),
            torch.tensor([float(count)]),
            generator=generator,
            weights=self.masking.weights,
            starts=starts,
        ).view(ids.shape)
        return self._finish(rows, *self.masking.hide(ids, chosen, generator))

    def evaluation(self, rows: Sequence[Row], draws: Draws) -> Batch:
        """Drawn row by row, so that it does not depend on which rows stand together."""
        hidden = [self._one(row, draws.row(row.number)) for row in rows]
        corrupted = self.frame.lay([ids.numpy() for ids, _ in hidden], self.frame.padding)
        labels = self.frame.lay([labels.numpy() for _, labels in hidden], IGNORED)
        return self._finish(rows, corrupted, labels)

    def _one(self, row: Row, generator: Generator) -> tuple[Tensor, Tensor]:
        """The ids and labels (i) of one row."""
        starts = None
        if self.masking.whole_words:
            starts = torch.from_numpy(row.words)[None]
        ids, labels = mask_rows(
            torch.from_numpy(row.ids.astype(np.int64))[None],
            torch.from_numpy(~row.special)[None],
            self.masking,
            generator,
            starts=starts,
        )
        return ids[0], labels[0]

    def _finish(self, rows: Sequence[Row], corrupted: Tensor, labels: Tensor) -> Batch:
        inputs = {**self.frame.inputs(rows), "input_ids": corrupted, "labels": labels}
        return make_batch(inputs, range(len(rows)))


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
    masking = Masking(mask_id, vocab, probability, weights=weights)
    return mask_rows(input_ids, maskable, masking, generator)


def mask_rows(
    input_ids: Tensor,
    maskable: Tensor,
    masking: Masking,
    generator: Generator,
    starts: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """`mask_tokens`; with `starts` (b i), True where a word begins, words are hidden as a whole."""
    same_shape("maskable", maskable, input_ids)
    maskable = maskable.bool()
    share = maskable.sum(1).cpu() * masking.probability
    chosen = choose(
        input_ids,
        maskable,
        share,
        generator=generator,
        weights=masking.weights,
        starts=starts,
        least=1,
    )
    return masking.hide(input_ids, chosen, generator)


def choose(
    input_ids: Tensor,
    maskable: Tensor,
    share: Tensor,
    *,
    generator: Generator,
    weights: Tensor | None = None,
    starts: Tensor | None = None,
    least: int = 0,
) -> Tensor:
    """True for the tokens (b i) that are asked: `share` (b) of each row, rounded at random.

    Tokens, or the words that begin at `starts` (b i), are drawn without repeats, and none of weight
    0; a row with any asks at least as many of them as `least`.
    """
    ids, asked = input_ids.cpu(), maskable.cpu()
    unit = torch.arange(ids.shape[1]).expand_as(ids)
    if starts is not None:
        unit = (starts.cpu().long().cumsum(1) - 1).clamp(min=0)
    weighted = torch.ones(ids.shape)
    if weights is not None:
        weighted = weights.cpu().float()[ids]
    asked = asked & (weighted > 0)
    # A word is as rare as its rarest token.
    weighted = torch.zeros(ids.shape).scatter_reduce(1, unit, weighted * asked, "amax")
    size = torch.zeros(ids.shape).scatter_add(1, unit, asked.float())
    # The largest log w - log E, with E exponential, are a weighted draw without repeats (Efraimidis
    # and Spirakis 2006).
    luck = weighted.log() - torch.empty(ids.shape).exponential_(generator=generator).log()
    order = luck.masked_fill(size == 0, -torch.inf).argsort(dim=1, descending=True)
    sizes = size.gather(1, order)
    # What the share cuts in two is asked with the probability of the part within.
    within = torch.rand(share.shape, generator=generator)[:, None]
    taken = sizes.cumsum(1) - within * sizes <= share[:, None]
    taken[:, :least] = True
    taken = torch.zeros_like(taken).scatter(1, order, taken & (sizes > 0))
    return (taken.gather(1, unit) & asked).to(input_ids.device)


def frequency_weights(counts: Tensor, power: float = 0.5) -> Tensor:
    """How much rather a rare id is asked, (v) from its `counts` (v): XLM subsamples by frequency
    (arXiv:1901.07291, 3.3); ids that were never counted, such as special tokens, have weight 0.
    """
    weights = counts.clamp(min=1).double().pow(-power).float()
    return weights.masked_fill(counts == 0, 0.0)


def weights_for(counts: Tensor | None, power: float, vocab: int) -> Tensor | None:
    """The weights (v) of a frequency power, None for equal ones; raises InputError without counts."""
    if not power:
        return None
    if counts is None:
        raise InputError("frequency_power needs how often each id stands in the training texts")
    weights = frequency_weights(counts, power)
    return pad(weights, (0, max(0, vocab - len(weights))))

"""Heads that predict tokens: causal, masked, permutation."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from engine.arguments import check_flag, expect, in_range, read_ids
from engine.errors import InputError
from engine.kernels.losses import IGNORED, score_losses
from engine.network.embeddings import TokenEmbedding
from engine.network.inputs import Inputs
from engine.network.output_layer import build_output_layer
from engine.network.outputs import Output
from engine.spec import Spec
from heads.losses import read_total, scale_aux_loss
from heads.registry import Head, HeadOptions, register_head


class LanguageModelHead(Head):
    """Scores of the vocabulary at every state, and the mean loss over labels that are not -100.

    `labels` (b i), or where the head shifts them `shift_labels` (b i), which stand at the place that
    predicts them; `logits_to_keep`: the last n places, or a 1-D tensor of places (0 or None: all).
    `output_logits`: False leaves them out, and a loss over a large vocabulary is then made without
    holding all of them; None does so where labels are given to an adaptive layer (as published) or
    to a sample. `num_items_in_batch` is what the sum of losses is divided by instead of the labels
    of this call: those of all calls whose gradients add up to one step. Gives `logits` (b i v;
    log-probabilities from an adaptive layer), `loss`, and `losses` (b i) with 0 where a label is
    -100.
    """

    inputs = frozenset({"labels", "logits_to_keep", "output_logits", "num_items_in_batch"})
    shifted = False

    def __init__(self, spec: Spec, options: HeadOptions) -> None:
        super().__init__(spec, options)
        self.output = build_output_layer(spec)

    @classmethod
    def shared_parts(cls, options: HeadOptions) -> Mapping[str, str]:
        return {"output": "scores of the vocabulary"}

    def tie(self, tokens: TokenEmbedding) -> None:
        self.output.tie(tokens)

    def forward(
        self,
        result: Output,
        inputs: Inputs,
        labels: Tensor | None = None,
        logits_to_keep: int | Tensor | None = None,
        output_logits: bool | None = None,
        num_items_in_batch: int | Tensor | None = None,
        shift_labels: Tensor | None = None,
    ) -> Output:
        states, shifts = result.states, self.shifted
        if shift_labels is not None:
            if labels is not None:
                raise InputError("give labels, which are shifted here, or shift_labels, not both")
            labels, shifts = shift_labels, False
        if output_logits is None:
            output_logits = labels is None or self.output.logits_with_loss
        check_flag("output_logits", output_logits)
        if output_logits:
            kept = states
            if logits_to_keep is not None:
                kept = _keep(states, logits_to_keep)
            result.logits = self.output(kept)
        if labels is not None:
            whole = result.logits
            if not self.output.logits_with_loss or _given(logits_to_keep):
                whole = None
            result.losses, result.loss = self._losses(states, labels, whole, shifts)
            if num_items_in_batch is not None:
                result.loss = result.losses.sum() / read_total(num_items_in_batch)
                asked = labels[:, 1:] if shifts else labels
                scale_aux_loss(result, asked, num_items_in_batch)
        return result

    def _losses(
        self, states: Tensor, labels: Tensor, logits: Tensor | None, shifts: bool
    ) -> tuple[Tensor, Tensor]:
        """Losses (b i) and their mean, from the logits (b i v) where these are there anyway."""
        labels = read_ids("labels", labels, states.device)
        expect("labels", labels, tuple(states.shape[:2]))
        in_range("labels", labels, self.spec.dims.vocab, "dims.vocab", ignored=IGNORED)
        if shifts:
            labels = functional.pad(labels[:, 1:], (0, 1), value=IGNORED)
        if logits is None:
            losses = self.output.losses(states.flatten(0, 1), labels.flatten())
        else:
            losses = score_losses(logits.flatten(0, 1), labels.flatten())
        losses = losses.view(labels.shape)
        mean = losses.sum() / (labels != IGNORED).sum().clamp(min=1)
        if shifts:
            losses = losses[:, :-1]
        return losses, mean


def _given(places: Any) -> bool:
    return places is not None and not (isinstance(places, int) and places == 0)


def _keep(states: Tensor, places: Any) -> Tensor:
    if isinstance(places, bool):
        raise InputError(
            f"logits_to_keep is {places}: give the number of last places, or a tensor of places"
        )
    if not _given(places):
        return states
    if isinstance(places, int | torch.SymInt):
        if places < 0:
            raise InputError(
                f"logits_to_keep is {places}: give the number of last places, or a tensor of places"
            )
        return states[:, -places:]
    places = read_ids("logits_to_keep", places, states.device)
    if places.dim() != 1:
        raise InputError(
            f"logits_to_keep has shape {tuple(places.shape)}, expected one axis of places"
        )
    in_range("logits_to_keep", places, states.shape[1], "the length of the sequence")
    return states.index_select(1, places)


@register_head("causal_lm")
class CausalLanguageModel(LanguageModelHead):
    """Predicts the next token; `labels` are the input ids, shifted inside, `shift_labels` the next
    ids.
    """

    inputs = LanguageModelHead.inputs | {"shift_labels"}
    shifted = True


@register_head("masked_lm")
class MaskedLanguageModel(LanguageModelHead):
    """Predicts the token at each place; labels are aligned with the input."""


@register_head("permutation_lm")
class PermutationLanguageModel(LanguageModelHead):
    """Predicts the tokens that `target_mapping` names; labels (b p) are aligned with them (Yang et
    al. 2019).
    """

"""Losses over a vocabulary without the scores of all of it at once."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from engine.kernels.linear import product
from engine.kernels.tuning import tuning
from engine.kernels.watched import transformed

IGNORED = -100


def token_losses(states: Tensor, weight: Tensor, bias: Tensor | None, labels: Tensor) -> Tensor:
    """Negative log-likelihoods (n) of labels (n) under softmax(states Wᵀ + b), states (n d), weight
    (v d), bias (v).

    Where the scores (n v) would take more than `Tuning.kept_score_bytes`, a slice of the vocabulary
    is scored at a time, in the forward pass and again in the backward pass; gradients of its
    gradients need all scores.
    """
    if (
        transformed()
        or len(labels) * len(weight) * states.element_size() <= tuning().kept_score_bytes
    ):
        return score_losses(product(states, weight, bias), labels)
    if torch.is_autocast_enabled(states.device.type):
        kind = torch.get_autocast_dtype(states.device.type)
        states, weight, bias = (
            states.to(kind),
            weight.to(kind),
            None if bias is None else bias.to(kind),
        )
    return _SlicedLosses.apply(states, weight, bias, labels)


def score_losses(scores: Tensor, labels: Tensor) -> Tensor:
    """Negative log-likelihoods (n) of labels (n) under the softmax of scores (n v), 0 where a label
    is -100.

    Scores of more than `Tuning.kept_score_bytes` are held once, and their gradient once; torch's
    own loss holds them three more times.
    """
    if transformed() or scores.nbytes <= tuning().kept_score_bytes:
        return _plain_losses(scores, labels)
    return _ScoreLosses.apply(scores, labels)


def at_labels(losses: Callable[[Tensor, Tensor], Tensor], states: Tensor, labels: Tensor) -> Tensor:
    """Losses (n) of the labels (n) that are not -100 at their states (n d), and 0 for the others."""
    if transformed():  # shapes must not depend on values
        return torch.where(labels == IGNORED, 0.0, losses(states, labels.clamp(min=0)))
    chosen = (labels != IGNORED).nonzero().squeeze(1)
    if len(chosen) == len(labels):
        return losses(states, labels)
    found = losses(states[chosen], labels[chosen])
    return found.new_zeros(len(labels)).index_put((chosen,), found)


def _plain_losses(scores: Tensor, labels: Tensor) -> Tensor:
    return functional.cross_entropy(precise(scores), labels, ignore_index=IGNORED, reduction="none")


def precise(scores: Tensor) -> Tensor:
    """Scores in at least single precision."""
    return scores if scores.dtype.itemsize >= 4 else scores.float()


class _SlicedLosses(torch.autograd.Function):
    """Slices run over the vocabulary: each writes its own rows of the weight's gradient, once."""

    @staticmethod
    def forward(
        ctx: Any, states: Tensor, weight: Tensor, bias: Tensor | None, labels: Tensor
    ) -> Tensor:
        totals: list[Tensor] = []
        right = precise(states.new_empty(0)).new_zeros(len(labels))
        for part, scores in _slices(states, weight, bias):
            totals.append(scores.logsumexp(-1))
            inside = (labels >= part.start) & (labels < part.stop)
            column = (labels - part.start).clamp(0, part.stop - part.start - 1)
            right = torch.where(inside, scores.gather(1, column[:, None]).squeeze(1), right)
        total = torch.stack(totals).logsumexp(0)
        ctx.save_for_backward(states, weight, bias, labels, total)
        return total - right

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        states, weight, bias, labels, total = ctx.saved_tensors
        if torch.is_grad_enabled():
            losses = _plain_losses(functional.linear(states, weight, bias), labels)
            return *_differentiable(
                losses, (states, weight, bias), ctx.needs_input_grad[:3], gradient
            ), None
        needs_states, needs_weight, needs_bias, _ = ctx.needs_input_grad
        for_states = torch.zeros_like(states, dtype=total.dtype) if needs_states else None
        for_weight = torch.empty_like(weight) if needs_weight else None
        for_bias = torch.empty_like(bias) if needs_bias else None
        for part, scores in _slices(states, weight, bias):
            error = scores.sub_(total[:, None]).exp_()
            rows = ((labels >= part.start) & (labels < part.stop)).nonzero().squeeze(1)
            error[rows, labels[rows] - part.start] -= 1
            error = error.mul_(gradient[:, None])
            if for_bias is not None:
                for_bias[part] = error.sum(0)
            error = error.to(states.dtype)
            if for_states is not None:
                for_states += product(error, weight[part].t())
            if for_weight is not None:
                for_weight[part] = product(error.t(), states.t())
        return (
            None if for_states is None else for_states.to(states.dtype),
            for_weight,
            for_bias,
            None,
        )


class _ScoreLosses(torch.autograd.Function):
    """Blocks of rows, each worked on while it is near."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor, labels: Tensor) -> Tensor:
        total = torch.cat([precise(block).logsumexp(-1) for block in scores.split(_rows(scores))])
        ctx.save_for_backward(scores, labels, total)
        right = precise(scores.gather(1, labels.clamp(min=0)[:, None]).squeeze(1))
        return (total - right).masked_fill(labels == IGNORED, 0.0)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, None]:
        scores, labels, total = ctx.saved_tensors
        if torch.is_grad_enabled():
            (again,) = _differentiable(_plain_losses(scores, labels), (scores,), (True,), gradient)
            return again, None
        for_scores, weight = torch.empty_like(scores), gradient * (labels != IGNORED)
        for start in range(0, len(scores), _rows(scores)):
            rows = slice(start, start + _rows(scores))
            error = (precise(scores[rows]) - total[rows, None]).exp_()
            label = labels[rows, None].clamp(min=0)
            error.scatter_add_(1, label, error.new_full(label.shape, -1.0))
            for_scores[rows] = error.mul_(weight[rows, None])
        return for_scores, None


def _differentiable(
    losses: Tensor, inputs: Sequence[Tensor | None], needed: Sequence[bool], gradient: Tensor
) -> list[Tensor | None]:
    """Gradients of plain losses (n) with respect to those inputs that need them, to be
    differentiated again.
    """
    wanted = [
        given for given, needs in zip(inputs, needed, strict=True) if given is not None and needs
    ]
    found = iter(torch.autograd.grad(losses, wanted, gradient, create_graph=True))
    return [next(found) if needs else None for needs in needed]


def _rows(scores: Tensor) -> int:
    """How many rows of scores (n v) make a slice."""
    return max(1, tuning().score_slice_bytes // max(1, scores.shape[1] * scores.element_size()))


def _slices(states: Tensor, weight: Tensor, bias: Tensor | None) -> Iterator[tuple[slice, Tensor]]:
    """Slices of the vocabulary with the scores (n, slice) of their tokens, in at least single
    precision.
    """
    fitting = tuning().score_slice_bytes // (len(states) * states.element_size())
    size = max(tuning().score_slice_tokens, fitting)
    for start in range(0, len(weight), size):
        part = slice(start, min(start + size, len(weight)))
        yield part, precise(product(states, weight[part], None if bias is None else bias[part]))

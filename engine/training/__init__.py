"""Pretraining: the objectives of the five families, and a small loop."""

from engine.training.loop import TrainingOptions, train
from engine.training.objectives import (
    Factorization,
    causal_labels,
    draw_factorization,
    frequency_weights,
    mask_tokens,
    permutation_mask,
    permutation_targets,
    reset_positions,
    show_visibility,
    stream,
    target_mapping,
)

__all__ = [
    "Factorization",
    "TrainingOptions",
    "causal_labels",
    "draw_factorization",
    "frequency_weights",
    "mask_tokens",
    "permutation_mask",
    "permutation_targets",
    "reset_positions",
    "show_visibility",
    "stream",
    "target_mapping",
    "train",
]

"""Objectives of pretraining, one file a kind: from rows and random numbers to a call with labels."""

from torch import Tensor

from engine.errors import InputError
from engine.spec import Spec
from engine.training.data.draws import Draws
from engine.training.objectives.base import Batch, Frame, Objective, make_frame
from engine.training.objectives.causal import Causal, causal_labels
from engine.training.objectives.factorization import (
    Factorization,
    draw_factorization,
    permutation_mask,
    permutation_targets,
    show_visibility,
    target_mapping,
)
from engine.training.objectives.masked import (
    Masked,
    Masking,
    frequency_weights,
    mask_tokens,
    weights_for,
)
from engine.training.objectives.mix import Mix
from engine.training.objectives.permutation import Permutation, PermutationOptions
from engine.training.objectives.recurrent import Recurrent, stream
from engine.training.objectives.segments import make_pairs
from engine.training.objectives.spans import SpanDraw
from engine.training.objectives.translation import Translation, reset_positions
from engine.training.recipe import sections
from tokenization import Tokenizer

__all__ = [
    "Batch",
    "Draws",
    "Factorization",
    "Objective",
    "causal_labels",
    "draw_factorization",
    "frequency_weights",
    "make_objective",
    "mask_tokens",
    "permutation_mask",
    "permutation_targets",
    "reset_positions",
    "show_visibility",
    "stream",
    "target_mapping",
]


def make_objective(
    section: sections.Objective, spec: Spec, tokenizer: Tokenizer, counts: Tensor | None = None
) -> Objective:
    """The objective that a recipe names, for a network and its tokenizer.

    `counts` (v) says how often each id stands in the training texts, which `frequency_power` needs.
    Raises InputError where spec or tokenizer lack what the objective asks with.
    """
    if isinstance(section, sections.MixObjective):
        parts = [make_objective(part.objective, spec, tokenizer, counts) for part in section.parts]
        return Mix(parts, [part.weight for part in section.parts])
    frame = make_frame(spec, tokenizer)
    if isinstance(section, sections.CausalObjective):
        return Causal(frame)
    if isinstance(section, sections.RecurrentObjective):
        return Recurrent(frame, section.evaluation_memory)
    if isinstance(section, sections.PermutationObjective):
        return Permutation(frame, _permutation(section, tokenizer))
    masking = _masking(section, frame, tokenizer, counts)
    if isinstance(section, sections.TranslationObjective):
        return Translation(frame, masking, reset=section.reset_positions)
    return Masked(frame, masking)


def _permutation(
    section: sections.PermutationObjective, tokenizer: Tokenizer
) -> PermutationOptions:
    pairs = None
    if section.segments.pairs:
        pairs = make_pairs(tokenizer, section.segments.random)
    spans = section.spans
    return PermutationOptions(
        spans=SpanDraw(section.context, spans.longest, spans.weights, spans.tail),
        predict=section.predict,
        at_words=spans.start == "word",
        ordered_specials=section.special_tokens == "ordered",
        both_directions=section.both_directions,
        pairs=pairs,
    )


def _masking(
    section: sections.MaskedObjective | sections.TranslationObjective,
    frame: Frame,
    tokenizer: Tokenizer,
    counts: Tensor | None,
) -> Masking:
    mask_id = frame.spec.tokens.mask
    if mask_id is None:
        mask_id = tokenizer.mask_id
    if mask_id is None:
        raise InputError(
            f"the objective {section.kind} hides tokens: neither spec nor tokenizer has a mask token"
        )
    return Masking(
        mask_id,
        frame.plain,
        section.probability,
        fates=section.fates,
        weights=weights_for(counts, section.frequency_power, frame.spec.dims.vocab),
        over=section.draw,
        whole_words=section.whole_words,
    )

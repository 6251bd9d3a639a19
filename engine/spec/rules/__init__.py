"""Rules that tie one axis to another, each as (path, what is wrong and what would be right)."""

from collections.abc import Callable, Iterator

from engine.spec.intact import Intact, Problem, told_by
from engine.spec.rules import (
    attention,
    blocks,
    embeddings,
    encoder,
    layers,
    output,
    positions,
)
from engine.spec.sections import Sections

RULES: tuple[Callable[[Sections], Iterator[Problem]], ...] = (
    blocks.dims,
    embeddings.embeddings,
    positions.position,
    attention.attention,
    attention.head_norm,
    attention.streams,
    blocks.block,
    blocks.experts,
    output.output,
    output.tokens,
    layers.layers,
    encoder.encoder,
)


def broken_rules(spec: Sections | Intact) -> list[Problem]:
    """Every cross-axis rule that a spec breaks, in the order of the axes, before the defaults of
    `dims` are filled in.
    """
    return told_by(RULES, spec)

"""Rules of rotary positions past the length of training."""

from collections.abc import Iterator

from engine.spec import axes
from engine.spec.intact import Problem
from engine.spec.sections import Sections


def scaling(spec: Sections, position: axes.RotaryPosition, width: int) -> Iterator[Problem]:
    """The rules of what scales the wavelengths of `width` features."""
    scaling = position.scaling
    if isinstance(scaling, axes.DynamicScaling) and width == 2:
        yield "position.scaling.kind", "dynamic scaling needs more than one pair of features"
    if isinstance(scaling, axes.YarnScaling) and scaling.fast <= scaling.slow:
        yield "position.scaling.fast", f"fast {scaling.fast} must be above slow {scaling.slow}"
    if isinstance(scaling, axes.YarnScaling) and position.base == 1.0:
        yield "position.base", "yarn scaling needs a base other than 1"
    if isinstance(scaling, axes.Llama3Scaling) and scaling.high <= scaling.low:
        yield "position.scaling.high", f"high {scaling.high} must be above low {scaling.low}"
    if isinstance(scaling, axes.LongRopeScaling):
        for name, factors in (("short", scaling.short), ("long", scaling.long)):
            if len(factors) != width // 2:
                yield (
                    f"position.scaling.{name}",
                    f"{width} features are {width // 2} pairs, found {len(factors)} factors",
                )
    if not isinstance(scaling, axes.DynamicScaling | axes.LongRopeScaling):
        return
    if spec.memory.kind == "recurrent":
        yield (
            "memory.kind",
            f"position.scaling {scaling.kind} goes by the length of the whole text, which a "
            "recurrent memory does not hold: use keys_values or none",
        )
    if "permutation" in spec.attention.mask:
        yield (
            "attention.mask",
            f"position.scaling {scaling.kind} goes by the length of the text, which prediction "
            "rows are no part of: leave out the rule permutation",
        )

"""What a head takes from a checkpoint that was saved with another head: parts with one published name
and one meaning.
"""

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

from engine.build import shared_parts
from engine.checkpoint.names import Slot, slots_of
from engine.model import Model
from engine.spec import Spec
from engine.spec.axes import Layout


def between_heads(
    groups: Mapping[str, list[str]],
    present: Iterable[str],
    model: Model,
    spec: Spec,
    layout: Layout | None,
) -> dict[str, str]:
    """Which tensor of the head of a checkpoint's `spec` stands for each of ours: the one with the
    same published name and meaning.
    """
    head, theirs = model.spec.heads.default, spec.heads.default
    if layout is None or head is None or theirs is None or head == theirs:
        return {}
    ours = [name for names in groups.values() for name in names if name.startswith("head.")]
    there = [name for name in present if name.startswith("head.")]
    published = {
        (slot.theirs, slot.pattern, place): name
        for slot in slots_of(there, theirs, layout, "", partial=True)
        for place, name in enumerate(slot.ours)
    }
    return {
        name: given
        for slot in slots_of(ours, head, layout, "", partial=True)
        for place, name in enumerate(slot.ours)
        if (given := published.get((slot.theirs, slot.pattern, place))) is not None
        and _same_meaning(model, spec, name, given.removeprefix("head."))
    }


def from_other_head(
    model: Model, slots: Mapping[str, Slot], layout: Layout, spec: Spec
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Which of our head's parameters a published layout fills with tensors of the head of a
    checkpoint's `spec`: those that go on with them, and those whose names are equal by chance.
    """
    head, other = model.spec.heads.default, spec.heads.default
    if head is None or other is None or head == other:
        return (), ()
    taken, refused = [], []
    named = _names_of(other, layout)
    for name in [name for name in slots if name.startswith("head.")]:
        place = f"{slots[name].theirs}."
        parts = [part for part, theirs in named if fnmatchcase(place, f"{theirs}.*")]
        if any(_same_meaning(model, spec, name, part) for part in parts):
            taken.append(name)
        elif parts:
            refused.append(name)
    return tuple(taken), tuple(refused)


def _names_of(head: str, layout: Layout) -> list[tuple[str, str]]:
    """A head's modules and parameters, each with its published name."""
    names = []
    for ours, theirs in layout.names.items():
        if not isinstance(theirs, str):
            theirs, _ = theirs  # the other is an einops pattern
        if ours.startswith(f"heads.{head}."):
            names.append((ours.removeprefix(f"heads.{head}."), theirs))
    return names


def _same_meaning(model: Model, spec: Spec, ours: str, theirs: str) -> bool:
    """Whether a parameter of the model's head goes on with one of the head that a checkpoint was
    saved with, each by its name; names and shapes may be equal by chance.
    """
    here, there = shared_parts(model.spec), shared_parts(spec)
    meaning = here.get(ours.removeprefix("head.").partition(".")[0])
    return meaning is not None and meaning == there.get(theirs.partition(".")[0])

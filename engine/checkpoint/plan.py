"""Which tensors of a checkpoint fill which parameters of a network: decided from names and shapes,
before any is read.
"""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

import torch
from torch import Tensor

from engine.checkpoint.names import Slot, axis_sizes, no_names_for, slots_of
from engine.checkpoint.opening import Source
from engine.checkpoint.other_heads import between_heads, from_other_head
from engine.checkpoint.stored import Stored
from engine.errors import CheckpointError
from engine.model import Model
from engine.parameters.ties import shared_names
from engine.spec import Spec
from engine.spec.axes import Layout, OriginalLayout

OPTIONAL = ("head.", "pooler.")


@dataclass(frozen=True)
class Row:
    """A parameter of ours, the tensor that fills it (None: it is drawn anew), and that tensor's
    shape as we read it.
    """

    ours: str
    shape: tuple[int, ...]
    theirs: str | None
    found: tuple[int, ...] | None

    @property
    def fits(self) -> bool:
        """Whether the tensor is taken over."""
        return self.found == self.shape


@dataclass(frozen=True)
class Plan:
    """What a load would do.

    `rows`: each parameter once. `slots`: the tensors to read. `copies`: further tensors of a tied
    parameter, with the one that is read. `looked_for`: published names by ours. `left_over`:
    tensors that nothing takes, with their shapes. `taken_over`: parameters of the head from that of
    `other_head`.
    """

    source: Source
    rows: tuple[Row, ...]
    slots: tuple[Slot, ...]
    copies: Mapping[str, str]
    looked_for: Mapping[str, str]
    left_over: Mapping[str, tuple[int, ...]]
    unused: tuple[str, ...]
    taken_over: tuple[str, ...] = ()
    other_head: str | None = None

    @property
    def unfilled(self) -> tuple[str, ...]:
        """Parameters for which there is no tensor."""
        return tuple(
            row.ours
            for row in self.rows
            if row.theirs is None and row.ours not in self.zeros and not self._is_constant(row.ours)
        )

    def _is_constant(self, name: str) -> bool:
        """Whether a parameter is a table that does not learn, which the layout lets a file leave
        out.
        """
        layout = self.source.layout
        wanted = self.looked_for.get(name)
        return layout is not None and wanted is not None and _matches(wanted, layout.buffers)

    @property
    def zeros(self) -> frozenset[str]:
        """Parameters that the layout lacks because they are zero there."""
        layout = self.source.layout
        if isinstance(layout, OriginalLayout):
            return frozenset(layout.zeros)
        return frozenset()

    @property
    def other_shape(self) -> tuple[str, ...]:
        """Parameters for which there is a tensor of another shape."""
        return tuple(row.ours for row in self.rows if row.theirs is not None and not row.fits)

    def read(self, slot: Slot, stored: Stored) -> dict[str, Tensor]:
        """Our tensors by name, of one of theirs; those of pruned heads in their places again."""
        return _read(slot, stored.read(slot.theirs), self.source)

    def check(self) -> None:
        """Raise CheckpointError where the body of the network would not be filled."""
        where = self.source.folder
        lost = [name for name in self.unfilled if not name.startswith(OPTIONAL)]
        unnamed = [name for name in lost if name not in self.looked_for]
        if unnamed and self.source.layout is not None:
            raise no_names_for(unnamed, self.source.layout)
        if lost:
            wanted = some([self._wanted(name) for name in lost[:8]], len(lost))
            raise CheckpointError(
                f"{where} lacks {wanted}: it holds another network, or only a part of this one"
            )
        wrong = [
            row
            for row in self.rows
            if row.ours in self.other_shape and not row.ours.startswith(OPTIONAL)
        ]
        if wrong:
            names = [f"{row.ours} {row.found} instead of {row.shape}" for row in wrong]
            raise CheckpointError(f"{where} has tensors of another shape: {some(names)}")

    def _wanted(self, name: str) -> str:
        """Our name with the one that was looked for, and the nearest that is left over."""
        theirs = self.looked_for.get(name, name)
        near = difflib.get_close_matches(theirs, self.left_over, n=1, cutoff=0.7)
        told = []
        if theirs != name:
            told.append(f"there {theirs}")
        if near:
            told.append(f"left over and near it: {near[0]}")
        if not told:
            return name
        return f"{name} ({'; '.join(told)})"


def make_plan(model: Model, stored: Stored, source: Source) -> Plan:
    """What fills a model on the meta device from these tensors."""
    groups = shared_names(model)
    buffers: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    if source.layout is None:
        found = _own(model, groups, stored, source)
    else:
        found = _theirs(model, groups, stored, source.layout, source.spec)
        buffers, unused = source.layout.buffers, source.layout.unused
    shapes = {name: tuple(tensor.shape) for name, tensor in model.named_parameters()}
    slots = tuple(dict.fromkeys(found.slots.values()))
    read = {name: shape for slot in slots for name, shape in _shapes(slot, stored, source).items()}
    rows = []
    for name in groups:
        slot = found.slots.get(name)
        rows.append(Row(name, shapes[name], slot.theirs if slot else None, read.get(name)))
    taken = (*(slot.theirs for slot in slots), *found.copies)
    used = {place for name in taken for place in stored.places(name)}
    rest = [
        name
        for name in stored.names()
        if used.isdisjoint(stored.places(name)) and not _matches(name, buffers)
    ]
    idle = tuple(name for name in rest if _matches(name, unused))
    left = [name for name in rest if name not in idle]
    return Plan(
        source=source,
        rows=tuple(rows),
        slots=slots,
        copies={
            copy: theirs
            for copy, theirs in found.copies.items()
            if stored.places(copy) != stored.places(theirs)
        },
        looked_for=found.looked_for,
        left_over={name: stored.shape(name) for name in left},
        unused=idle,
        taken_over=tuple(row.ours for row in rows if row.ours in found.foreign and row.fits),
        other_head=source.spec.heads.default,
    )


def some(names: Sequence[str], total: int | None = None) -> str:
    """The first eight names, and how many more there are."""
    more = (total or len(names)) - 8
    told = ", ".join(names[:8])
    if more > 0:
        told += f" and {more} more"
    return told


@dataclass(frozen=True)
class _Found:
    """Slots and published names by our names, copies of tied tensors, and which of ours come from
    another head.
    """

    slots: dict[str, Slot]
    copies: dict[str, str]
    looked_for: dict[str, str]
    foreign: tuple[str, ...]


def _own(model: Model, groups: Mapping[str, list[str]], stored: Stored, source: Source) -> _Found:
    """In our own format names are ours; another head's tensors count where the published layout
    gives both one name.
    """
    present = set(stored.names())
    head, theirs = model.spec.heads.default, source.spec.heads.default
    swapped: dict[str, str] = {}
    if head is not None and theirs is not None and head != theirs:
        layout = source.spec.checkpoint.huggingface
        swapped = between_heads(groups, present, model, source.spec, layout)
        present = {name for name in present if not name.startswith("head.")} | set(swapped)
    slots = {}
    for first, names in groups.items():
        here = [name for name in names if name in present]
        if here:
            slots[first] = Slot(swapped.get(here[0], here[0]), (first,))
    copies = {
        swapped.get(name, name): slots[first].theirs
        for first, names in groups.items()
        for name in names
        if name in present and swapped.get(name, name) != slots[first].theirs
    }
    foreign = tuple(first for first in slots if first in swapped)
    return _Found(slots, copies, {name: name for name in groups}, foreign)


def _theirs(
    model: Model, groups: Mapping[str, list[str]], stored: Stored, layout: Layout, spec: Spec
) -> _Found:
    """In a published layout the map says which tensor fills which of ours, aliases among them."""
    present = stored.names()
    prefixed = layout.prefix and any(name.startswith(f"{layout.prefix}.") for name in present)
    prefix = f"{layout.prefix}." if prefixed else ""
    owner = {name: first for first, names in groups.items() for name in names}
    head = model.spec.heads.default
    found = _Found({}, {}, {}, ())
    for slot in slots_of(owner, head, layout, prefix, partial=True, owners=owner):
        stand_ins = [
            spelt
            for alias, name in layout.aliases.items()
            for spelt in (alias, prefix + alias)
            if slot.theirs in (name, prefix + name)
        ]
        names = [name for name in (slot.theirs, *stand_ins) if stored.holds(name)]
        owners = tuple(owner[name] for name in slot.ours)
        for name in owners:
            found.looked_for.setdefault(name, slot.theirs)
            if not names:
                continue
            chosen = found.slots.setdefault(name, replace(slot, theirs=names[0], ours=owners))
            found.copies.update({copy: chosen.theirs for copy in names if copy != chosen.theirs})
    taken, refused = from_other_head(model, found.slots, layout, spec)
    for name in refused:
        del found.slots[name]
    return _Found(found.slots, found.copies, found.looked_for, taken)


def _shapes(slot: Slot, stored: Stored, source: Source) -> dict[str, tuple[int, ...]]:
    """Shapes of our tensors in one of theirs; its own where the map does not take it apart."""
    blank = torch.empty(stored.shape(slot.theirs), device="meta")
    try:
        return {name: tuple(tensor.shape) for name, tensor in _read(slot, blank, source).items()}
    except (RuntimeError, ValueError) as error:
        if isinstance(error, CheckpointError):
            raise
        return dict.fromkeys(slot.ours, tuple(blank.shape))


def _read(slot: Slot, tensor: Tensor, source: Source) -> dict[str, Tensor]:
    ours = slot.read(tensor, axis_sizes(source.spec))
    return {name: source.pruned.restore(name, part) for name, part in ours.items()}


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(
        fnmatchcase(name, pattern) or fnmatchcase(name, f"*.{pattern}") for pattern in patterns
    )

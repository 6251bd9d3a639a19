"""From a folder or hub id to a model, tensor by tensor."""

import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from engine.build import assemble
from engine.checkpoint.files import REMAP_BYTES, Weights, resolve_folder
from engine.checkpoint.names import Slot, axis_sizes, slots_of
from engine.checkpoint.opening import Source, open_source
from engine.embeddings import TokenEmbedding
from engine.errors import CheckpointError, InputError, SpecError
from engine.init import initialize
from engine.kernels.int8 import Int8Weight
from engine.kernels.linear import Linear
from engine.model import Model
from engine.output_layer import AdaptiveOutput, LinearOutput
from engine.spec import SpecSource
from engine.spec.axes import Layout


@dataclass(frozen=True)
class LoadReport:
    """What a load could not take over as it stands, by name."""

    initialised: tuple[str, ...] = ()
    left_over: tuple[str, ...] = ()
    other_shape: tuple[str, ...] = ()
    config_left_over: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return any((self.initialised, self.left_over, self.other_shape, self.config_left_over))

    def __str__(self) -> str:
        parts = {
            "initialised anew": self.initialised,
            "left over in the checkpoint": self.left_over,
            "of another shape, initialised anew": self.other_shape,
            "fields of config.json that no axis reads": self.config_left_over,
        }
        return "; ".join(f"{title}: {_some(names)}" for title, names in parts.items() if names) or "all taken over"


def load_model(
    source: str | os.PathLike[str],
    head: str | None = "default",
    *,
    spec: SpecSource | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
    overrides: Mapping[str, Any] | None = None,
    revision: str | None = None,
    seed: int = 0,
    weights: Literal["int8"] | None = None,
    **head_options: Any,
) -> Model:
    """A model with the weights of a folder or hub id: one that `save_model` wrote, or transformers' `save_pretrained`.

    `head` as in `build_model`; "default" is the head that the checkpoint has. `spec` names the family for a network
    that the project does not ship. On the processor, tensors that need no change lie on pages of the file, which are
    read when first used and copied when written to: the file may be replaced or deleted, but not overwritten in place;
    those that it keeps transposed are laid out anew when training or a longer generation begins. All others stream into
    place one by one, cast to `dtype` (None: as stored) on `device`. `seed` draws the weights of a new head. What was
    not taken over stands in `model.load_report`, and is warned about.
    `weights="int8"` keeps token tables, linear layers and output layers in 8-bit integers with a scale a row, for
    inference, and computes in `dtype`; biases, norms, position tables and projections of narrow tables stay as they are.
    Such a model cannot be saved, trained or resized.
    Raises CheckpointError, with nothing half-loaded, for a missing, damaged or foreign checkpoint.
    """
    if weights not in (None, "int8"):
        raise ValueError(f"weights is {weights!r}; allowed: None, 'int8'")
    opened = open_source(resolve_folder(source, revision), spec, overrides)
    stored = Weights(opened.folder)
    model = _assembled(opened, head, head_options)
    report = replace(
        _fill(model, stored, opened.layout, dtype, device, seed, weights == "int8"),
        config_left_over=opened.config_left_over,
    )
    model.load_report = report
    if model.head is None and any(name.startswith("pooler.") for name in report.initialised):
        model.pooler = None  # a checkpoint without a pooler loads without one
    if report:
        warnings.warn(f"{opened.folder}: {report}", stacklevel=2)
    return model.eval()


def _assembled(opened: Source, head: str | None, options: Mapping[str, Any]) -> Model:
    """The modules on the meta device; a head that the folder describes and that cannot stand is the folder's error."""
    try:
        return assemble(opened.spec, head, device="meta", **options)
    except (InputError, SpecError):
        raise
    except ValueError as error:
        raise CheckpointError(f"{opened.folder}: {error}") from None


def _fill(
    model: Model,
    weights: Weights,
    layout: Layout | None,
    dtype: torch.dtype | None,
    device: torch.device | str,
    seed: int,
    narrow: bool,
) -> LoadReport:
    """Put a checkpoint's tensors into a model on the meta device; nothing of the model is touched before all is checked."""
    groups = shared_names(model)
    shapes = {name: tuple(tensor.shape) for name, tensor in model.named_parameters()}
    plan, copies = _plan(model, groups, weights.names(), layout)
    used = {slot.theirs for slot in plan.values()} | set(copies)
    optional = {name for name in groups if name.startswith(("head.", "pooler."))}
    missing = [name for name in groups if name not in plan]
    if lost := [name for name in missing if name not in optional]:
        raise CheckpointError(
            f"{weights.folder} lacks {_some(lost)}: it holds another network, or only a part of this one"
        )
    sizes = axis_sizes(model.spec)
    other = _other_shapes(plan, weights, shapes, sizes)
    if wrong := [f"{name} {found} instead of {shapes[name]}" for name, found in other.items() if name not in optional]:
        raise CheckpointError(f"{weights.folder} has tensors of another shape: {_some(wrong)}")
    for copy, theirs in copies.items():
        if not torch.equal(weights.read(copy), weights.read(theirs)):
            raise CheckpointError(f"{copy} and {theirs} differ, but the spec ties them: untie them in the spec")
    fresh = [name for name in groups if name in missing or name in other]
    filled: dict[str, Tensor] = {}
    for slot in dict.fromkeys(plan.values()):
        for name, tensor in slot.read(weights.read(slot.theirs), sizes).items():
            if name in groups and name not in other:
                filled[name] = tensor
        for name in [name for name in slot.ours if name in filled]:
            again = partial(_read, weights, slot, sizes, name) if narrow else None
            _assign(model, name, filled.pop(name), dtype, device, again)
    _fresh(model, fresh, dtype, device, seed)
    model.tie()
    ignored = tuple(layout.unused) if layout else ()
    unused = [name for name in weights.names() if name not in used and not _matches(name, ignored)]
    return LoadReport(tuple(name for name in fresh if name not in other), tuple(unused), tuple(other))


def shared_names(model: nn.Module) -> dict[str, list[str]]:
    """Every parameter by its first name, with all the names under which it is shared."""
    first: dict[int, str] = {}
    groups: dict[str, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        groups.setdefault(first.setdefault(id(parameter), name), []).append(name)
    return groups


def _plan(
    model: Model, groups: Mapping[str, list[str]], present: list[str], layout: Layout | None
) -> tuple[dict[str, Slot], dict[str, str]]:
    """Which of their tensors fills each of ours, and further copies of shared ones with the name of the one that is read."""
    found = set(present)
    if layout is None:
        return {name: Slot(name, (name,)) for name in groups if name in found}, {}
    prefixed = layout.prefix and any(name.startswith(f"{layout.prefix}.") for name in present)
    prefix = f"{layout.prefix}." if prefixed else ""
    owner = {name: first for first, names in groups.items() for name in names}
    plan: dict[str, Slot] = {}
    copies: dict[str, str] = {}
    for slot in slots_of(owner, model.spec.heads.default, layout, prefix, new_heads=True):
        stand_ins = [
            a
            for alias, name in layout.aliases.items()
            for a in (alias, prefix + alias)
            if slot.theirs in (name, prefix + name)
        ]
        here = [name for name in (slot.theirs, *stand_ins) if name in found]
        owners = tuple(owner[name] for name in slot.ours)
        for name in owners if here else ():
            chosen = plan.setdefault(name, Slot(here[0], owners, slot.pattern))
            copies.update({other: chosen.theirs for other in here if other != chosen.theirs})
    return plan, copies


def _other_shapes(
    plan: Mapping[str, Slot], weights: Weights, shapes: Mapping[str, tuple[int, ...]], sizes: Mapping[str, int]
) -> dict[str, tuple[int, ...]]:
    """Our parameters for which the checkpoint has a tensor of another shape, with that shape."""
    other = {}
    for slot in dict.fromkeys(plan.values()):
        blank = torch.empty(weights.shape(slot.theirs), device="meta")
        try:
            read = {name: tuple(tensor.shape) for name, tensor in slot.read(blank, sizes).items()}
        except (RuntimeError, ValueError):
            read = dict.fromkeys(slot.ours, tuple(blank.shape))
        other.update({name: shape for name, shape in read.items() if shape != shapes[name]})
    return other


def _assign(
    model: nn.Module,
    name: str,
    tensor: Tensor,
    dtype: torch.dtype | None,
    device: torch.device | str,
    narrow: Callable[[], Tensor] | None = None,
) -> None:
    """Put a tensor in the place of the parameter of that name.

    `narrow` reads it again, and asks for 8-bit integers where the network can take them.
    """
    path, _, last = name.rpartition(".")
    module = model.get_submodule(path)
    if narrow is not None and _narrows(model, name):
        blank = Int8Weight.empty(tensor.shape, dtype or tensor.dtype, device)
        setattr(module, last, nn.Parameter(_rounded(name, blank, narrow), requires_grad=False))
        return
    old = model.get_parameter(name)
    kind = dtype if dtype is not None and tensor.is_floating_point() else tensor.dtype
    # A view would keep the whole file's pages, those of rounded weights among them.
    placed = tensor.to(device=device, dtype=kind, copy=narrow is not None)
    placed = placed if placed is tensor else placed.contiguous()
    parameter = nn.Parameter(placed, requires_grad=old.requires_grad)
    if isinstance(module, nn.ParameterList):
        module[int(last)] = parameter
    else:
        setattr(module, last, parameter)


def _narrows(model: nn.Module, name: str) -> bool:
    """Whether a parameter of that name is kept in 8 bits: a token table, or a matrix that `engine.kernels.linear` multiplies with."""
    path, _, last = name.rpartition(".")
    if last.isdigit():
        path, _, last = path.rpartition(".")
    holder = model.get_submodule(path)
    takes = isinstance(holder, Linear | TokenEmbedding | LinearOutput | AdaptiveOutput)
    return takes and last in ("weight", "tables", "cluster_weight")


def _rounded(name: str, blank: Int8Weight, read: Callable[[], Tensor]) -> Int8Weight:
    """A weight as it is read, a run of rows at a time, so that the pages of the runs before can leave memory."""
    rows = max(1, REMAP_BYTES // max(1, blank.shape[1] * blank.element_size()))
    for start in range(0, len(blank), rows):
        blank.quantize_rows(start, read()[start : start + rows].to(blank.device))
    if not bool(blank.scale.isfinite().all()):
        raise CheckpointError(f"{name} holds values that are not finite, which 8 bits cannot say")
    return blank


def _read(weights: Weights, slot: Slot, sizes: Mapping[str, int], name: str) -> Tensor:
    return slot.read(weights.read(slot.theirs), sizes)[name]


def _fresh(model: Model, names: list[str], dtype: torch.dtype | None, device: torch.device | str, seed: int) -> None:
    """Draw new weights for these parameters, as `build_model` would."""
    if not names:
        return
    kind = dtype or next(p.dtype for p in model.parameters() if p.device.type != "meta")
    for name in names:
        _assign(model, name, torch.empty(model.get_parameter(name).shape), kind, device)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        initialize(model, model.spec, only=set(names))


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) or fnmatchcase(name, f"*.{pattern}") for pattern in patterns)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")

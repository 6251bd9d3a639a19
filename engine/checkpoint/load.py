"""From a folder or hub id to a model, tensor by tensor."""

import math
import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial, reduce
from typing import Any, Literal

import torch
from torch import Tensor, nn

from engine.arguments import COMPUTABLE, check_dtype, check_head, check_seed, read_device
from engine.build import assemble
from engine.checkpoint.files import REMAP_BYTES, read_folder, resolve_folder
from engine.checkpoint.names import Slot
from engine.checkpoint.opening import Source, open_source, stored_in
from engine.checkpoint.plan import Plan, make_plan, some
from engine.checkpoint.stored import Stored
from engine.errors import CheckpointError, InputError, SpecError
from engine.kernels.int8 import Int8Weight
from engine.model import Model
from engine.network.embeddings import TokenEmbedding
from engine.network.experts import ExpertLinear
from engine.network.output_layer import AdaptiveOutput, LinearOutput
from engine.parameters.init import initialize
from engine.spec import SpecSource

# Numbers that are drawn anew beside any checkpoint; beside a larger one, four times its own.
MOST_FRESH = 2**26


@dataclass(frozen=True)
class LoadReport:
    """What a load could not take over as it stands, by name."""

    initialised: tuple[str, ...] = ()
    left_over: tuple[str, ...] = ()
    other_shape: tuple[str, ...] = ()
    config_left_over: tuple[str, ...] = ()
    taken_over: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return any(vars(self).values())

    def __str__(self) -> str:
        parts = {
            "initialised anew": self.initialised,
            "left over in the checkpoint": self.left_over,
            "of another shape, initialised anew": self.other_shape,
            "learned tensors for which this network has no use": self.unused,
            "fields of config.json that no axis reads": self.config_left_over,
            "taken over from another head": self.taken_over,
        }
        lists = [f"{title}: {some(names)}" for title, names in parts.items() if names]
        return "; ".join([*self.remarks, *lists]) or "all taken over"


def load_model(  # noqa: PLR0913
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
    """A model with the weights of a folder or hub id: one that `save_model` wrote, or transformers'
    `save_pretrained`.

    `head` as in `build_model`; "default" is the head that the checkpoint has. `spec` names the
    family for a network that the project does not ship. On the processor, tensors that need no
    change lie on pages of the file, which are read when first used and copied when written to: the
    file may be replaced or deleted, but not overwritten in place; those that it keeps transposed
    are laid out anew by `train()` and `prepare_for_inference()`. All others stream into place one
    by one, cast to `dtype` (None: as stored) on `device`. `seed` draws the weights of a new head.
    What was not taken over stands in `model.load_report`, and is warned about. `weights="int8"`
    keeps token tables, linear layers and output layers in 8-bit integers with a scale a row, for
    inference, and computes in `dtype`; biases, norms, position tables and projections of narrow
    tables stay as they are. Such a model cannot be saved, trained or resized. Raises
    CheckpointError, with nothing half-loaded, for a missing, damaged or foreign checkpoint.
    """
    if weights is not None and not (isinstance(weights, str) and weights == "int8"):
        raise InputError(f"weights is {weights!r:.60}; allowed: None, 'int8'")
    check_dtype(dtype)
    check_head(head)
    check_seed(seed)
    device = read_device(device)
    folder = resolve_folder(source, revision)

    def read() -> tuple[Model, LoadReport]:
        opened = open_source(folder, spec, overrides)
        stored = stored_in(opened)
        if (layers := opened.spec.dims.layers) > len(stored.names()):
            raise CheckpointError(
                f"{folder} describes {layers} layers, but holds {len(stored.names())} tensors"
            )
        model = _assembled(opened, head, head_options)
        return model, _fill(
            model, make_plan(model, stored, opened), stored, dtype, device, seed, weights == "int8"
        )

    model, report = read_folder(folder, read)
    model.load_report = report
    if model.head is None and any(name.startswith("pooler.") for name in report.initialised):
        model.pooler = None  # a checkpoint without a pooler loads without one
    if report:
        warnings.warn(f"{folder}: {report}", stacklevel=2)
    return model.eval()


def plan_load(
    source: str | os.PathLike[str],
    head: str | None = "default",
    *,
    spec: SpecSource | None = None,
    overrides: Mapping[str, Any] | None = None,
    revision: str | None = None,
    **head_options: Any,
) -> Plan:
    """What `load_model` would do with the same arguments, from names and shapes: `rows`,
    `left_over`, `unfilled`.

    Nothing is allocated. Raises CheckpointError for a missing, damaged or foreign checkpoint.
    """
    opened = open_source(resolve_folder(source, revision), spec, overrides)
    return make_plan(_assembled(opened, head, head_options), stored_in(opened), opened)


def _assembled(opened: Source, head: str | None, options: Mapping[str, Any]) -> Model:
    """The modules on the meta device; a head that the folder describes and that cannot stand is the
    folder's error.
    """
    try:
        return assemble(opened.spec, head, device="meta", **options)
    except (InputError, SpecError):
        raise
    except ValueError as error:
        raise CheckpointError(f"{opened.folder}: {error}") from None


def _fill(
    model: Model,
    plan: Plan,
    stored: Stored,
    dtype: torch.dtype | None,
    device: torch.device | str,
    seed: int,
    narrow: bool,
) -> LoadReport:
    """Put a checkpoint's tensors into a model on the meta device; nothing of the model is touched
    before all is checked.
    """
    plan.check()
    fresh = [row.ours for row in plan.rows if not row.fits]
    _check_fresh(sum(model.get_parameter(name).numel() for name in fresh), stored)
    for copy, theirs in plan.copies.items():
        if not torch.equal(stored.read(copy), stored.read(theirs)):
            raise CheckpointError(
                f"{copy} and {theirs} differ, but the spec ties them: untie them in the spec"
            )
    taken = {row.ours for row in plan.rows if row.fits}
    for slot in plan.slots:
        filled = {name: tensor for name, tensor in plan.read(slot, stored).items() if name in taken}
        for name in list(filled):
            again = partial(_read, plan, slot, stored, name) if narrow else None
            _assign(model, name, filled.pop(name), dtype, device, again)
    kinds = {str(model.get_parameter(name).dtype)[6:] for name in taken}
    remarks = plan.source.remarks
    if dtype is None and len(kinds) > 1:
        dtype = _in_one_dtype(model, taken)
        told = " and ".join(sorted(kinds))
        remarks += (
            f"weights stored as {told} are all {str(dtype)[6:]} now: dtype= says otherwise",
        )
    _fresh(model, fresh, dtype, device, seed)
    for name in plan.zeros.intersection(fresh):
        torch.nn.init.zeros_(model.get_parameter(name))
    model.tie()
    return LoadReport(
        initialised=plan.unfilled,
        left_over=tuple(plan.left_over),
        unused=plan.unused,
        other_shape=plan.other_shape,
        config_left_over=plan.source.config_left_over,
        remarks=remarks,
        taken_over=tuple(f"{name} (of {plan.other_head})" for name in plan.taken_over),
    )


def _in_one_dtype(model: Model, names: set[str]) -> torch.dtype:
    """Cast these parameters to the dtype that holds the numbers of all of them."""
    parameters = [model.get_parameter(name) for name in names]
    common = reduce(torch.promote_types, {parameter.dtype for parameter in parameters})
    for parameter in parameters:
        parameter.data = parameter.data.to(common)
    return common


def _check_fresh(wanted: int, stored: Stored) -> None:
    """A head may be new, but a few words in a description shall not fill the memory."""
    held = sum(math.prod(stored.shape(name)) for name in stored.names())
    if wanted > max(MOST_FRESH, 4 * held):
        raise CheckpointError(
            f"{stored.folder} holds {held} numbers, and its description asks for {wanted} more: "
            "too many for a new head"
        )


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
    if tensor.dtype not in COMPUTABLE:
        raise CheckpointError(
            f"{name} is stored as {tensor.dtype}, which holds no weights: dequantize it first"
        )
    if narrow is not None and _narrows(model, name):
        blank = Int8Weight.empty(tensor.shape, dtype or tensor.dtype, device)
        setattr(module, last, nn.Parameter(_rounded(name, blank, narrow), requires_grad=False))
        return
    old = model.get_parameter(name)
    kind = tensor.dtype if dtype is None else dtype
    # A view would keep the whole file's pages, those of rounded weights among them.
    placed = tensor.to(device=device, dtype=kind, copy=narrow is not None)
    placed = placed if placed is tensor else placed.contiguous()
    parameter = nn.Parameter(placed, requires_grad=old.requires_grad)
    if isinstance(module, nn.ParameterList):
        module[int(last)] = parameter
    else:
        setattr(module, last, parameter)


def _narrows(model: nn.Module, name: str) -> bool:
    """Whether a parameter of that name is kept in 8 bits: a token table, or a matrix of a body's or
    output's layer.
    """
    path, _, last = name.rpartition(".")
    if last.isdigit():
        path, _, last = path.rpartition(".")
    holder = model.get_submodule(path)
    if isinstance(holder, nn.Linear):
        above = model.get_submodule(path.rpartition(".")[0])
        # A choice turns on differences that 8 bits do not hold.
        if last != "weight" or path.endswith(".router"):
            return False
        return isinstance(above, LinearOutput) or path.startswith(
            ("blocks.", "encoder.blocks.", "pooler.")
        )
    if isinstance(holder, ExpertLinear):
        return last == "weight"
    takes = isinstance(holder, TokenEmbedding | LinearOutput | AdaptiveOutput)
    return takes and last in ("weight", "tables", "cluster_weight")


def _rounded(name: str, blank: Int8Weight, read: Callable[[], Tensor]) -> Int8Weight:
    """A weight as it is read, a run of rows at a time, so that the pages of the runs before can
    leave memory.
    """
    width = math.prod(blank.shape[1:])
    rows = max(1, REMAP_BYTES // max(1, width * blank.element_size()))
    for start in range(0, len(blank), rows):
        blank.quantize_rows(start, read()[start : start + rows].to(blank.device))
    if not bool(blank.scale.isfinite().all()):
        raise CheckpointError(f"{name} holds values that are not finite, which 8 bits cannot say")
    return blank


def _read(plan: Plan, slot: Slot, stored: Stored, name: str) -> Tensor:
    return plan.read(slot, stored)[name]


def _fresh(
    model: Model, names: list[str], dtype: torch.dtype | None, device: torch.device | str, seed: int
) -> None:
    """Draw new weights for these parameters, as `build_model` would."""
    if not names:
        return
    kind = dtype or next(p.dtype for p in model.parameters() if p.device.type != "meta")
    for name in names:
        _assign(model, name, torch.empty(model.get_parameter(name).shape), kind, device)
    if torch.device(device).type == "meta":
        return
    generator = torch.Generator(device).manual_seed(seed)
    initialize(model, model.spec, only=set(names), generator=generator)

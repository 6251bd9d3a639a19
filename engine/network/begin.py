"""From checked inputs to what a pass starts from: first states, masks, distances, positions."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from engine.errors import InputError
from engine.kernels.watched import transformed
from engine.memory import Memory, entering, join_masks, zero_memory
from engine.network.context import Context, Turns
from engine.network.embeddings import Embeddings
from engine.network.inputs import Inputs
from engine.network.masks import AT_ONCE, BLOCK, Grid, Mask, Rules, additive, cut_rows
from engine.network.positions import (
    FromEndPositions,
    count_positions,
    remembered_positions,
    rotation,
)
from engine.network.scores import build_frame
from engine.spec import Spec, axes


@dataclass(frozen=True)
class Begun:
    """First states (b i+p d), memory, shared context, mask of remembered and new tokens (b m+i),
    positions given out.
    """

    states: Tensor
    memory: Memory | None
    context: Context
    mask: Tensor | None
    seen: Tensor | int


@dataclass(frozen=True)
class _Padding:
    """What is known of padding: by pair (b i j), for the new tokens (b i), and whether it speaks of
    remembered ones.
    """

    pairs: Tensor | None
    real: Tensor | None
    remembered: Tensor | None

    @staticmethod
    def of(inputs: Inputs, spec: Spec, remembered: int) -> "_Padding":
        given, length = inputs.padding(spec), inputs.shape[1]
        if given is None or given.dim() == 3:
            return _Padding(given, None, None)
        return _Padding(
            None, given[:, -length:], given[:, :remembered] if given.shape[1] > length else None
        )


def begin(
    spec: Spec,
    embeddings: Embeddings,
    from_end: FromEndPositions | None,
    inputs: Inputs,
    training: bool,
    recompute: bool = False,
) -> Begun:
    """The first states, and the masks, distances and counts that all blocks share (raises
    InputError).
    """
    (batch, length), device = inputs.shape, inputs.device
    states = inputs.inputs_embeds
    if states is None:
        assert inputs.input_ids is not None
        states = embeddings.embed(inputs.input_ids)
    memory = inputs.memory if inputs.memory is not None else zero_memory(spec, batch, states)
    if (
        memory is not None
        and memory.dtype != states.dtype
        and not torch.is_autocast_enabled(device.type)
    ):
        raise InputError(
            f"this memory holds {memory.dtype}, the network computes in {states.dtype}: memory.to(dtype) casts it"
        )
    padding = _Padding.of(inputs, spec, memory.length if memory is not None else 0)
    if memory is not None and padding.remembered is not None:
        memory = replace(memory, mask=padding.remembered)
    mask = join_masks(memory, padding.real, batch, length, device)
    rows, turns, seen = _positions(spec, embeddings, inputs, padding.real, memory)
    states = states if from_end is None else from_end.bottom(states, mask)
    states = embeddings(states, rows, inputs.token_type_ids, inputs.langs, padding.real)
    targets = inputs.targets()
    if targets is not None:
        states = torch.cat((states, embeddings.query_rows(batch, targets.shape[1])), dim=1)
    grid = Grid(length, memory.length if memory is not None else 0, targets, inputs.ahead)
    columns = _columns(spec, grid, padding, mask)
    plain = set(spec.attention.mask) in (
        {"causal"},
        {"padding", "causal"},
    ) and spec.attention.score == ("content",)
    vacant = None if memory is None else memory.vacant
    rules = Rules(spec, grid, columns, inputs.perm_mask, device, states.dtype, vacant)
    drops, half = training and spec.dropout.attention > 0, _better_in_steps(states, grid)
    in_steps = device.type == "cpu" and (drops or half)
    scores = batch * spec.dims.heads * length * grid.columns * states.itemsize if in_steps else 0
    large = not transformed() and (rules.large or half or scores > AT_ONCE)
    causal = plain and columns is None and _alone(grid, memory) and not (in_steps and large)
    cuts = cut_rows(spec, grid, inputs.output_attentions or causal or transformed(), large)
    real, encoder = padding.real, inputs.encoder_attention_mask
    context = Context(
        grid=grid,
        frame=build_frame(
            spec,
            grid,
            inputs.token_type_ids,
            states,
            memory,
            spec.dropout.positions if training else 0.0,
        ),
        mask=_mask(rules, causal, len(cuts)),
        cuts=cuts,
        recompute=recompute,
        causal=causal,
        real=real
        if real is None or targets is None
        else grid.by_rows(real[..., None], grid.whole.rows).squeeze(-1),
        row_turns=None if turns is None else turns[0],
        column_turns=None if turns is None else turns[1],
        encoder_states=inputs.encoder_hidden_states,
        encoder_mask=None
        if encoder is None
        else additive(_by_row(grid, encoder) > 0, states.dtype),
        keep_attentions=inputs.output_attentions,
        in_steps=in_steps,
    )
    return Begun(states, memory, context, mask, seen)


def _better_in_steps(states: Tensor, grid: Grid) -> bool:
    """Whether the processor makes bfloat16 scores of more than a few rows faster than its fused
    kernel does without.
    """
    half = (
        states.dtype == torch.bfloat16
        and states.device.type == "cpu"
        and not torch.is_grad_enabled()
    )
    return half and not transformed() and grid.whole.rows.stop >= BLOCK // 2


def _alone(grid: Grid, memory: Memory | None) -> bool:
    """Whether several tokens see each other only, so that a triangle says who sees whom; sizes are
    read where they may be.
    """
    return (grid.remembered == 0 and grid.content > 1) if not transformed() else memory is None


def _mask(rules: Rules, causal: bool, cuts: int) -> Mask:
    if causal:
        return Mask(None)
    return Mask(None, rules) if cuts > 1 and rules.large else Mask(rules.added(rules.grid.whole))


def _by_row(grid: Grid, mask: Tensor) -> Tensor:
    """A mask of an encoder's states (b s), or by content row (b i s), for all rows, (b 1 i+p s) or
    (b 1 1 s).
    """
    return grid.by_rows(mask, grid.whole.rows)[:, None] if mask.dim() == 3 else mask[:, None, None]


def _columns(spec: Spec, grid: Grid, padding: _Padding, mask: Tensor | None) -> Tensor | None:
    """True for columns that are no padding, (b j) or (b i j), or None."""
    columns = padding.pairs if padding.pairs is not None else mask
    attended = isinstance(spec.memory, axes.Recurrent) and spec.memory.padding == "attended"
    if attended and padding.remembered is None:
        columns = padding.pairs if padding.pairs is not None else padding.real
    if columns is not None and columns.shape[-1] == grid.content:
        columns = torch.nn.functional.pad(columns, (grid.remembered, 0), value=True)
    return columns


def _positions(
    spec: Spec, embeddings: Embeddings, inputs: Inputs, real: Tensor | None, memory: Memory | None
) -> tuple[Tensor | None, tuple[Turns, Turns] | None, Tensor | int]:
    """Rows of the position table (b i), rotary turns of rows and columns, and how many positions
    were given out.
    """
    position = spec.position
    table = embeddings.positions
    padding = spec.embeddings.tables.tokens.padding
    tokens = None if inputs.input_ids is None or padding is None else inputs.input_ids != padding
    counts = (
        position.count
        if isinstance(position, axes.LearnedPosition | axes.SinusoidPosition)
        else "all"
    )
    seen = memory.seen if memory is not None else 0
    kept = entering(spec, memory, inputs.shape[1])
    counted, after = count_positions(
        counts, real, tokens, inputs.shape[1], seen, inputs.device, kept
    )
    given = inputs.position_ids is not None
    positions = inputs.position_ids if inputs.position_ids is not None else counted
    if isinstance(position, axes.RotaryPosition):
        return None, _turns(spec, position, positions, inputs, memory), after
    return None if table is None else table.rows(positions, given), None, after


def _turns(
    spec: Spec,
    position: axes.RotaryPosition,
    positions: Tensor,
    inputs: Inputs,
    memory: Memory | None,
) -> tuple[Turns, Turns]:
    """Turns of all asking rows, and of the asked tokens whose keys are not yet made."""
    rows, columns, targets = positions, positions, inputs.targets()
    if targets is not None:
        last = inputs.shape[1] - 1
        places = positions.expand(targets.shape[0], -1).gather(1, targets.clamp(0, last))
        beyond = (targets - last).clamp(min=0)
        rows = torch.cat((positions.expand(targets.shape[0], -1), places + beyond), dim=1)
    if memory is not None and not memory.projected:
        past = remembered_positions(memory.seen, memory.length, positions.device)
        batch = columns.shape[0] if past.shape[0] == 1 else past.shape[0]
        columns = torch.cat((past.expand(batch, -1), columns.expand(batch, -1)), dim=1)
    head = spec.dims.head or 0
    return rotation(position, rows, head), rotation(position, columns, head)

"""Blocks of several kinds, and what the blocks of each share in a call: masks, distances and
rotations, made once a kind.

b batch, i tokens of the call, j key columns, m remembered tokens, p predictions, s states of an
encoder, d model width.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from engine.kernels.attention import AdditiveMask, Tiling, additive, choose
from engine.kernels.watched import transformed
from engine.memory import Memory, MemoryPolicy
from engine.network.attention import SharedInputs
from engine.network.inputs import Inputs, Padding
from engine.network.masks import MaskRules, Pairs
from engine.network.positions import (
    CallPositions,
    Position,
    PositionInputs,
    ScoreInputs,
    build_position,
)
from engine.network.positions.position import MixedPosition
from engine.network.positions.scores import Distances, score_inputs
from engine.spec import Spec


@dataclass(frozen=True)
class BlockKind:
    """One kind of block."""

    spec: Spec
    """The network's, as these blocks have it."""
    position: Position
    layers: tuple[int, ...]
    """Where its blocks stand."""
    whole: bool
    """Whether all blocks are of this kind."""
    content_only: bool
    """Whether their scores are products of queries and keys, and nothing else."""

    def memory(self, memory: Memory | None) -> Memory | None:
        """What these blocks remember."""
        if memory is None or self.whole:
            return memory
        return replace(memory, layers=tuple(memory.layers[index] for index in self.layers))


def block_kinds(spec: Spec, of_layers: tuple[Spec, ...]) -> tuple[BlockKind, ...]:
    """The kinds of blocks in a network whose layers have these specs."""
    layers: dict[int, list[int]] = {}
    for index, one in enumerate(of_layers):
        layers.setdefault(id(one), []).append(index)
    kinds = []
    for indices in layers.values():
        one = of_layers[indices[0]]
        whole = len(layers) == 1
        content_only = set(one.score_terms) == {"content"}
        kinds.append(BlockKind(one, build_position(one), tuple(indices), whole, content_only))
    return tuple(kinds)


def position_of(spec: Spec, kinds: tuple[BlockKind, ...]) -> Position:
    """The position of a network with blocks of these kinds."""
    if len(kinds) == 1:
        return kinds[0].position
    return MixedPosition(spec, build_position(spec), [kind.position for kind in kinds])


def kind_numbers(kinds: tuple[BlockKind, ...]) -> tuple[int, ...]:
    """Which of the kinds each layer has."""
    of_layers = {index: number for number, kind in enumerate(kinds) for index in kind.layers}
    return tuple(of_layers[index] for index in range(len(of_layers)))


@dataclass(frozen=True)
class CallStates:
    """A call whose first states are made, before its blocks run."""

    inputs: Inputs
    states: Tensor
    """(b i+p d): of tokens and prediction rows."""
    memory: Memory | None
    pairs: Pairs
    columns: Tensor | None
    """(b j) or (b i j): True for columns that are no padding."""
    real: Tensor | None
    """(b i+p): True for rows of tokens that are no padding."""
    encoder_mask: AdditiveMask | None
    counted: PositionInputs
    """What positions are counted from."""
    positions: CallPositions
    """Of the network as a whole."""
    training: bool
    recompute: bool
    """Whether the backward pass makes attention again, tile by tile."""


def share(kind: BlockKind, call: CallStates) -> SharedInputs:
    """What the blocks of a kind share in a call."""
    inputs, pairs, states = call.inputs, call.pairs, call.states
    rules = MaskRules(
        kind.spec,
        pairs,
        padding=call.columns,
        permutation=inputs.perm_mask,
        device=states.device,
        dtype=states.dtype,
        vacant=None if call.memory is None else call.memory.vacant,
    )
    positions = call.positions
    if not kind.whole:
        positions = kind.position.locate(call.counted)
    dropout = kind.spec.dropout
    size = (states.shape[0], kind.spec.dims.heads, pairs.rows, pairs.columns)
    drops = call.training and dropout.attention > 0
    choice = choose(states, size, rules.bytes, drops, kind.spec.attention.plain_softmax)
    causal = kind.content_only and rules.is_triangle(call.memory)
    causal = causal and not (choice.unfused and choice.large)
    fused = kind.content_only and not choice.large
    # Weights that are returned are wanted whole, a triangle is known to the fused kernel, and a
    # compiler would bind the number of tiles.
    at_once = inputs.output_attentions or causal or transformed()
    tiles = rules.tiles(at_once or fused)
    return SharedInputs(
        scores=_score_inputs(kind, call),
        tiling=Tiling(rules.mask(causal, tiles), tiles, recompute=call.recompute),
        causal=causal,
        unfused=choice.unfused,
        query_rotation=positions.query_rotation,
        key_rotation=positions.key_rotation,
        encoder_states=inputs.encoder_hidden_states,
        encoder_mask=call.encoder_mask,
        keep_weights=inputs.output_attentions,
        real=call.real,
    )


def padding_columns(
    pairs: Pairs, padding: Padding, mask: Tensor | None, policy: MemoryPolicy
) -> Tensor | None:
    """True for columns that are no padding, (b j) or (b i j), or None; `mask` (b m+i) is that of
    remembered and new tokens.
    """
    columns = padding.by_pair
    if columns is None:
        attended = policy.attends_padding and padding.remembered is None
        columns = padding.real if attended else mask
    # A mask of the new tokens alone says nothing of remembered ones: these are seen.
    if columns is not None and columns.shape[-1] == pairs.tokens:
        columns = nn.functional.pad(columns, (pairs.remembered, 0), value=True)
    return columns


def _score_inputs(kind: BlockKind, call: CallStates) -> ScoreInputs:
    """Distances and token types, where scores are more than products of queries and keys."""
    if kind.content_only:
        return ScoreInputs(call.pairs, Distances())
    rate = kind.spec.dropout.positions if call.training else 0.0
    remembered = kind.memory(call.memory)
    distances = kind.position.distances(call.pairs, remembered, call.states, rate)
    types, device = call.inputs.token_type_ids, call.states.device
    return score_inputs(kind.spec, call.pairs, distances, types, device)


def encoder_mask(mask: Tensor | None, pairs: Pairs, dtype: torch.dtype) -> AdditiveMask | None:
    """The mask of cross-attention from that of a call, (b s) or (b i s)."""
    if mask is None:
        return None
    if mask.dim() == 3:
        rows = pairs.by_row(mask, pairs.whole.rows)
    else:
        rows = mask[:, None]
    return additive(rows[:, None] > 0, dtype)

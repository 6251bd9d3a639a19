"""What a kind of position may do; the default of everything is nothing.

b batch, i tokens of the call, m remembered tokens, p predictions, k head width, r distances.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from engine.memory import LayerMemory, Memory
from engine.network.masks import Pairs
from engine.network.positions.counting import PositionInputs, count_positions
from engine.network.positions.scores import Distances, ScoreTerms
from engine.spec import Spec

# Cosines and signed sines (b 1 i k) of the features that are turned.
Rotation = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class CallPositions:
    """The positions of one call."""

    seen: Tensor | int
    """How many positions have been given out, the tokens of this call included."""
    rows: Tensor | None = None
    """(b i): rows of a table at the bottom."""
    query_rotation: Rotation | None = None
    """Of all query rows."""
    key_rotation: Rotation | None = None
    """Of the key columns whose keys are not yet made."""


class BlockTables(nn.Module):
    """Positions added to the states that enter a block, and to those that it remembers."""

    def bottom(self, states: Tensor, real: Tensor | None = None) -> Tensor:
        """Token vectors (b i d) with the positions that belong to the bottom.

        `real` (b m+i) is True for tokens that are no padding.
        """
        raise NotImplementedError

    def forward(
        self, block: int, states: Tensor, past: LayerMemory, real: Tensor | None = None
    ) -> tuple[Tensor, LayerMemory]:
        raise NotImplementedError


class Position:
    """No positions (`position.kind: none`), and the interface of all kinds."""

    takes_ids = False
    """Whether a call may give position_ids."""
    rotates = False
    """Whether keys are rotated by their position, which hidden states would lose."""
    keys_stay = True
    """Whether the key of a token stays the same when further tokens come."""
    mirrored = False
    """Whether the second half of a batch has mirrored distances, so that its rows are no equals."""
    shared: tuple[str, ...] = ()
    """Names of parameters among the score terms that all blocks share."""
    padding_counts = False
    """Whether padding on the left of a text moves its positions."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec

    def table(self) -> nn.Module | None:
        """Rows added to the token vectors, from row numbers (b i) and a dtype to (b i d)."""
        return None

    def block_tables(self) -> BlockTables | None:
        """Rows added at blocks."""
        return None

    def score_terms(self) -> ScoreTerms | None:
        """What distances add to scores; a module of each block's attention."""
        return None

    def locate(self, call: PositionInputs) -> CallPositions:
        """The positions of a call (raises InputError past the last one)."""
        return CallPositions(count_positions(call)[1])

    def outgrows(self, before: Tensor | int, after: Tensor | int) -> bool:
        """Whether keys that a memory holds of a text's first tokens, one number for all rows or one
        a row (b), are no longer those of the longer text.
        """
        return False

    def distances(self, pairs: Pairs, past: Memory | None, like: Tensor, rate: float) -> Distances:
        """The distances of a call's pairs, in the dtype and on the device of `like`.

        Dropout of `rate` falls on them, once for all blocks and rows.
        """
        return Distances()

    def rotate(self, states: Tensor, rotation: Rotation) -> Tensor:
        """Queries or keys (b h i k) by their positions."""
        return states

    def memory_rotation(self, memory: Memory, device: torch.device) -> Rotation | None:
        """Rotations of remembered tokens."""
        return None


class MixedPosition(Position):
    """The positions of blocks of several kinds, as far as the network asks of all together."""

    def __init__(self, spec: Spec, own: Position, members: Sequence[Position]) -> None:
        super().__init__(spec)
        self.own, self.members = own, members
        self.takes_ids = any(member.takes_ids for member in members)
        self.rotates = any(member.rotates for member in members)
        self.keys_stay = all(member.keys_stay for member in members)
        self.mirrored = any(member.mirrored for member in members)
        self.padding_counts = any(member.padding_counts for member in (own, *members))

    def locate(self, call: PositionInputs) -> CallPositions:
        """How many have been given out; the kinds locate what blocks see."""
        return self.own.locate(call)

    def outgrows(self, before: Tensor | int, after: Tensor | int) -> bool:
        """Where those of some blocks do."""
        return any(member.outgrows(before, after) for member in self.members)

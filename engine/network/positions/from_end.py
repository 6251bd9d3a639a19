"""Positions counted back from the newest token.

b batch, i tokens of the call, m remembered tokens, d model width.
"""

from dataclasses import replace

import torch
from torch import Tensor, nn

from engine.memory import LayerMemory
from engine.network.positions.position import BlockTables, Position
from engine.network.positions.table import sinusoid
from engine.parameters.offloading import Parameters
from engine.spec import Spec, axes


class FromEndTables(BlockTables):
    """Positions added to states and to what blocks remember of earlier ones.

    The authors' Transformer-XL types 2 (sinusoids, part of the sum at the bottom and of its
    dropout; remembered states of the first block) and 3 (a learned table (size d) each block;
    tokens past the table share its first row).
    """

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        assert isinstance(spec.position, axes.FromEndPosition)
        self.position, self.width = spec.position, spec.dims.model
        self.learned = spec.position.table == "learned"
        shape = (spec.position.size or 0, spec.dims.model)
        blocks = spec.dims.layers if self.learned else 0
        self.tables = Parameters(nn.Parameter(torch.empty(shape)) for _ in range(blocks))

    def bottom(self, states: Tensor, real: Tensor | None = None) -> Tensor:
        """Token vectors (b i d) with their sinusoids; learned tables wait for their blocks.

        `real` (b m+i) is True for tokens that are no padding: the newest of these has position 0.
        """
        if self.learned:
            return states
        return states + self._rows(0, states.shape[1], real, states)

    def forward(
        self, block: int, states: Tensor, past: LayerMemory, real: Tensor | None = None
    ) -> tuple[Tensor, LayerMemory]:
        """States (b i d) and remembered states (b m d) of a block with the positions that they
        lack; `real` as above.
        """
        remembered = 0 if past.hidden is None else past.hidden.shape[1]
        if not self.learned and (block > 0 or not remembered):
            return states, past
        added = self._rows(block, remembered + states.shape[1], real, states)
        if past.hidden is not None:
            past = replace(past, hidden=past.hidden + added[..., :remembered, :])
        if self.learned:
            states = states + added[..., remembered:, :]
        return states, past

    def _rows(self, block: int, length: int, real: Tensor | None, like: Tensor) -> Tensor:
        """Positions (i d) or (b i d) of the newest `length` tokens."""
        steps = torch.arange(length - 1, -1, -1, device=like.device)
        if real is not None:
            padding_behind = real.flip(-1).long().argmax(-1, keepdim=True)
            steps = (steps - padding_behind).clamp(min=0)
        if self.position.clamp is not None:
            steps = steps.clamp(max=self.position.clamp)
        if not self.learned:
            return sinusoid(steps, self.width, "half_split").to(like.dtype)
        table = self.tables[block]
        return table[(table.shape[0] - 1 - steps).clamp(min=0)]


class FromEndPosition(Position):
    """`position.kind: from_end`."""

    keys_stay = False

    def block_tables(self) -> BlockTables:
        """Sinusoids at the bottom, or a learned table a block."""
        return FromEndTables(self.spec)

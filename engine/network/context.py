"""What all blocks of one call share."""

from dataclasses import dataclass, replace

from torch import Tensor

from engine.network.masks import Added, Cut, Grid, Mask
from engine.network.scores import Frame

Turns = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Context:
    """Masks, distances and encoder states of one call; every block reads it and none changes it.

    `mask` says who sees whom, unless `causal` says it; `cuts` are the blocks of rows that attention
    takes at a time, several of them made again in the backward pass under `recompute`; rows before
    `first_row` are asked but do not ask; `real` (b i+p) is True for rows at tokens that are no
    padding; `row_turns`, `column_turns` are rotary cosines and sines; `head_mask` (h) is that of
    the block at hand; `in_steps` makes scores that a fused kernel would not.
    """

    grid: Grid
    frame: Frame
    mask: Mask
    cuts: tuple[Cut, ...]
    first_row: int = 0
    recompute: bool = False
    causal: bool = False
    real: Tensor | None = None
    row_turns: Turns | None = None
    column_turns: Turns | None = None
    encoder_states: Tensor | None = None
    encoder_mask: Added | None = None
    head_mask: Tensor | None = None
    cross_head_mask: Tensor | None = None
    keep_attentions: bool = False
    in_steps: bool = False

    def asking(self, states: Tensor) -> Tensor:
        """The rows of states (b i+p d) that ask."""
        return states[:, self.first_row :] if self.first_row else states

    def only_queries(self) -> "Context":
        """The same call where content rows are only asked, as in a last block whose content nobody
        reads.
        """
        first = self.grid.content
        cuts = [replace(cut, first_row=max(first, cut.first_row)) for cut in self.cuts]
        turns, asking = self.row_turns, Cut(first, None, 0, None)
        return replace(
            self,
            first_row=first,
            cuts=tuple(cut for cut in cuts if cut.rows.start < cut.rows.stop),
            real=None if self.real is None else self.real[:, first:],
            encoder_mask=None if self.encoder_mask is None else self.encoder_mask.over(asking),
            row_turns=None if turns is None else (turns[0][:, :, first:], turns[1][:, :, first:]),
        )

"""Who may see whom: rules over positions, joined by AND, boolean until the softmax."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.spec import Spec, axes

BLOCK = 128  # rows; measured fastest among 32 … 512 for relative attention over 512 tokens


@dataclass(frozen=True)
class Grid:
    """The rows that ask and the columns that are asked in self-attention.

    Columns are `remembered` tokens followed by `content` tokens. Rows are the content tokens, then one query row a
    prediction; `targets` (b p) is the content position of each query row, and -1 for a row that asks nobody. Targets
    reach up to `ahead` places past the content: the place that a decoder fills next.
    """

    content: int
    remembered: int
    targets: Tensor | None = None
    ahead: int = 0

    @property
    def farthest(self) -> int:
        """The largest distance from a row back to a column."""
        return self.columns - 1 + self.ahead

    @property
    def columns(self) -> int:
        """How many tokens are asked."""
        return self.remembered + self.content

    def rows(self, device: torch.device) -> Tensor:
        """The content position of each row, (i) or (b i+p)."""
        content = torch.arange(self.content, device=device)
        if self.targets is None:
            return content
        return torch.cat((content.expand(self.targets.shape[0], -1), self.targets), dim=1)

    def distances(self, device: torch.device) -> Tensor:
        """How many tokens each column lies before each row, (i j) or (b i+p j)."""
        columns = torch.arange(self.columns, device=device) - self.remembered
        return self.rows(device)[..., None] - columns

    def by_rows(self, rule: Tensor) -> Tensor:
        """A rule (b i j) over content rows, repeated for the query rows that stand at the same positions."""
        if self.targets is None:
            return rule
        content = rule
        if self.ahead:  # no rule speaks about places past the content
            rule = torch.nn.functional.pad(rule, (0, 0, 0, self.ahead), value=True)
        index = self.targets.clamp(min=0)[..., None].expand(-1, -1, rule.shape[-1])
        return torch.cat((content, rule.gather(1, index)), dim=1)


@dataclass(frozen=True)
class Cut:
    """A block of asking rows, and the columns that they ask."""

    rows: slice
    columns: slice


def cut_rows(spec: Spec, grid: Grid, whole: bool) -> tuple[Cut, ...]:
    """The rows in blocks, each with the columns that its rules leave: scores stay small, and near in memory.

    Only score terms besides content need the blocks; the fused kernel blocks plain content scores by itself. `whole`
    keeps every column.
    """
    rows = grid.content + (grid.targets.shape[1] if grid.targets is not None else 0)
    everything = slice(0, grid.columns)
    if set(spec.attention.score) == {"content"} or rows <= BLOCK or whole:
        return (Cut(slice(0, rows), everything),)
    causal, span = "causal" in spec.attention.mask, _span(spec, grid)
    cuts = []
    for start in range(0, grid.content, BLOCK):
        stop = min(start + BLOCK, grid.content)
        first = 0 if span is None else max(0, grid.remembered + start - span + 1)
        cuts.append(Cut(slice(start, stop), slice(first, grid.remembered + stop if causal else grid.columns)))
    return (
        *cuts,
        *(Cut(slice(start, min(start + BLOCK, rows)), everything) for start in range(grid.content, rows, BLOCK)),
    )


def visible(
    spec: Spec, grid: Grid, padding: Tensor | None, permutation: Tensor | None, device: torch.device
) -> Tensor | None:
    """True where a row may see a column, (b or 1, 1, i+p, j); None where everybody sees everybody.

    `padding` (b j) or (b i j) is True for columns that are real; `permutation` (b i i) is True where content token i may
    not see content token j.

        causal, 2 remembered      same_length 2       window 2            padding on the left
        1 1 1 . . .               . 1 1 . . .         . 1 1 . . .         . . 1 1
        1 1 1 1 . .               . . 1 1 . .         . . 1 1 . .         . . 1 1
        1 1 1 1 1 .               . . . 1 1 .         . . . 1 1 .         . . 1 1
    """
    rules: list[Tensor] = []
    attention = spec.attention
    distance = grid.distances(device)
    distance = distance[None] if distance.dim() == 2 else distance
    if "causal" in attention.mask and (grid.content > 1 or grid.targets is not None):
        rules.append(distance >= 0)
    span = _span(spec, grid)
    if span is not None and span <= grid.farthest:
        rules.append(distance < span)
    if "padding" in attention.mask and padding is not None:
        rules.append(grid.by_rows(padding) if padding.dim() == 3 else padding[:, None, :])
    if permutation is not None:
        seen = ~permutation.bool()
        rules.append(grid.by_rows(torch.nn.functional.pad(seen, (grid.remembered, 0), value=True)))
    if not rules:
        return _only_asking(None, grid, distance)
    allowed = rules[0]
    for rule in rules[1:]:
        allowed = allowed & rule
    if "permutation" in attention.mask:
        # A content row always sees its own token, padded or not (XLNet).
        content = torch.arange(distance.shape[-2], device=device) < grid.content
        allowed = allowed | ((distance == 0) & content[:, None])
    return _only_asking(allowed, grid, distance)


def additive(allowed: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    """What is added to scores: 0 where a row may see a column, minus infinity elsewhere.

    Made once a call, since a sum costs an eighth of a choice by condition in each block.
    """
    if allowed is None:
        return None
    return torch.zeros(allowed.shape, dtype=dtype, device=allowed.device).masked_fill_(~allowed, -math.inf)


def _span(spec: Spec, grid: Grid) -> int | None:
    """How many tokens, itself included, a row sees back; None where there is no such rule."""
    spans = [spec.attention.window] if "window" in spec.attention.mask else []
    if "same_length" in spec.attention.mask:
        kept = spec.memory.length if isinstance(spec.memory, axes.Recurrent) else None
        spans.append(kept if spec.attention.same_length == "memory" else grid.remembered + 1)
    known = [span for span in spans if span is not None]
    return min(known) if known else None


def _only_asking(allowed: Tensor | None, grid: Grid, distance: Tensor) -> Tensor | None:
    """Query rows without a target see nobody."""
    if grid.targets is not None:
        asks = torch.cat((torch.ones_like(grid.targets[:, :1]).expand(-1, grid.content) > 0, grid.targets >= 0), dim=1)
        allowed = asks[..., None].expand(-1, -1, distance.shape[-1]) if allowed is None else allowed & asks[..., None]
    return None if allowed is None else allowed[:, None]

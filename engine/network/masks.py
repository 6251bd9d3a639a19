"""Who may see whom: rules over positions, joined by AND, boolean until the softmax."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.kernels.watched import transformed
from engine.spec import Spec, axes

AT_ONCE = 2**26  # bytes of masks or scores
BLOCK = 128  # rows; measured fastest among 32 … 512 for relative attention over 512 tokens


@dataclass(frozen=True)
class Grid:
    """The rows that ask and the columns that are asked in self-attention.

    Columns are `remembered` tokens followed by `content` tokens. Rows are the content tokens, then
    one query row a prediction; `targets` (b p) is the content position of each query row, and -1
    for a row that asks nobody. Targets reach up to `ahead` places past the content: the place that
    a decoder fills next.
    """

    content: int
    remembered: int
    targets: Tensor | None = None
    ahead: int = 0

    @property
    def shifted(self) -> int:
        """How many content rows find their distances by a shift; query rows look theirs up, and a
        lone token beside them.
        """
        return self.content if self.targets is None or transformed() or self.content > 1 else 0

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

    @property
    def whole(self) -> "Cut":
        """All rows and all columns."""
        rows = self.content + (self.targets.shape[1] if self.targets is not None else 0)
        return Cut(0, rows, 0, self.columns)

    def distances(self, cut: "Cut", device: torch.device) -> Tensor:
        """How many tokens each column of a cut lies before each of its rows, (1 i j) or (b i j)."""
        columns = torch.arange(cut.columns.start, cut.columns.stop, device=device) - self.remembered
        distance = self.rows(device)[..., cut.rows, None] - columns
        return distance[None] if distance.dim() == 2 else distance

    def by_rows(self, rule: Tensor, rows: slice, beyond: bool = True) -> Tensor:
        """A rule (b i j) over content rows for these rows, of which query rows stand where their
        targets do.

        `beyond` is what it says of rows past the content.
        """
        content = rule[:, rows.start : min(rows.stop, self.content)]
        if self.targets is None or rows.stop <= self.content:
            return content
        targets = self.targets[
            :, max(0, rows.start - self.content) : rows.stop - self.content, None
        ]
        found = rule.gather(1, targets.clamp(0, self.content - 1).expand(-1, -1, rule.shape[-1]))
        found = found.masked_fill(targets >= self.content, beyond) if self.ahead else found
        return torch.cat((content, found), dim=1) if content.shape[1] else found


@dataclass(frozen=True)
class Cut:
    """A block of asking rows, and the columns that they ask."""

    first_row: int
    last_row: int | None  # one past it, as in a slice
    first_column: int
    last_column: int | None

    @property
    def rows(self) -> slice:
        """The rows, made anew, since a compiler binds the sizes in a slice that it finds in a
        value.
        """
        return slice(self.first_row, self.last_row)

    @property
    def columns(self) -> slice:
        """The columns."""
        return slice(self.first_column, self.last_column)


def cut_rows(spec: Spec, grid: Grid, whole: bool, large: bool = False) -> tuple[Cut, ...]:
    """The rows in blocks, each with the columns that its rules leave: scores stay small, and near
    in memory.

    The fused kernel blocks plain content scores by itself: only other terms need the blocks, and
    scores or masks too `large` to be made at once. `whole` keeps every row and column together.
    """
    rows = grid.whole.rows.stop
    fused = set(spec.attention.score) == {"content"} and not large
    if whole or fused or rows <= BLOCK:
        return (grid.whole,)
    causal, span = "causal" in spec.attention.mask, _span(spec, grid)
    cuts = []
    for start in range(0, grid.content, BLOCK):
        stop = min(start + BLOCK, grid.content)
        first = 0 if span is None else max(0, grid.remembered + start - span + 1)
        last = (
            grid.columns if span is None else min(grid.columns, grid.remembered + stop + span - 1)
        )
        cuts.append(Cut(start, stop, first, grid.remembered + stop if causal else last))
    return (
        *cuts,
        *(
            Cut(start, min(start + BLOCK, rows), 0, grid.columns)
            for start in range(grid.content, rows, BLOCK)
        ),
    )


@dataclass(frozen=True)
class Rules:
    """What decides who may see whom in one call.

    `padding` (b j) or (b i j) is True for columns that are real; `permutation` (b i i) is not 0
    where content token i may not see content token j; `vacant` (b) counts the oldest remembered
    places of each row that hold nothing.
    """

    spec: Spec
    grid: Grid
    padding: Tensor | None
    permutation: Tensor | None
    device: torch.device
    dtype: torch.dtype
    vacant: Tensor | None = None

    def visible(self, cut: Cut) -> Tensor | None:
        """True where a row of a cut may see a column, (b or 1, 1, i or 1, j); None where everybody
        sees everybody.

        causal, 2 remembered      same_length 2       window 2            window alone        padding on the left
        1 1 1 . . .               . 1 1 . . .         . 1 1 . . .         . 1 1 1 . .         . . 1 1
        1 1 1 1 . .               . . 1 1 . .         . . 1 1 . .         . . 1 1 1 .         . . 1 1
        1 1 1 1 1 .               . . . 1 1 .         . . . 1 1 .         . . . 1 1 1         . . 1 1

        Without the rule causal a window reaches as far ahead as back (Beltagy et al. 2020, 3.1).
        """
        grid, names, span = self.grid, self.spec.attention.mask, _span(self.spec, self.grid)
        causal = "causal" in names and (
            transformed() or grid.content > 1 or grid.targets is not None
        )
        # A text that the window spans is not bounded by it, on either side.
        near = span is not None and (transformed() or span <= grid.farthest)
        distance = grid.distances(cut, self.device) if causal or near else None
        rules: list[Tensor] = []
        if causal and distance is not None:
            rules.append(distance >= 0)
        if near and distance is not None and span is not None:
            rules.append(distance < span)
            if "causal" not in names:
                rules.append(distance > -span)
        if "padding" in names and self.padding is not None:
            by_pair = self.padding.dim() == 3
            real = grid.by_rows(self.padding, cut.rows) if by_pair else self.padding[:, None, :]
            rules.append(real[..., cut.columns])
        if self.permutation is not None:
            hidden = grid.by_rows(self.permutation, cut.rows, beyond=False) != 0
            rules.append(~torch.nn.functional.pad(hidden, (grid.remembered, 0))[..., cut.columns])
        if self.vacant is not None:
            places = torch.arange(cut.columns.start, cut.columns.stop, device=self.device)
            rules.append((places >= self.vacant[:, None])[:, None])
            if "same_length" in names and self.spec.attention.same_length == "remembered":
                held = grid.remembered - self.vacant[:, None, None]
                rules.append(grid.distances(cut, self.device) <= held)
        if not rules:
            return self._asking(None, cut)
        allowed = rules[0]
        for rule in rules[1:]:
            allowed = allowed & rule
        if "permutation" in names:
            # A content row always sees its own token, padded or not (XLNet).
            distance = grid.distances(cut, self.device) if distance is None else distance
            content = torch.arange(cut.rows.start, cut.rows.stop, device=self.device) < grid.content
            allowed = allowed | ((distance == 0) & content[:, None])
        return self._asking(allowed, cut)

    def _asking(self, allowed: Tensor | None, cut: Cut) -> Tensor | None:
        """Query rows without a target see nobody."""
        targets = self.grid.targets
        if targets is not None and not _known(targets >= 0):
            content = torch.ones_like(targets[:, :1]).expand(-1, self.grid.content) > 0
            asks = torch.cat((content, targets >= 0), dim=1)[:, cut.rows, None]
            columns = cut.columns.stop - cut.columns.start
            allowed = asks.expand(-1, -1, columns) if allowed is None else allowed & asks
        return None if allowed is None else allowed[:, None]

    def added(self, cut: Cut) -> "Added | None":
        """What is added to the scores of a cut; None where everybody sees everybody."""
        return additive(self.visible(cut), self.dtype)

    @property
    def large(self) -> bool:
        """Whether what is added to the scores of all pairs of a batch would be too large to be made
        at once.
        """
        by_pair = self.permutation is not None or (
            self.padding is not None and self.padding.dim() == 3
        )
        if set(self.spec.attention.mask) <= {"padding"} and not by_pair:
            return False
        whole, given = (
            self.grid.whole,
            (self.padding, self.permutation, self.grid.targets, self.vacant),
        )
        batch = max(1 if tensor is None else tensor.shape[0] for tensor in given)
        return bool(batch * whole.rows.stop * whole.columns.stop * self.dtype.itemsize > AT_ONCE)


@dataclass(frozen=True)
class Added:
    """What is added to `scores`, (b or 1, 1, i or 1, j): 0 where a row may see a column, minus
    infinity elsewhere.

    A row that sees nobody has zeros there, and `sighted` (b or 1, 1, i or 1, 1), by which weights
    are multiplied, is 0 for it and 1 for others; None where every row sees somebody.
    """

    scores: Tensor
    sighted: Tensor | None = None

    def over(self, cut: Cut) -> "Added":
        """The part for a cut."""
        rows = cut.rows if self.scores.shape[2] > 1 else slice(None)
        return Added(
            self.scores[:, :, rows, cut.columns],
            None if self.sighted is None else self.sighted[:, :, rows],
        )


@dataclass(frozen=True)
class Mask:
    """What is added to scores, made once for all blocks of a call, or (`rules`) anew for each cut
    where it is large.
    """

    whole: Added | None
    rules: Rules | None = None

    def over(self, cut: Cut) -> Added | None:
        """The part for a cut; None where everybody sees everybody."""
        if self.rules is not None:
            return self.rules.added(cut)
        return None if self.whole is None else self.whole.over(cut)


def additive(allowed: Tensor | None, dtype: torch.dtype) -> Added | None:
    """What is added to scores where rows may see columns as `allowed` (b or 1, 1, i or 1, j) says.

    Made once a call, since a sum costs an eighth of a choice by condition in each block.
    """
    if allowed is None:
        return None
    sighted = allowed.any(-1, keepdim=True)
    everybody = _known(sighted)
    allowed = allowed if everybody else allowed | ~sighted
    nothing = torch.zeros((), dtype=dtype, device=allowed.device)
    return Added(nothing.masked_fill(~allowed, -math.inf), None if everybody else sighted.to(dtype))


def _known(every: Tensor) -> bool:
    """Whether all are true, where that can be read without waiting for a device or a compiler."""
    return every.device.type == "cpu" and not transformed() and bool(every.all())


def _span(spec: Spec, grid: Grid) -> int | None:
    """How many tokens, itself included, a row sees back, and ahead where it may; None where there
    is no such rule.
    """
    spans = [spec.attention.window] if "window" in spec.attention.mask else []
    if "same_length" in spec.attention.mask:
        kept = spec.memory.length if isinstance(spec.memory, axes.Recurrent) else None
        spans.append(kept if spec.attention.same_length == "memory" else grid.remembered + 1)
    known = [span for span in spans if span is not None]
    return min(known) if known else None

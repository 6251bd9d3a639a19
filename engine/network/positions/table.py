"""Rows of a table added to token vectors: learned, or sines and cosines."""

import math

import torch
from torch import Tensor, nn

from engine.errors import InputError
from engine.kernels.watched import transformed
from engine.network.positions.counting import PositionInputs, count_positions
from engine.network.positions.position import CallPositions, Position
from engine.spec import Spec, axes


def sinusoid(positions: Tensor, width: int, basis: str) -> Tensor:
    """Sines and cosines of positions (...) as (... width), float32, or float64 of positions in
    float64 (Vaswani et al. 2017, 3.5).

    `interleaved` alternates sine and cosine; `half_split` puts all sines first; `tensor2tensor`
    does so with frequencies spread to the last one.
    """
    half, dtype = width // 2, torch.float32
    if positions.dtype == torch.float64:
        dtype = positions.dtype
    steps = torch.arange(half, dtype=dtype, device=positions.device)
    if basis == "tensor2tensor":
        frequencies = torch.exp(steps * -(math.log(10000) / (half - 1)))
    else:
        frequencies = 1 / torch.pow(10000, 2 * steps / width)
    angles = positions.to(dtype)[..., None] * frequencies
    if basis == "interleaved":
        return torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(-2)
    return torch.cat((angles.sin(), angles.cos()), dim=-1)


class LearnedTable(nn.Module):
    """A learned row (d) a position; row numbers (b i) to (b i d)."""

    def __init__(self, size: int, width: int, padding: int | None) -> None:
        super().__init__()
        self.padding = padding
        """The row that belongs to padding: it gets no gradient."""
        self.weight = nn.Parameter(torch.empty(size, width))

    def forward(self, rows: Tensor, dtype: torch.dtype) -> Tensor:
        return nn.functional.embedding(rows, self.weight, padding_idx=self.padding)


class SinusoidTable(nn.Module):
    """Sines and cosines of row numbers (b i), (b i d); a frozen table where checkpoints hold one."""

    def __init__(self, position: axes.SinusoidPosition, width: int, zero_row: int | None) -> None:
        super().__init__()
        self.basis, self.width, self.zero_row = position.basis, width, zero_row
        self.weight: nn.Parameter | None = None
        if position.stored and position.size is not None:
            self.weight = nn.Parameter(torch.empty(position.size, width), requires_grad=False)

    def forward(self, rows: Tensor, dtype: torch.dtype) -> Tensor:
        if self.weight is not None:
            return nn.functional.embedding(rows, self.weight)
        states = sinusoid(rows, self.width, self.basis).to(dtype)
        if self.zero_row is None:
            return states
        return states.masked_fill((rows == self.zero_row)[..., None], 0.0)

    @torch.no_grad()
    def fill(self) -> None:
        """Write the sines and cosines into the frozen table."""
        if self.weight is not None:
            # Published tables were rounded once, at the end.
            device = self.weight.device
            rows = torch.arange(len(self.weight), dtype=torch.float64, device=device)
            self.weight.copy_(sinusoid(rows, self.width, self.basis))
            if self.zero_row is not None and self.zero_row < len(rows):
                self.weight[self.zero_row] = 0


class _TablePosition(Position):
    """What both tables share: positions are row numbers behind `start`."""

    takes_ids = True
    given_are_rows = False

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        position = spec.position
        assert isinstance(position, axes.LearnedPosition | axes.SinusoidPosition)
        self.size, self.count = position.size, position.count
        self.padding_counts = position.count == "columns"
        self.padding = spec.embeddings.tables.tokens.padding
        if position.start == "after_padding":
            self.start = (self.padding or 0) + 1
        else:
            self.start = position.start

    def locate(self, call: PositionInputs) -> CallPositions:
        """Rows of the table; raises InputError outside it."""
        positions, seen = count_positions(call, self.count)
        if call.given is None:
            rows = (positions + self.start).clamp(min=0)  # padding that is not counted
        else:
            positions = call.given
            rows = positions if self.given_are_rows else positions + self.start
        if transformed() or rows.device.type == "meta":  # values are not to be read
            return CallPositions(seen, rows=rows)
        # Before the table is read: an index past its end would end all work on a GPU.
        last = int(rows.max())
        if self.size is not None and last >= self.size:
            raise InputError(
                f"the input reaches position {last - self.start}, past the last of "
                f"{self.size - self.start} (position.size {self.size}, position.start "
                f"{self.start}): shorten it"
            )
        if int(rows.min()) < 0:
            raise InputError(f"position_ids holds {int(positions.min())}: positions count from 0")
        return CallPositions(seen, rows=rows)


class LearnedPosition(_TablePosition):
    """`position.kind: learned`."""

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        assert isinstance(spec.position, axes.LearnedPosition)
        self.axis = spec.position
        self.given_are_rows = self.axis.ids == "rows"

    def table(self) -> nn.Module:
        """A learned table."""
        padding = self.padding if self.axis.start == "after_padding" else None
        return LearnedTable(self.axis.size, self.spec.embedding_width, padding)


class SinusoidPosition(_TablePosition):
    """`position.kind: sinusoid`."""

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        assert isinstance(spec.position, axes.SinusoidPosition)
        self.axis = spec.position

    def table(self) -> nn.Module:
        """Sines and cosines; the row of the padding id holds zeros where the spec says so (XGLM)."""
        zero_row = self.padding if self.axis.padding_row == "zero" else None
        counted = self.count in ("all", "columns")
        if zero_row is not None and zero_row < self.start and counted and not self.axis.stored:
            zero_row = None  # no position reads it
        return SinusoidTable(self.axis, self.spec.embedding_width, zero_row)

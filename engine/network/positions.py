"""How order enters: positions counted from the mask, tables at the bottom, distances, rotations."""

import math
from dataclasses import replace

import torch
from torch import Tensor, nn

from engine.errors import InputError
from engine.kernels.watched import transformed
from engine.memory import LayerMemory
from engine.parameters.offloading import Parameters
from engine.spec import Spec, axes


def sinusoid(positions: Tensor, width: int, basis: str) -> Tensor:
    """Sines and cosines of positions (...) as (... width), float32 (Vaswani et al. 2017, 3.5).

    `interleaved` alternates sine and cosine; `half_split` puts all sines first; `tensor2tensor`
    does so with frequencies spread to the last one.
    """
    half = width // 2
    steps = torch.arange(half, dtype=torch.float32, device=positions.device)
    if basis == "tensor2tensor":
        frequencies = torch.exp(steps * -(math.log(10000) / (half - 1)))
    else:
        frequencies = 1 / torch.pow(10000, 2 * steps / width)
    angles = positions.float()[..., None] * frequencies
    if basis == "interleaved":
        return torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(-2)
    return torch.cat((angles.sin(), angles.cos()), dim=-1)


def count_positions(
    count: axes.PositionCount,
    real: Tensor | None,
    tokens: Tensor | None,
    length: int,
    seen: Tensor | int,
    device: torch.device,
    kept: int | None = None,
) -> tuple[Tensor, Tensor | int]:
    """Positions (b or 1, i) counted from zero, and how many have been given out up to the last of
    the `kept` first tokens.

    `real` (b i) is True for tokens that are no padding by the mask, `tokens` (b i) by their id.
    Counting starts at the first real token, so that padding side changes nothing; `columns` starts
    at the left edge, as some published code does; `real` steps over padding ids, which get position
    -1; `ids` does so and looks at no mask, as published for RoBERTa.
    """
    columns = torch.arange(length, device=device)
    kept = length if kept is None else kept
    offset = seen[:, None] if isinstance(seen, Tensor) else seen
    if count in ("real", "ids") and tokens is not None:
        counted = tokens
        if count == "real" and real is not None:
            counted = tokens & _started(real, seen)
        steps = counted.long().cumsum(-1)
        return torch.where(counted, steps + offset - 1, -1), _after(seen, steps[:, :kept][:, -1])
    if count == "columns" or real is None:
        return (columns + offset).expand(1 if isinstance(seen, int) else -1, -1), seen + kept
    steps = _started(real, seen).long().cumsum(-1)
    return (steps - 1).clamp(min=0) + offset, _after(seen, steps[:, :kept][:, -1])


def _started(real: Tensor, seen: Tensor | int) -> Tensor:
    """True from the first real token of a row on, or from the start where earlier tokens were seen."""
    earlier = (
        (seen > 0)[:, None] if isinstance(seen, Tensor) else torch.full_like(real[:, :1], seen > 0)
    )
    return (real.long().cumsum(-1) > 0) | earlier


def _after(seen: Tensor | int, steps: Tensor) -> Tensor:
    return steps + (seen if isinstance(seen, Tensor) else torch.full_like(steps, seen))


def remembered_positions(seen: Tensor | int, length: int, device: torch.device) -> Tensor:
    """Positions (b or 1, m) of the last `length` tokens of which `seen` were counted; padding
    before them gets any.
    """
    given = seen if isinstance(seen, Tensor) else torch.tensor([seen], device=device)
    return given[:, None] - torch.arange(length, 0, -1, device=device)


class PositionTable(nn.Module):
    """A row (d) a position, added to token vectors: learned, or sines and cosines.

    Positions (b i) counted from zero to (b i d). Raises InputError past the last row of a table.
    """

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        position = spec.position
        assert isinstance(position, axes.LearnedPosition | axes.SinusoidPosition)
        self.position, self.width = position, spec.embedding_width
        after = position.start == "after_padding"
        self.padding = spec.embeddings.tables.tokens.padding if after else None
        self.start = (
            int(position.start) if position.start != "after_padding" else (self.padding or 0) + 1
        )
        self.zero_row: int | None = None
        if isinstance(position, axes.SinusoidPosition) and position.padding_row == "zero":
            self.zero_row = spec.embeddings.tables.tokens.padding
        self.weight: nn.Parameter | None = None
        if isinstance(position, axes.LearnedPosition):
            self.weight = nn.Parameter(torch.empty(position.size, self.width))
        elif position.stored and position.size is not None:
            self.weight = nn.Parameter(torch.empty(position.size, self.width), requires_grad=False)

    def rows(self, positions: Tensor, given: bool) -> Tensor:
        """Rows of the table for positions that were counted, or `given` by the caller (raises
        InputError outside it).
        """
        as_rows = (
            given
            and isinstance(self.position, axes.LearnedPosition)
            and self.position.ids == "rows"
        )
        rows = positions if as_rows else positions + self.start
        rows = rows if given else rows.clamp(min=0)  # padding that is not counted
        size = self.position.size
        if transformed() or rows.device.type == "meta":
            return rows
        if size is not None and int(rows.max()) >= size:
            raise InputError(
                f"the input reaches position {int(rows.max()) - self.start}, past the last of "
                f"{size - self.start} (position.size {size}, position.start {self.start}): shorten it"
            )
        if int(rows.min()) < 0:
            raise InputError(f"position_ids holds {int(positions.min())}: positions count from 0")
        return rows

    def forward(self, rows: Tensor, dtype: torch.dtype) -> Tensor:
        if self.weight is None:
            assert isinstance(self.position, axes.SinusoidPosition)
            states = sinusoid(rows, self.width, self.position.basis).to(dtype)
            if self.zero_row is None or self.zero_row < self.start:
                return states
            return states.masked_fill((rows == self.zero_row)[..., None], 0.0)
        return nn.functional.embedding(rows, self.weight, padding_idx=self.padding)


class FromEndPositions(nn.Module):
    """Positions counted back from the newest token, added to states and to what blocks remember of
    earlier ones.

    The authors' Transformer-XL types 2 (sinusoids, part of the sum at the bottom and of its
    dropout; remembered states of the first block) and 3 (a learned table (size d) each block;
    tokens past the table share its first row).
    """

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        assert isinstance(spec.position, axes.FromEndPosition)
        self.position, self.width = spec.position, spec.dims.model
        learned = spec.position.table == "learned"
        shape = (spec.position.size or 0, spec.dims.model)
        self.tables = Parameters(
            nn.Parameter(torch.empty(shape)) for _ in range(spec.dims.layers if learned else 0)
        )

    def bottom(self, states: Tensor, real: Tensor | None = None) -> Tensor:
        """Token vectors (b i d) with their sinusoids; unchanged where tables are learned and wait
        for their blocks.

        `real` (b m+i) is True for tokens that are no padding: the newest of these has position 0.
        """
        return states if len(self.tables) else states + self._rows(0, states.shape[1], real, states)

    def forward(
        self, block: int, states: Tensor, past: LayerMemory, real: Tensor | None = None
    ) -> tuple[Tensor, LayerMemory]:
        """States (b i d) and remembered states (b m d) of a block with the positions that they
        lack; `real` as above.
        """
        remembered = past.hidden.shape[1] if past.hidden is not None else 0
        if not len(self.tables) and (block > 0 or not remembered):
            return states, past
        added = self._rows(block, remembered + states.shape[1], real, states)
        if past.hidden is not None:
            past = replace(past, hidden=past.hidden + added[..., :remembered, :])
        return states + added[..., remembered:, :] if len(self.tables) else states, past

    def _rows(self, block: int, length: int, real: Tensor | None, like: Tensor) -> Tensor:
        """Positions (i d) or (b i d) of the newest `length` tokens."""
        steps = torch.arange(length - 1, -1, -1, device=like.device)
        if real is not None:
            behind = real.flip(-1).long().argmax(-1, keepdim=True)
            steps = (steps - behind).clamp(min=0)
        if self.position.clamp is not None:
            steps = steps.clamp(max=self.position.clamp)
        if not len(self.tables):
            return sinusoid(steps, self.width, "half_split").to(like.dtype)
        table = self.tables[block]
        return table[(table.shape[0] - 1 - steps).clamp(min=0)]


def rotation(position: axes.RotaryPosition, positions: Tensor, head: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines (b 1 i k/2) of the angles of rotary positions (Su et al. 2021, 3.2)."""
    width = position.width or int(head * position.fraction)
    frequencies = 1 / position.base ** (
        torch.arange(0, width, 2, dtype=torch.float32, device=positions.device) / width
    )
    angles = positions.float()[..., None] * frequencies
    return angles.cos()[:, None], angles.sin()[:, None]


def rotate(states: Tensor, turns: tuple[Tensor, Tensor], interleaved: bool) -> Tensor:
    """Queries or keys (b h i k) turned by their positions; the part past the rotary width stays as
    it is.
    """
    cosine, sine = (turn.to(states.dtype) for turn in turns)
    width = 2 * cosine.shape[-1]
    turned, rest = states[..., :width], states[..., width:]
    if interleaved:
        first, second = turned[..., 0::2], turned[..., 1::2]
        pairs = torch.stack(
            (first * cosine - second * sine, second * cosine + first * sine), dim=-1
        )
        turned = pairs.flatten(-2)
    else:
        first, second = turned.chunk(2, dim=-1)
        turned = torch.cat((first * cosine - second * sine, second * cosine + first * sine), dim=-1)
    return torch.cat((turned, rest), dim=-1) if rest.shape[-1] else turned

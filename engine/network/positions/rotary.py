"""Queries and keys rotated by their position (Su et al. 2021)."""

import torch
from torch import Tensor

from engine.memory import Memory
from engine.network.positions.counting import PositionInputs, count_positions
from engine.network.positions.position import CallPositions, Position, Rotation
from engine.spec import Spec, axes


class RotaryPosition(Position):
    """`position.kind: rotary`."""

    takes_ids = True
    rotates = True

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        assert isinstance(spec.position, axes.RotaryPosition)
        self.axis = spec.position
        self.width = self.axis.width or int(spec.dims.head * self.axis.fraction)

    def locate(self, call: PositionInputs) -> CallPositions:
        """Rotations of all query rows, and of the key columns whose keys are not yet made."""
        counted, seen = count_positions(call)
        positions = counted if call.given is None else call.given
        rows = columns = positions
        if call.targets is not None:
            last, batch = call.length - 1, call.targets.shape[0]
            tokens = positions.expand(batch, -1)
            places = tokens.gather(1, call.targets.clamp(0, last))
            rows = torch.cat((tokens, places + (call.targets - last).clamp(min=0)), dim=1)
        if call.memory is not None and not call.memory.projected:
            past = remembered_positions(call.memory, positions.device)
            batch = columns.shape[0]
            if past.shape[0] != 1:
                batch = past.shape[0]
            columns = torch.cat((past.expand(batch, -1), columns.expand(batch, -1)), dim=1)
        return CallPositions(
            seen, query_rotation=self._rotation(rows), key_rotation=self._rotation(columns)
        )

    def memory_rotation(self, memory: Memory, device: torch.device) -> Rotation:
        """Rotations of remembered tokens."""
        return self._rotation(remembered_positions(memory, device))

    def rotate(self, states: Tensor, rotation: Rotation) -> Tensor:
        """Queries or keys (b h i k) rotated; the part past the rotary width stays as it is."""
        cosine, sine = (part.to(states.dtype) for part in rotation)
        width = 2 * cosine.shape[-1]
        rotated, rest = states[..., :width], states[..., width:]
        if self.axis.interleaved:
            first, second = rotated[..., 0::2], rotated[..., 1::2]
        else:
            first, second = rotated.chunk(2, dim=-1)
        pair = (first * cosine - second * sine, second * cosine + first * sine)
        if self.axis.interleaved:
            rotated = torch.stack(pair, dim=-1).flatten(-2)
        else:
            rotated = torch.cat(pair, dim=-1)
        return torch.cat((rotated, rest), dim=-1) if rest.shape[-1] else rotated

    def _rotation(self, positions: Tensor) -> Rotation:
        """Cosines and sines (b 1 i k/2) of the angles of positions (b i) (Su et al. 2021, 3.2)."""
        steps = torch.arange(0, self.width, 2, dtype=torch.float32, device=positions.device)
        angles = positions.float()[..., None] * (1 / self.axis.base ** (steps / self.width))
        return angles.cos()[:, None], angles.sin()[:, None]


def remembered_positions(memory: Memory, device: torch.device) -> Tensor:
    """Positions (b or 1, m) of remembered tokens; padding before the counted ones gets any."""
    seen = memory.seen
    if not isinstance(seen, Tensor):
        seen = torch.tensor([seen], device=device)
    return seen[:, None] - torch.arange(memory.length, 0, -1, device=device)

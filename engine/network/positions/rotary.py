"""Queries and keys rotated by their position (Su et al. 2021)."""

import torch
from torch import Tensor

from engine.errors import InputError
from engine.kernels.watched import transformed
from engine.memory import Memory
from engine.network.positions.counting import PositionInputs, count_positions
from engine.network.positions.position import CallPositions, Position, Rotation
from engine.network.positions.scaling import build_frequencies
from engine.spec import Spec, axes


class RotaryPosition(Position):
    """`position.kind: rotary`."""

    takes_ids = True
    rotates = True

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        assert isinstance(spec.position, axes.RotaryPosition)
        self.axis = spec.position
        width = self.axis.width or int(spec.dims.head * self.axis.fraction)
        self.frequencies = build_frequencies(self.axis, width)

    def locate(self, call: PositionInputs) -> CallPositions:
        """Rotations of all query rows, and of the key columns whose keys are not yet made."""
        counted, seen = count_positions(call)
        positions = counted if call.given is None else call.given
        rows = columns = positions
        lengths = self._lengths(call, positions)
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
            seen,
            query_rotation=self._rotation(rows, lengths),
            key_rotation=self._rotation(columns, lengths),
        )

    def _lengths(self, call: PositionInputs, positions: Tensor) -> Tensor | None:
        """How long each text (b or 1) is with the tokens of a call, where wavelengths depend on it
        (raises InputError for a memory that is outgrown).
        """
        if not self.frequencies.by_length:
            return None
        if call.real is not None:
            positions = torch.where(call.real, positions, 0)
        lengths = positions.amax(-1) + 1
        if call.memory is not None and not transformed() and self.outgrows(call.seen, lengths):
            raise InputError(
                f"position.scaling {self.axis.scaling.kind} turns keys otherwise in texts as long "  # type: ignore[union-attr]
                f"as this one is now ({int(lengths.max())} tokens): give the whole text without "
                "memory"
            )
        return lengths

    def outgrows(self, before: Tensor | int, after: Tensor | int) -> bool:
        """Where wavelengths depend on the length of the text, as their kind says."""
        if not self.frequencies.by_length:
            return False
        known = [count.device for count in (before, after) if isinstance(count, Tensor)]
        place = known[0] if known else None
        counts = [torch.as_tensor(count, device=place) for count in (before, after)]
        one, other = torch.broadcast_tensors(*counts)
        return bool(self.frequencies.outgrown(one, other).any())

    def memory_rotation(self, memory: Memory, device: torch.device) -> Rotation:
        """Rotations of remembered tokens."""
        return self._rotation(remembered_positions(memory, device))

    def rotate(self, states: Tensor, rotation: Rotation) -> Tensor:
        """Queries or keys (b h i k) rotated; the part past the rotary width stays as it is."""
        cosine, sine = (part.to(states.dtype) for part in rotation)
        width = cosine.shape[-1]
        if width == states.shape[-1]:
            return self._turned(states, cosine, sine)
        turned = self._turned(states[..., :width], cosine, sine)
        return torch.cat((turned, states[..., width:]), dim=-1)

    def _turned(self, states: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        """Each feature times its cosine, and its pair's other one times the signed sine."""
        if self.axis.interleaved:
            others = states.unflatten(-1, (-1, 2)).flip(-1).flatten(-2)
        else:
            first, second = states.chunk(2, dim=-1)
            others = torch.cat((second, first), dim=-1)
        return torch.addcmul(states * cosine, others, sine)

    def _rotation(self, positions: Tensor, lengths: Tensor | None = None) -> Rotation:
        """Cosines and signed sines (b 1 i k) of the angles of positions (b i) (Su et al. 2021, 3.2), in
        texts of these lengths (b).
        """
        angles = positions.float()[..., None] * self.frequencies(lengths, positions.device)
        cosine, sine = angles.cos()[:, None], angles.sin()[:, None]
        magnitude = self.frequencies.magnitude
        if magnitude != 1.0:
            cosine, sine = cosine * magnitude, sine * magnitude
        if self.axis.interleaved:
            return cosine.repeat_interleave(2, -1), torch.stack((-sine, sine), -1).flatten(-2)
        return torch.cat((cosine, cosine), -1), torch.cat((-sine, sine), -1)


def remembered_positions(memory: Memory, device: torch.device) -> Tensor:
    """Positions (b or 1, m) of remembered tokens; padding before the counted ones gets any."""
    seen = memory.seen
    if not isinstance(seen, Tensor):
        seen = torch.tensor([seen], device=device)
    return seen[:, None] - torch.arange(memory.length, 0, -1, device=device)

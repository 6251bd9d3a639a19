"""Wavelengths of rotary positions in texts longer than those of training.

b batch, k head width.
"""

import math

import torch
from torch import Tensor

from engine.spec import axes


class Frequencies:
    """Angles a position of each pair of features: plain, and one subclass a kind of scaling."""

    by_length = False
    """Whether they depend on the length of the text."""
    magnitude = 1.0
    """Multiplies what is turned."""

    def __init__(self, base: float, width: int) -> None:
        self.base, self.width = base, width

    def __call__(self, lengths: Tensor | None, device: torch.device) -> Tensor:
        """Angles (k/2), float32, or (b 1 k/2) of texts of these lengths (b)."""
        return 1 / self.base ** self.steps(device)

    def steps(self, device: torch.device) -> Tensor:
        """The place (k/2) of each pair between the shortest wavelength and the longest, from 0 to 1."""
        return torch.arange(0, self.width, 2, dtype=torch.float32, device=device) / self.width

    def outgrown(self, before: Tensor, after: Tensor) -> Tensor:
        """Where (b) keys of a text's first tokens are no longer those of the longer text."""
        return torch.zeros_like(before, dtype=torch.bool)


class Linear(Frequencies):
    """`scaling.kind: linear`."""

    def __init__(self, base: float, width: int, scaling: axes.LinearScaling) -> None:
        super().__init__(base, width)
        self.factor = scaling.factor

    def __call__(self, lengths: Tensor | None, device: torch.device) -> Tensor:
        """As in the interface."""
        return super().__call__(lengths, device) / self.factor


class Dynamic(Frequencies):
    """`scaling.kind: dynamic`."""

    by_length = True

    def __init__(self, base: float, width: int, scaling: axes.DynamicScaling) -> None:
        super().__init__(base, width)
        self.factor, self.trained = scaling.factor, scaling.trained

    def __call__(self, lengths: Tensor | None, device: torch.device) -> Tensor:
        """As in the interface."""
        assert lengths is not None
        longest = lengths.clamp(min=self.trained)[:, None, None]
        grown = self.factor * longest / self.trained - (self.factor - 1)
        steps = self.steps(device)
        base = (self.base * grown ** (self.width / (self.width - 2))).type_as(steps)
        return 1.0 / base**steps

    def outgrown(self, before: Tensor, after: Tensor) -> Tensor:
        """Every further token past the length of training changes the base."""
        return (before > 0) & (after > self.trained)


class Yarn(Frequencies):
    """`scaling.kind: yarn`."""

    def __init__(self, base: float, width: int, scaling: axes.YarnScaling) -> None:
        super().__init__(base, width)
        self.scaling = scaling
        self.magnitude = scaling.attention or self._magnitude()

    def _magnitude(self) -> float:
        one, other = self.scaling.magnitude, self.scaling.magnitude_all
        if one is None or other is None:
            return self._grown(1.0)
        return self._grown(one) / self._grown(other)

    def _grown(self, weight: float) -> float:
        if self.scaling.factor <= 1.0:
            return 1.0
        return 0.1 * weight * math.log(self.scaling.factor) + 1.0

    def _turning(self, turns: float) -> float:
        """Which feature turns so often within the length of training."""
        length = self.scaling.trained / (turns * 2 * math.pi)
        return self.width * math.log(length) / (2 * math.log(self.base))

    def __call__(self, lengths: Tensor | None, device: torch.device) -> Tensor:
        """As in the interface."""
        low, high = self._turning(self.scaling.fast), self._turning(self.scaling.slow)
        if self.scaling.rounded:
            low, high = math.floor(low), math.ceil(high)
        low, high = max(low, 0), min(high, self.width - 1)
        if low == high:
            high += 0.001
        numbers = torch.arange(self.width // 2, dtype=torch.float32, device=device)
        kept = 1 - ((numbers - low) / (high - low)).clamp(0, 1)
        wavelengths = self.base ** self.steps(device)
        stretched = 1.0 / (self.scaling.factor * wavelengths)
        return stretched * (1 - kept) + 1.0 / wavelengths * kept


class Llama3(Frequencies):
    """`scaling.kind: llama3`."""

    def __init__(self, base: float, width: int, scaling: axes.Llama3Scaling) -> None:
        super().__init__(base, width)
        self.scaling = scaling

    def __call__(self, lengths: Tensor | None, device: torch.device) -> Tensor:
        """As in the interface."""
        scaling, plain = self.scaling, super().__call__(lengths, device)
        wavelengths = 2 * math.pi / plain
        passage = scaling.trained / wavelengths - scaling.low
        share = passage / (scaling.high - scaling.low)
        found = (1 - share) * plain / scaling.factor + share * plain
        found = torch.where(
            wavelengths > scaling.trained / scaling.low, plain / scaling.factor, found
        )
        return torch.where(wavelengths < scaling.trained / scaling.high, plain, found)


class LongRope(Frequencies):
    """`scaling.kind: longrope`."""

    by_length = True

    def __init__(self, base: float, width: int, scaling: axes.LongRopeScaling) -> None:
        super().__init__(base, width)
        self.scaling = scaling
        self.magnitude = scaling.attention or self._magnitude()

    def _magnitude(self) -> float:
        scaling = self.scaling
        if scaling.reach <= scaling.trained:
            return 1.0
        growth = math.log(scaling.reach / scaling.trained)
        return math.sqrt(1 + growth / math.log(scaling.trained))

    def __call__(self, lengths: Tensor | None, device: torch.device) -> Tensor:
        """As in the interface."""
        assert lengths is not None
        short, long = (
            torch.tensor(factors, dtype=torch.float32, device=device)
            for factors in (self.scaling.short, self.scaling.long)
        )
        factors = torch.where((lengths > self.scaling.trained)[:, None, None], long, short)
        return 1.0 / (factors * self.base ** self.steps(device))

    def outgrown(self, before: Tensor, after: Tensor) -> Tensor:
        """Where a text passes the length of training."""
        trained = self.scaling.trained
        return (before > 0) & (before <= trained) & (after > trained)


def build_frequencies(axis: axes.RotaryPosition, width: int) -> Frequencies:
    """The frequencies of rotary positions that turn `width` features."""
    scaling = axis.scaling
    if isinstance(scaling, axes.LinearScaling):
        return Linear(axis.base, width, scaling)
    if isinstance(scaling, axes.DynamicScaling):
        return Dynamic(axis.base, width, scaling)
    if isinstance(scaling, axes.YarnScaling):
        return Yarn(axis.base, width, scaling)
    if isinstance(scaling, axes.Llama3Scaling):
        return Llama3(axis.base, width, scaling)
    if isinstance(scaling, axes.LongRopeScaling):
        return LongRope(axis.base, width, scaling)
    return Frequencies(axis.base, width)

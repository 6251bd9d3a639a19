"""How rotary positions reach past the length of a network's training: one section for each kind."""

from typing import Annotated, Literal

from pydantic import Field

from engine.spec.axes.base import Axis, Size

Factor = Annotated[float, Field(ge=1e-6, le=1e6)]


class LinearScaling(Axis):
    """Every wavelength is longer by a factor (Chen et al. 2023)."""

    kind: Literal["linear"]
    """Kind of scaling."""
    factor: Factor
    """How much longer wavelengths are."""


class DynamicScaling(Axis):
    """The base grows with a text that is longer than those of training (NTK-aware scaling), by each
    text's own length. A memory of keys then holds for no longer text, and decoding runs the whole
    text at each step past `trained`.
    """

    kind: Literal["dynamic"]
    """Kind of scaling."""
    factor: Factor
    """How fast the base grows."""
    trained: Size
    """Tokens of the longest text of training."""


class YarnScaling(Axis):
    """Long wavelengths are longer by a factor, short ones stay (Peng et al. 2023)."""

    kind: Literal["yarn"]
    """Kind of scaling."""
    factor: Factor
    """How much longer the longest wavelengths are."""
    trained: Size
    """Tokens of the longest text of training."""
    fast: Factor = 32.0
    """Wavelengths that turn at least so often within `trained` stay."""
    slow: Factor = 1.0
    """Those that turn at most so often are longer by the whole factor."""
    rounded: bool = True
    """Whether the features between the two are counted in whole numbers."""
    attention: Factor | None = None
    """Multiplies queries and keys where they are turned; null: as `magnitude` says."""
    magnitude: Factor | None = None
    """Weight of the logarithm of the factor in `attention`; null: 1 (DeepSeek's mscale)."""
    magnitude_all: Factor | None = None
    """The same of what `attention` is divided by; null: nothing (DeepSeek's mscale_all_dim)."""


class Llama3Scaling(Axis):
    """Long wavelengths are longer by a factor, short ones stay, with a smooth passage (Llama 3.1)."""

    kind: Literal["llama3"]
    """Kind of scaling."""
    factor: Factor
    """How much longer the longest wavelengths are."""
    trained: Size
    """Tokens of the longest text of training."""
    low: Factor = 1.0
    """Wavelengths that turn less often within `trained` are longer by the whole factor."""
    high: Factor = 4.0
    """Wavelengths that turn more often within it stay."""


class LongRopeScaling(Axis):
    """A factor for each wavelength, others for texts longer than those of training (Ding et al.
    2024), by each text's own length. A memory of keys holds on its side of `trained`: where decoding
    passes it, the whole text is run once more.
    """

    kind: Literal["longrope"]
    """Kind of scaling."""
    short: Annotated[tuple[Factor, ...], Field(min_length=1)]
    """How much longer each wavelength is in texts up to `trained`."""
    long: Annotated[tuple[Factor, ...], Field(min_length=1)]
    """The same in longer texts."""
    trained: Annotated[int, Field(gt=1, le=2**31 - 1)]
    """Tokens of the longest text of training."""
    reach: Size
    """Tokens of the longest text that the network is for."""
    attention: Factor | None = None
    """Multiplies queries and keys where they are turned; null: as `reach` and `trained` say."""


Scaling = Annotated[
    LinearScaling | DynamicScaling | YarnScaling | Llama3Scaling | LongRopeScaling,
    Field(discriminator="kind"),
]

"""How the order of tokens enters the network: one section for each kind of position."""

from typing import Annotated, Literal

from pydantic import Field

from engine.spec.axes.base import Axis, Index, Size
from engine.spec.axes.scaling import Scaling

PositionCount = Literal["all", "real", "ids", "columns"]


class PositionAxis(Axis):
    """What every kind of position says."""

    def limit(self, padding: int) -> int | None:
        """How many positions there are, or None where there is no last one; `padding` is the
        padding id.
        """
        return None


class NoPosition(PositionAxis):
    """No position signal."""

    kind: Literal["none"]
    """Kind of position."""


class LearnedPosition(PositionAxis):
    """A learned row a position."""

    kind: Literal["learned"]
    """Kind of position."""
    size: Size
    """Rows of the table."""
    start: Index | Literal["after_padding"] = 0
    """Row of the first position. `after_padding`: the row behind that of the padding id, which then
    belongs to padding and stays fixed (RoBERTa)."""
    count: PositionCount = "all"
    """Where counting starts and what it steps over: `all` counts from the first real token;
    `columns` from the left edge; `real` as `all`, without padding ids; `ids` every id but that of
    padding, whatever the mask says (RoBERTa)."""
    ids: Literal["counted", "rows"] = "counted"
    """What given position_ids are: positions `counted` from 0, or `rows` of the table (RoBERTa)."""

    def limit(self, padding: int) -> int:
        """The rows from the first position on."""
        if self.start == "after_padding":
            return self.size - (padding + 1)
        return self.size - self.start


class SinusoidPosition(PositionAxis):
    """Sines and cosines of the position (Vaswani et al. 2017, 3.5)."""

    kind: Literal["sinusoid"]
    """Kind of position."""
    basis: Literal["interleaved", "half_split", "tensor2tensor"]
    """Which of the three published layouts sines and cosines have."""
    start: Index = 0
    """Number of the first position."""
    count: PositionCount = "all"
    """Where counting starts and what it steps over, as for learned positions."""
    size: Size | None = None
    """Rows of a stored table; null: length has no limit."""
    stored: bool = False
    """Whether they are a frozen table of `size` rows among the parameters, as in checkpoints of
    XLM."""
    padding_row: Literal["sinusoid", "zero"] = "sinusoid"
    """`zero`: the row whose number is the padding id holds zeros, and the position that reads it
    adds nothing (XGLM)."""

    def limit(self, padding: int) -> int | None:
        """The rows from the first position on, where they are counted."""
        return None if self.size is None else self.size - self.start


class RelativePosition(PositionAxis):
    """Sinusoid distances, projected in every layer (Dai et al. 2019, 3.3)."""

    kind: Literal["relative"]
    """Kind of position."""
    clamp: Size | None = None
    """The largest distance: greater ones count as this one; null: no limit."""
    reversed_half: bool = False
    """Whether the second half of the batch has mirrored distances (XLNet's bi_data)."""


class RelativeKeyPosition(PositionAxis):
    """A learned vector a distance, scored against queries, or queries and keys (Shaw 2018; Huang
    2020).
    """

    kind: Literal["relative_key", "relative_key_query"]
    """Kind of position."""
    size: Size
    """Distances in each direction that have a vector, 0 included."""

    def limit(self, padding: int) -> int:
        """The distances."""
        return self.size


class LearnedRelativePosition(PositionAxis):
    """A learned vector and bias a head and distance; distances past the table share its farthest
    row (type 1 of the authors' Transformer-XL code).
    """

    kind: Literal["learned_relative"]
    """Kind of position."""
    size: Size
    """Rows of the table."""
    clamp: Size | None = None
    """Uses only this many of the nearest rows; null: all."""


class DistanceBiasPosition(PositionAxis):
    """A number a head and distance, added to the scores."""

    kind: Literal["distance_bias"]
    """Kind of position."""
    numbers: Literal["buckets", "slopes"]
    """`buckets` learns a number a head for each bucket of distances (Raffel et al. 2020, 2.1);
    `slopes` lowers scores by the distance times a slope of the head (Press et al. 2022)."""
    count: Annotated[int, Field(ge=2, le=2**31 - 1)] = 32
    """How many buckets there are: half of them for one distance each, the others ever wider."""
    max_distance: Annotated[int, Field(ge=2, le=2**31 - 1)] = 128
    """The distance from which on all lie in the last bucket."""
    two_sided: bool = True
    """Whether distances ahead have buckets of their own, which then are half of all."""
    shared: bool = False
    """Whether all layers have the same buckets (T5)."""
    steepest: Annotated[float, Field(gt=0.0, le=1000.0)] = 8.0
    """The slope of the last head is two to the minus this; those before it lie evenly between."""


class FromEndPosition(PositionAxis):
    """Positions counted back from the newest token, added to states and remembered states alike
    (types 2 and 3 of the authors' Transformer-XL code).
    """

    kind: Literal["from_end"]
    """Kind of position."""
    table: Literal["sinusoid", "learned"]
    """`sinusoid` (type 2) is added at the first block, `learned` (type 3) at each block."""
    size: Size | None = None
    """Rows of a learned table."""
    clamp: Size | None = None
    """The largest position: greater ones count as this one; null: no limit."""


class RotaryPosition(PositionAxis):
    """Queries and keys turned by their position (Su et al. 2021)."""

    kind: Literal["rotary"]
    """Kind of position."""
    base: Annotated[float, Field(gt=0.0, le=1e12)] = 10000.0
    """Base of the wavelengths."""
    fraction: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    """Part of each head that is turned."""
    width: Size | None = None
    """The same as a number of features; null: as `fraction` says."""
    interleaved: bool = False
    """Whether neighbouring features form a pair, instead of one of each half."""
    scaling: Scaling | None = None
    """How wavelengths grow for texts longer than those of training; null: they stay."""


# Positions that add a term to the scores of each pair.
DISTANCE_KINDS = (
    "relative",
    "relative_key",
    "relative_key_query",
    "learned_relative",
    "distance_bias",
)

Position = Annotated[
    NoPosition
    | LearnedPosition
    | SinusoidPosition
    | RelativePosition
    | RelativeKeyPosition
    | LearnedRelativePosition
    | DistanceBiasPosition
    | FromEndPosition
    | RotaryPosition,
    Field(discriminator="kind"),
]

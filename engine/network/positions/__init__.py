"""How order enters the network: one module a kind, behind one interface (`Position`)."""

from engine.network.positions.counting import PositionInputs
from engine.network.positions.distance_bias import DistanceBiasPosition
from engine.network.positions.from_end import FromEndPosition
from engine.network.positions.learned_relative import LearnedRelativePosition
from engine.network.positions.position import CallPositions, Position
from engine.network.positions.relative import RelativePosition
from engine.network.positions.relative_key import RelativeKeyPosition
from engine.network.positions.rotary import RotaryPosition
from engine.network.positions.scores import DistanceTable, ScoreInputs, ScoreTerms
from engine.network.positions.table import LearnedPosition, SinusoidPosition
from engine.spec import Spec

__all__ = [
    "CallPositions",
    "DistanceTable",
    "Position",
    "PositionInputs",
    "ScoreInputs",
    "ScoreTerms",
    "build_position",
]

KINDS: dict[str, type[Position]] = {
    "none": Position,
    "learned": LearnedPosition,
    "sinusoid": SinusoidPosition,
    "relative": RelativePosition,
    "relative_key": RelativeKeyPosition,
    "relative_key_query": RelativeKeyPosition,
    "learned_relative": LearnedRelativePosition,
    "distance_bias": DistanceBiasPosition,
    "from_end": FromEndPosition,
    "rotary": RotaryPosition,
}


def build_position(spec: Spec) -> Position:
    """The kind of position of a spec."""
    return KINDS[spec.position.kind](spec)

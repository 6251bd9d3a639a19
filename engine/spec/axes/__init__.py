"""The axes of a network, one closed pydantic model each, in the order in which data flows through
them.
"""

from engine.spec.axes.attention import (
    Attention,
    AttentionBias,
    HeadNorm,
    MaskRule,
    ScoreTerm,
    Streams,
)
from engine.spec.axes.base import Activation, Axis, Depth, Index, Probability, Size, Spread
from engine.spec.axes.blocks import (
    BlockAxis,
    Dims,
    Dropout,
    FeedForward,
    Init,
    Norm,
    NormEps,
    NormPlace,
    Pooler,
)
from engine.spec.axes.checkpoint import (
    Checkpoint,
    ConfigField,
    Foreign,
    Layout,
    OriginalLayout,
)
from engine.spec.axes.embeddings import (
    Embeddings,
    LanguageTable,
    SegmentTable,
    Tables,
    TokenTable,
)
from engine.spec.axes.encoder import Encoder
from engine.spec.axes.layers import Layers
from engine.spec.axes.memory import KeysValues, Memory, NoMemory, Recurrent
from engine.spec.axes.output import Heads, OutputLayer, Tokens
from engine.spec.axes.positions import (
    DISTANCE_KINDS,
    DistanceBiasPosition,
    FromEndPosition,
    LearnedPosition,
    LearnedRelativePosition,
    NoPosition,
    Position,
    PositionCount,
    RelativeKeyPosition,
    RelativePosition,
    RotaryPosition,
    SinusoidPosition,
)
from engine.spec.axes.scaling import (
    DynamicScaling,
    LinearScaling,
    Llama3Scaling,
    LongRopeScaling,
    YarnScaling,
)

__all__ = [
    "DISTANCE_KINDS",
    "Activation",
    "Attention",
    "AttentionBias",
    "Axis",
    "BlockAxis",
    "Checkpoint",
    "ConfigField",
    "Depth",
    "Dims",
    "DistanceBiasPosition",
    "Dropout",
    "DynamicScaling",
    "Embeddings",
    "Encoder",
    "FeedForward",
    "Foreign",
    "FromEndPosition",
    "HeadNorm",
    "Heads",
    "Index",
    "Init",
    "KeysValues",
    "LanguageTable",
    "Layers",
    "Layout",
    "LearnedPosition",
    "LearnedRelativePosition",
    "LinearScaling",
    "Llama3Scaling",
    "LongRopeScaling",
    "MaskRule",
    "Memory",
    "NoMemory",
    "NoPosition",
    "Norm",
    "NormEps",
    "NormPlace",
    "OriginalLayout",
    "OutputLayer",
    "Pooler",
    "Position",
    "PositionCount",
    "Probability",
    "Recurrent",
    "RelativeKeyPosition",
    "RelativePosition",
    "RotaryPosition",
    "ScoreTerm",
    "SegmentTable",
    "SinusoidPosition",
    "Size",
    "Spread",
    "Streams",
    "Tables",
    "TokenTable",
    "Tokens",
    "YarnScaling",
]

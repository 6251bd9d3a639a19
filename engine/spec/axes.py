"""The axes of a network, one closed pydantic model each, in the order in which data flows through
them.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    WrapValidator,
    field_validator,
)

from tokenization.section import Section

# Bounds that no network reaches, so that a slip of the pen is told before anything is allocated.
Size = Annotated[int, Field(gt=0, le=2**31 - 1)]
Index = Annotated[int, Field(ge=0, le=2**31 - 1)]
Depth = Annotated[int, Field(gt=0, le=10_000)]
Spread = Annotated[float, Field(ge=0.0, le=1e3)]
Probability = Annotated[float, Field(ge=0.0, lt=1.0)]
Activation = Literal["gelu", "gelu_tanh", "relu", "silu", "tanh"]
MaskRule = Literal["padding", "causal", "same_length", "window", "permutation"]
ScoreTerm = Literal["content", "position", "segment"]
PositionCount = Literal["all", "real", "ids", "columns"]


def _or_null(value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
    return None if value is None else validate(value)


# A size that a spec may leave open: null until the whole spec is read, which fills it in.
_SIZE_OR_NULL = [{"type": "integer", "exclusiveMinimum": 0, "maximum": 2**31 - 1}, {"type": "null"}]
Filled = Annotated[
    Size, WrapValidator(_or_null), WithJsonSchema({"anyOf": _SIZE_OR_NULL, "default": None})
]


class Axis(Section):
    """An axis of a spec."""


class Dims(Axis):
    """Sizes; `head` defaults to model / heads, `kv_heads` to heads, `inner` to four times model."""

    layers: Depth
    model: Size
    heads: Size
    head: Filled = None  # type: ignore[assignment]
    kv_heads: Filled = None  # type: ignore[assignment]
    inner: Filled = None  # type: ignore[assignment]
    vocab: Size


class TokenTable(Axis):
    """The token table: plain, narrower than the model (projected up), or adaptive (Baevski and Auli
    2019).
    """

    padding: Index | None = None
    width: Size | None = None
    cutoffs: tuple[Size, ...] = ()
    divisor: Size = 1
    projection_bias: bool = False


class SegmentTable(Axis):
    """Token types: a table of their own, or rows of the token table (XLM, GPT-2)."""

    source: Literal["table", "tokens"] = "table"
    count: Size | None = None


class LanguageTable(Axis):
    """Languages; `embed: false` keeps their number without a table (xlm-mlm-100-1280)."""

    count: Size = 1
    embed: bool = True


class Tables(Axis):
    """The tables that are summed at the bottom of the network."""

    tokens: TokenTable = TokenTable()
    segments: SegmentTable | None = None
    languages: LanguageTable | None = None


class Embeddings(Axis):
    """The bottom of the network; `scale: sqrt_model` multiplies token vectors by the root of the
    model width.

    `width` keeps all tables and the norm that narrow; their sum is then projected to the model
    width (Lan et al. 2020).
    """

    tables: Tables = Tables()
    width: Size | None = None
    scale: Literal["none", "sqrt_model"] = "none"
    norm: bool = False


class NoPosition(Axis):
    """No position signal."""

    kind: Literal["none"]


class LearnedPosition(Axis):
    """A learned row a position.

    `start: after_padding` puts the first position behind the row of the padding id, which then
    belongs to padding and stays fixed; `ids: rows` reads given position_ids as rows of the table
    instead of positions from 0 (both RoBERTa).
    """

    kind: Literal["learned"]
    size: Size
    start: Index | Literal["after_padding"] = 0
    count: PositionCount = "all"
    ids: Literal["counted", "rows"] = "counted"


class SinusoidPosition(Axis):
    """Sines and cosines of the position (Vaswani et al. 2017, 3.5), in one of the three published
    layouts.

    `stored` keeps them as a frozen table of `size` rows, as checkpoints of XLM do; otherwise length
    has no limit. `padding_row: zero` holds zeros in the row whose number is the padding id, as
    published for XGLM: the position that reads it adds nothing.
    """

    kind: Literal["sinusoid"]
    basis: Literal["interleaved", "half_split", "tensor2tensor"]
    start: Index = 0
    count: PositionCount = "all"
    size: Size | None = None
    stored: bool = False
    padding_row: Literal["sinusoid", "zero"] = "sinusoid"


class RelativePosition(Axis):
    """Sinusoid distances, projected in every layer (Dai et al. 2019, 3.3).

    `clamp` limits the distance; `reversed_half` gives the second half of the batch mirrored
    distances (XLNet's bi_data).
    """

    kind: Literal["relative"]
    clamp: Size | None = None
    reversed_half: bool = False


class RelativeKeyPosition(Axis):
    """A learned vector a distance, scored against queries, or queries and keys (Shaw 2018; Huang
    2020).
    """

    kind: Literal["relative_key", "relative_key_query"]
    size: Size


class LearnedRelativePosition(Axis):
    """A learned vector and bias a head and distance; distances past the table share its farthest
    row.

    Type 1 of the authors' Transformer-XL code; `clamp` uses only that many of the nearest rows.
    """

    kind: Literal["learned_relative"]
    size: Size
    clamp: Size | None = None


class FromEndPosition(Axis):
    """Positions counted back from the newest token, added to states and remembered states alike.

    Types 2 (sinusoid, at the first block) and 3 (learned, at each block) of the authors'
    Transformer-XL code.
    """

    kind: Literal["from_end"]
    table: Literal["sinusoid", "learned"]
    size: Size | None = None
    clamp: Size | None = None


class RotaryPosition(Axis):
    """Queries and keys turned by their position (Su et al. 2021) over a `fraction` of each head, or
    the first `width`.
    """

    kind: Literal["rotary"]
    base: Annotated[float, Field(gt=0.0, le=1e12)] = 10000.0
    fraction: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    width: Size | None = None
    interleaved: bool = False


Position = Annotated[
    NoPosition
    | LearnedPosition
    | SinusoidPosition
    | RelativePosition
    | RelativeKeyPosition
    | LearnedRelativePosition
    | FromEndPosition
    | RotaryPosition,
    Field(discriminator="kind"),
]


class AttentionBias(Axis):
    """Which of the four projections has a bias vector."""

    query: bool
    key: bool
    value: bool
    output: bool


class Attention(Axis):
    """Score terms, biases, the mask as rules joined by AND, and cross-attention.

    The rule `window` shows each token `window` tokens up to itself, and without the rule causal as
    many from itself on. `query_bias` adds a learned vector to the query in each score term, one a
    layer or one for all layers. `same_length` says how far back that rule looks: `memory` (the
    spec's memory length) or `remembered` (as many tokens as memory holds at that moment, XLNet).
    `infer_padding: count` takes the number of padding ids in a row as right padding where no mask
    is given (XLM).
    """

    score: tuple[ScoreTerm, ...] = ("content",)
    query_bias: Literal["none", "per_layer", "shared"] = "none"
    bias: bool | AttentionBias = True
    scale: bool = True
    mask: tuple[MaskRule, ...] = ()
    same_length: Literal["memory", "remembered"] = "memory"
    window: Size | None = None
    infer_padding: Literal["none", "count"] = "none"
    cross: bool = False
    cross_head_mask: Literal["own", "shared"] = "own"


class Streams(Axis):
    """One stream, or content and query streams (Yang et al. 2019, 2.3)."""

    kind: Literal["one", "two"] = "one"


class NoMemory(Axis):
    """Nothing is left behind."""

    kind: Literal["none"]


class KeysValues(Axis):
    """Keys and values of earlier tokens; `train` and `eval` say whether they are returned unasked."""

    kind: Literal["keys_values"]
    train: bool = False
    eval: bool = True


class Recurrent(Axis):
    """Inputs of every block for earlier tokens (Dai et al. 2019, 3.2).

    `length` tokens are kept (null: all), `reuse` of the newest segment enter (null: all); `initial:
    zeros` starts with a memory full of zero states that is attended to. `padding: attended` lets
    later segments see remembered padding.
    """

    kind: Literal["recurrent"]
    length: Index | None = None
    reuse: Size | None = None
    initial: Literal["empty", "zeros"] = "empty"
    padding: Literal["attended", "hidden"] = "hidden"
    train: bool = True
    eval: bool = True


Memory = Annotated[NoMemory | KeysValues | Recurrent, Field(discriminator="kind")]


class Norm(Axis):
    """Kind and place of the block norms; `query: false` leaves queries as they are under `pre`
    (Transformer-XL 2, 3).
    """

    kind: Literal["layer", "rms"] = "layer"
    eps: Annotated[float, Field(gt=0.0, le=1.0)] = 1e-5
    placement: Literal["pre", "post"] = "post"
    bias: bool = True
    query: bool = True


class FeedForward(Axis):
    """Two linear maps around an activation; `gated` multiplies with a second projection (Shazeer
    2020).
    """

    activation: Activation = "gelu"
    gated: bool = False
    bias: bool = True


class BlockAxis(Axis):
    """Residual order; `parallel` feeds both halves from the same input, with one norm or one norm
    each.

    `layer_drop` skips whole blocks in training (Fan et al. 2020); `zero_padding` zeroes padded
    states after each block.
    """

    order: Literal["sequential", "parallel"] = "sequential"
    shared_norm: bool = False
    layer_drop: Probability = 0.0
    zero_padding: bool = False


class Pooler(Axis):
    """Dense layer and activation on the first token, as `pooler_output` of a bare backbone."""

    activation: Activation = "tanh"


class Dropout(Axis):
    """One probability a place.

    Summed embeddings, relative distances, attention weights, what joins the residual path
    (`feed_forward`: after the feed-forward half, like `residual` where null), between the
    feed-forward maps (`inner`), and the last states.
    """

    embeddings: Probability = 0.0
    positions: Probability = 0.0
    attention: Probability = 0.0
    residual: Probability = 0.0
    feed_forward: Probability | None = None
    inner: Probability = 0.0
    output: Probability = 0.0


class Init(Axis):
    """Distribution of fresh weights; `embeddings` and `projections` override it for tables and
    adaptive projections.

    `norm` is the standard deviation around one of norm weights (Transformer-XL).
    """

    kind: Literal["normal", "uniform"] = "normal"
    std: Spread = 0.02
    embeddings: Spread | None = None
    projections: Spread | None = None
    norm: Spread = 0.0


class OutputLayer(Axis):
    """The map from states to the vocabulary.

    `transform` puts dense, activation and norm before it; `adaptive` is the clustered softmax of
    Grave et al. (2017) over the token table's cutoffs; `tied_projections` shares its projections,
    cluster by cluster, with the embeddings. `samples` trains a linear layer against about twice
    that many drawn tokens instead of the whole vocabulary, once documented and never built by
    transformers; `scaled` multiplies its token vectors by the root of the model width, as the
    authors' Transformer-XL does there.
    """

    kind: Literal["linear", "transform", "adaptive"] = "linear"
    tied: bool = True
    bias: bool = False
    activation: Activation = "gelu"
    cutoffs: tuple[Size, ...] | None = None
    divisor: Size | None = None
    tied_projections: tuple[bool, ...] | bool = False
    samples: Size | None = None
    scaled: bool = False


class Heads(Axis):
    """The head that `build_model` takes by default, the output layer of language-model heads, and
    options by head name.
    """

    default: str | None = None
    output: OutputLayer = OutputLayer()
    options: dict[str, dict[str, Any]] = {}


class Tokens(Axis):
    """Ids that have a meaning to the network's users: null where the vocabulary has none; `eos` may
    be several.
    """

    padding: Index | None = None
    bos: Index | None = None
    eos: Index | Annotated[tuple[Index, ...], Field(min_length=1)] | None = None
    unknown: Index | None = None
    mask: Index | None = None
    classification: Index | None = None


# Of a field within the spec; none is nested so deep.
DottedPath = Annotated[str, Field(max_length=200)]


class ConfigField(Axis):
    """Where a field of a foreign config.json lives in the spec, and which of its values stand for
    which of ours.

    A value may be a whole section, which is merged at the path; values that are not listed pass
    unchanged. `only` refuses them instead, as does a field that chooses a section. Several paths
    take the same value. A number of theirs plus `offset` is ours. `also` are other names of the
    field, which are read where it is absent and compared where it is not. `under` names what the
    spec must hold for the field to be read, where published code ignores it otherwise.
    """

    path: DottedPath | tuple[DottedPath, ...]
    values: dict[Any, Any] = {}
    only: bool = False
    offset: int = 0
    under: str | None = None
    also: tuple[str, ...] = ()


class Layout(Axis):
    """The same tensors and settings under the names that another library gives them.

    `generation` are the fields of generation_config.json; `defaults` what the class takes for
    fields that a config.json leaves out, where it differs from this spec; `constants` the class's
    values of fields that no network depends on. `buffers` are constants among the tensors, which
    nobody misses; `unused` are learned tensors for which this network has no use, which a load
    reports. `home` holds the settings for which the layout was written: what no field says has to
    be as it is there. Null for a field, name, alias, class or constant takes back what a parent
    spec says of it.
    """

    model_type: str
    prefix: str | None = None
    architectures: dict[str, str | tuple[str, ...]] = {}
    config: dict[str, DottedPath | ConfigField] = {}
    generation: dict[str, str] = {
        "pad_token_id": "tokens.padding",
        "bos_token_id": "tokens.bos",
        "eos_token_id": "tokens.eos",
    }
    defaults: dict[str, Any] = {}
    constants: dict[str, Any] = {}
    ignored: tuple[str, ...] = ()
    names: dict[str, str | tuple[str, str]] = {}
    aliases: dict[str, str] = {}
    buffers: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    home: dict[str, Any] | None = None

    @field_validator(
        "architectures", "config", "constants", "names", "aliases", "generation", mode="before"
    )
    @classmethod
    def _take_back(cls, entries: Any) -> Any:
        if not isinstance(entries, Mapping):
            return entries
        return {key: value for key, value in entries.items() if value is not None}


class Foreign(Axis):
    """What files of another library said beside the network, kept to be written again."""

    config: dict[str, Any] = {}
    generation: dict[str, Any] = {}


class OriginalLayout(Layout):
    """The authors' own file: one pickle with tensors and settings at dotted places, of which the
    first that is there counts.

    A setting `rows of NAME` is the length of a tensor. `zeros` are parameters of ours that the file
    lacks because they would be zero.
    """

    tensors: tuple[str, ...]
    settings: tuple[str, ...]
    zeros: tuple[str, ...] = ()


class Checkpoint(Axis):
    """Published layouts of the same network, those of the authors' code, and what came with one."""

    huggingface: Layout | None = None
    original: OriginalLayout | None = None
    foreign: Foreign | None = None

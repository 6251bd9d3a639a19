"""Sizes, norms, feed-forward layers and the order of a block, dropout, and fresh weights."""

from typing import Annotated, Any, Literal, get_args

from pydantic import Field, field_validator

from engine.spec.axes.base import Activation, Axis, Depth, Factor, Filled, Probability, Size, Spread


class Dims(Axis):
    """Sizes."""

    layers: Depth
    """Number of blocks."""
    model: Size
    """Width of the states between blocks."""
    heads: Size
    """Heads of queries."""
    head: Filled = None  # type: ignore[assignment]
    """Width of a head; null: model / heads."""
    kv_heads: Filled = None  # type: ignore[assignment]
    """Heads of keys and values, each shared by as many heads of queries; null: heads."""
    inner: Filled = None  # type: ignore[assignment]
    """Width between the feed-forward maps; null: four times model."""
    vocab: Size
    """Tokens of the vocabulary."""


NormPlace = Literal["blocks", "embeddings", "final", "output", "heads"]
NormSlot = Literal["before", "output", "after"]
Epsilon = Annotated[float, Field(gt=0.0, le=1.0)]


class NormEps(Axis):
    """What is added to the variance, place by place; null: as in the blocks."""

    blocks: Epsilon = 1e-5
    """In the norms of the blocks."""
    embeddings: Epsilon | None = None
    """In that of the embeddings."""
    final: Epsilon | None = None
    """In that of the last states."""
    output: Epsilon | None = None
    """In those of an output layer and of other heads."""
    heads: Epsilon | None = None
    """In those of queries and keys."""


class Norm(Axis):
    """Kind and place of the block norms."""

    kind: Literal["layer", "rms"] = "layer"
    """Layer norm, or root mean square norm."""
    eps: Epsilon | NormEps = 1e-5
    """Added to the variance, everywhere the same or place by place."""
    placement: Literal["pre", "post"] | tuple[NormSlot, ...] = "post"
    """`pre`: before each half of a block; `post`: after its sum with the residual. Or the places
    one by one: `before`, `after`, and `output`, which is what the half gives, before the sum (OLMo
    2: `[output]`; Gemma 2: `[before, output]`)."""
    weight: bool = True
    """Whether norms have a weight vector."""
    offset: Annotated[float, Field(ge=-10.0, le=10.0)] = 0.0
    """Added to the weight, also in norms of queries and keys (Gemma: 1)."""
    bias: bool = True
    """Whether norms have a bias vector."""
    query: bool = True
    """False leaves queries as they are under `pre` (Transformer-XL 2, 3)."""
    attention: bool = True
    """Whether the attention half of a block has its norms (ModernBERT's first layer has none)."""

    @field_validator("placement")
    @classmethod
    def _shortest(cls, placement: Any) -> Any:
        if isinstance(placement, str):
            return placement
        short: dict[Any, str] = {("before",): "pre", ("after",): "post"}
        return short.get(placement, tuple(sorted(placement, key=get_args(NormSlot).index)))

    @property
    def slots(self) -> frozenset[str]:
        """Where norms stand: before, output, after."""
        short = {"pre": "before", "post": "after"}
        if isinstance(self.placement, str):
            return frozenset([short[self.placement]])
        return frozenset(self.placement)

    def eps_at(self, place: NormPlace) -> float:
        """What is added to the variance at a place."""
        if not isinstance(self.eps, NormEps):
            return self.eps
        found: float | None = getattr(self.eps, place)
        return self.eps.blocks if found is None else found


class FeedForward(Axis):
    """Two linear maps around an activation."""

    activation: Activation = "gelu"
    """The function between the maps."""
    gated: bool = False
    """Whether the activation is multiplied with a second projection (Shazeer 2020)."""
    bias: bool = True
    """Whether the maps have bias vectors."""


class BlockAxis(Axis):
    """Residual order."""

    order: Literal["sequential", "parallel"] = "sequential"
    """`parallel` feeds attention and feed-forward from the same input."""
    shared_norm: bool = False
    """Under `parallel`, whether both halves share one norm."""
    layer_drop: Probability = 0.0
    """Probability with which training skips a whole block (Fan et al. 2020)."""
    residual_scale: Factor = 1.0
    """What is multiplied with all that joins the residual path."""
    zero_padding: bool = False
    """Whether padded states are set to zero after each block."""


class Pooler(Axis):
    """Dense layer and activation on the first token, as `pooler_output` of a bare backbone."""

    activation: Activation = "tanh"
    """The function after the dense layer."""


class Dropout(Axis):
    """One probability a place."""

    embeddings: Probability = 0.0
    """On the summed embeddings."""
    positions: Probability = 0.0
    """On relative distances."""
    attention: Probability = 0.0
    """On attention weights."""
    residual: Probability = 0.0
    """On what joins the residual path."""
    feed_forward: Probability | None = None
    """On what joins it after the feed-forward half; null: like `residual`."""
    inner: Probability = 0.0
    """Between the feed-forward maps."""
    output: Probability = 0.0
    """On the last states."""


class Init(Axis):
    """Distribution of fresh weights."""

    kind: Literal["normal", "uniform"] = "normal"
    """Form of the distribution."""
    std: Spread = 0.02
    """Standard deviation, or for `uniform` the bound on either side of 0."""
    embeddings: Spread | None = None
    """The same for tables; null: `std`."""
    projections: Spread | None = None
    """Standard deviation for adaptive projections; null: `std`."""
    norm: Spread = 0.0
    """Standard deviation of norm weights around one (Transformer-XL)."""

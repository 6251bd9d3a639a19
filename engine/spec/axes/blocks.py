"""Sizes, norms, feed-forward layers and the order of a block, dropout, and fresh weights."""

from typing import Annotated, Literal

from pydantic import Field

from engine.spec.axes.base import Activation, Axis, Depth, Filled, Probability, Size, Spread


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


class Norm(Axis):
    """Kind and place of the block norms."""

    kind: Literal["layer", "rms"] = "layer"
    """Layer norm, or root mean square norm."""
    eps: Annotated[float, Field(gt=0.0, le=1.0)] = 1e-5
    """Added to the variance."""
    placement: Literal["pre", "post"] = "post"
    """Before each half of a block, or after its sum with the residual."""
    bias: bool = True
    """Whether norms have a bias vector."""
    query: bool = True
    """False leaves queries as they are under `pre` (Transformer-XL 2, 3)."""


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

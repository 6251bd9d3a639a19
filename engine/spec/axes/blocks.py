"""Sizes, norms, feed-forward layers and the order of a block, dropout, and fresh weights."""

from typing import Annotated, Any, Literal, get_args

from pydantic import Field, field_validator

from engine.spec.axes.base import Activation, Axis, Depth, Factor, Filled, Probability, Size, Spread


def following_sizes(model: int, heads: int) -> dict[str, int]:
    """Sizes that follow from others where a spec leaves them null."""
    return {"head": model // heads, "kv_heads": heads, "inner": 4 * model}


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


class ExpertGroups(Axis):
    """Groups of experts, of which each token goes to some (DeepSeek-V2, arXiv:2405.04434)."""

    count: Size
    """Groups, of as many experts each."""
    active: Size
    """Groups to whose experts a token may go."""
    score: Literal["best", "best_two"] = "best"
    """What a group is chosen by: the score of its best expert, or the sum of its best two
    (DeepSeek-V3)."""


class SharedExperts(Axis):
    """Experts to which every token goes, as one feed-forward layer beside the others."""

    count: Size = 1
    """How many."""
    inner: Size | None = None
    """Width between the maps of each; null: as in the others."""
    gate: bool = False
    """Whether what they give is multiplied by a sigmoid of the states (Qwen2-MoE)."""


class LoadBalance(Axis):
    """A loss in training that falls as tokens spread over experts (Fedus et al. 2022,
    arXiv:2101.03961): added to that of the labels."""

    coefficient: Factor = 0.001
    """What it is multiplied by."""


class Experts(Axis):
    """Feed-forward layers of which a router sends each token to some (Shazeer et al. 2017,
    arXiv:1701.06538)."""

    count: Size
    """Experts of a layer."""
    active: Size
    """Experts to which a token goes."""
    inner: Size | None = None
    """Width between the maps of an expert; null: dims.inner."""
    score: Literal["softmax", "sigmoid"] = "softmax"
    """What makes scores of the router's logits."""
    normalize: bool = True
    """Whether the weights of a token's experts, which are their scores, are divided by their
    sum."""
    scale: Factor = 1.0
    """What the weights are multiplied by after that."""
    router_bias: bool = False
    """Whether the router has a bias vector."""
    correction_bias: bool = False
    """Whether a vector, which takes no gradient, is added to scores where experts are chosen, and
    not in their weights (DeepSeek-V3, arXiv:2412.19437)."""
    groups: ExpertGroups | None = None
    """Groups among which a token's experts are chosen first; null: all are one."""
    shared: SharedExperts | None = None
    """Experts to which every token goes; null: none."""
    load_balance: LoadBalance | None = None
    """The loss that spreads tokens over experts; null: none."""


class FeedForward(Axis):
    """Two linear maps around an activation."""

    activation: Activation = "gelu"
    """The function between the maps."""
    gated: bool = False
    """Whether the activation is multiplied with a second projection (Shazeer 2020)."""
    bias: bool = True
    """Whether the maps have bias vectors."""
    experts: Experts | None = None
    """Several such layers, of which each token goes through some; null: one."""


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

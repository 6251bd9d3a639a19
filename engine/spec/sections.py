"""The sections of a spec, before the rules that hold between them."""

from pydantic import Field

from engine.spec import axes
from tokenization.options import TokenizerOptions


class Sections(axes.Axis):
    """Every axis of one network, by name."""

    name: str
    """Name of the network."""
    dims: axes.Dims
    """Sizes."""
    embeddings: axes.Embeddings = axes.Embeddings()
    """The bottom of the network."""
    position: axes.Position = axes.NoPosition(kind="none")
    """How the order of tokens enters."""
    attention: axes.Attention = axes.Attention()
    """Which keys a query sees, and how they are scored."""
    streams: axes.Streams | None = Field(
        default=None, exclude=True, json_schema_extra={"deprecated": True}
    )
    """In older specs: `two` exactly where `attention.mask` has the rule `permutation`. Leave it
    out."""
    memory: axes.Memory = axes.NoMemory(kind="none")
    """What earlier tokens leave for later calls."""
    norm: axes.Norm = axes.Norm()
    """The norms of the blocks."""
    final_norm: bool = False
    """Whether the last states are normalised."""
    ffn: axes.FeedForward = axes.FeedForward()
    """The feed-forward half of a block."""
    block: axes.BlockAxis = axes.BlockAxis()
    """How the halves of a block are joined."""
    layers: axes.Layers | None = None
    """Blocks that differ; null: all are alike."""
    encoder: axes.Encoder | None = None
    """A network whose last states the blocks attend to; null: none."""
    pooler: axes.Pooler | None = None
    """What a bare backbone gives for the whole text; null: nothing."""
    dropout: axes.Dropout = axes.Dropout()
    """Probabilities in training."""
    init: axes.Init = axes.Init()
    """Fresh weights."""
    tokens: axes.Tokens = axes.Tokens()
    """Ids with a meaning."""
    heads: axes.Heads = axes.Heads()
    """Heads and their options."""
    tokenizer: TokenizerOptions | None = None
    """How text becomes ids; null: the network has no tokenizer."""
    checkpoint: axes.Checkpoint = axes.Checkpoint()
    """Names of the same tensors and settings elsewhere."""

    @property
    def embedding_width(self) -> int:
        """Width of the tables that are summed at the bottom."""
        return self.embeddings.width or self.dims.model

    @property
    def encoder_width(self) -> int:
        """Width of the states that cross-attention reads."""
        own = None if self.encoder is None else self.encoder.said("dims", "model")
        return self.dims.model if own is None else int(own)

    @property
    def attention_scale(self) -> float:
        """What scores are multiplied by."""
        scale = self.attention.scale
        if not isinstance(scale, bool):
            return scale
        return self.dims.head**-0.5 if scale else 1.0

    def scale_of(self, scale: str | float, width: int) -> float:
        """A multiplier as a number, where the model is so wide."""
        if isinstance(scale, str):
            return {"none": 1.0, "sqrt_model": width**0.5, "inverse_sqrt_model": width**-0.5}[scale]
        return scale

    @property
    def two_streams(self) -> bool:
        """Whether a query stream runs beside the content stream (Yang et al. 2019, 2.3)."""
        return self.has_rule("permutation")

    @property
    def score_terms(self) -> tuple[axes.ScoreTerm, ...]:
        """The terms that are summed to scores, that of the position among them."""
        terms = self.attention.score
        if self.position.kind not in axes.DISTANCE_KINDS or "position" in terms:
            return terms
        return ("content", "position", *terms[1:])

    def has_rule(self, rule: axes.MaskRule) -> bool:
        """Whether the attention mask contains this rule."""
        return rule in self.attention.rules

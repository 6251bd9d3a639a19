"""The sections of a spec, before the rules that hold between them."""

from engine.spec import axes
from tokenization.options import TokenizerOptions


class Sections(axes.Axis):
    """Every axis of one network, by name."""

    name: str
    dims: axes.Dims
    embeddings: axes.Embeddings = axes.Embeddings()
    position: axes.Position = axes.NoPosition(kind="none")
    attention: axes.Attention = axes.Attention()
    streams: axes.Streams = axes.Streams()
    memory: axes.Memory = axes.NoMemory(kind="none")
    norm: axes.Norm = axes.Norm()
    final_norm: bool = False
    ffn: axes.FeedForward = axes.FeedForward()
    block: axes.BlockAxis = axes.BlockAxis()
    pooler: axes.Pooler | None = None
    dropout: axes.Dropout = axes.Dropout()
    init: axes.Init = axes.Init()
    tokens: axes.Tokens = axes.Tokens()
    heads: axes.Heads = axes.Heads()
    tokenizer: TokenizerOptions | None = None
    checkpoint: axes.Checkpoint = axes.Checkpoint()

    @property
    def embedding_width(self) -> int:
        """Width of the tables that are summed at the bottom."""
        return self.embeddings.width or self.dims.model

    def has_rule(self, rule: axes.MaskRule) -> bool:
        """Whether the attention mask contains this rule."""
        return rule in self.attention.mask

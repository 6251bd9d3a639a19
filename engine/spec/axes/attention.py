"""Which keys a query sees, and how their scores are made."""

from typing import Literal

from engine.spec.axes.base import Axis, Factor, Size

MaskRule = Literal["padding", "causal", "same_length", "window", "permutation"]
ScoreTerm = Literal["content", "position", "segment"]


class AttentionBias(Axis):
    """Which of the four projections has a bias vector."""

    query: bool
    """The projection to queries."""
    key: bool
    """The projection to keys."""
    value: bool
    """The projection to values."""
    output: bool
    """The projection of what was attended to."""


class HeadNorm(Axis):
    """Norms of the queries and keys of self-attention, on their way to the scores."""

    kind: Literal["rms", "layer"] = "rms"
    """Root mean square norm, or layer norm."""
    over: Literal["head", "all"] = "head"
    """What is normalised together: each head (Qwen3), or all heads (OLMo 2)."""
    own: bool = False
    """Under `over: head`, whether each head has a weight of its own (Cohere)."""
    weight: bool = True
    """Whether these norms have a weight vector."""
    bias: bool = False
    """Whether they have a bias vector."""
    when: Literal["before_position", "after_position"] = "before_position"
    """Before or after rotary positions turn queries and keys."""


class Attention(Axis):
    """Score terms, biases, the mask as rules joined by AND, and cross-attention."""

    score: tuple[ScoreTerm, ...] = ("content",)
    """The terms that are summed to scores. `position` need not be named: it follows from a
    `position.kind` that has distances."""
    query_bias: Literal["none", "per_layer", "shared"] = "none"
    """A learned vector added to the query in each score term, one a layer or one for all layers."""
    bias: bool | AttentionBias = True
    """Whether the projections have bias vectors, all alike or one by one."""
    scale: bool | Factor = True
    """What scores are multiplied by: a number, or 1 over the root of the head width; false: nothing."""
    softcap: Factor | None = None
    """Scores s become c tanh(s / c) with this c, before the mask (Gemma 2); null: they stay."""
    sinks: bool = False
    """Whether each head has a learned number beside the scores in its softmax, whose weight goes to
    no token (GPT-OSS)."""
    mask: tuple[MaskRule, ...] = ()
    """The rules that a pair of query and key must all pass. `permutation` also makes a second
    stream of query states beside the content (Yang et al. 2019, 2.3). `window` need not be named:
    it follows from the field `window`."""
    same_length: Literal["memory", "remembered"] = "memory"
    """How far back the rule `same_length` looks: `memory.length`, or as many tokens as memory holds
    at that moment (XLNet)."""
    window: Size | None = None
    """Each token sees this many tokens up to itself, and without the rule `causal` as many from
    itself on; null: no limit."""
    head_norm: HeadNorm | None = None
    """Norms of queries and keys; null: none."""
    infer_padding: Literal["none", "count"] = "none"
    """`count`: where no mask is given, as many tokens on the right are padding as a row has padding
    ids (XLM)."""
    cross: bool = False
    """Whether each block also attends to states of an encoder."""
    cross_head_mask: Literal["own", "shared"] = "own"
    """Whether cross-attention has a head mask of its own, or shares that of self-attention."""

    @property
    def plain_softmax(self) -> bool:
        """Whether weights are the softmax of scores and nothing else."""
        return self.softcap is None and not self.sinks

    @property
    def rules(self) -> tuple[MaskRule, ...]:
        """Every rule of the mask, that of the window among them."""
        if self.window is None or "window" in self.mask:
            return self.mask
        return (*self.mask, "window")

    def without_repetition(self) -> "Attention":
        """The same without what other fields of a spec say already."""
        score = tuple(term for term in self.score if term != "position")
        mask = tuple(rule for rule in self.mask if rule != "window")
        return self.model_copy(update={"score": score, "mask": mask})


class Streams(Axis):
    """The streams of states as older specs say them; the mask decides."""

    kind: Literal["one", "two"] = "one"
    """`two` where the mask has the rule `permutation`."""

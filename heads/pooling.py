"""From the states of a sequence to one vector."""

from collections.abc import Iterator
from typing import Annotated, Literal

import torch
from pydantic import Field, NonNegativeInt
from torch import Tensor, nn

from engine.arguments import in_range, read_ids, readable
from engine.errors import InputError
from engine.network.head import HeadOptions
from engine.network.inputs import Inputs
from engine.network.norms import build_norm
from engine.network.outputs import Output
from engine.spec import Spec
from heads.losses import one_a_row


class PlacePooling(HeadOptions):
    """The last or first state, or the mean of all."""

    kind: Literal["last", "first", "mean"]
    """Which state."""
    padding: Literal["counted", "left_out", "from_first"] = "counted"
    """`counted` takes places as they come, padded or not (as published for XLNet and XLM); `left_out`
    takes real tokens only, whatever the padding side; `from_first` calls everything from a row's
    first padding on padding, and nothing in a row that begins with it (as published for
    Transformer-XL)."""


class IndexPooling(HeadOptions):
    """`cls_index`: the place that the call gives for each row, else the last one."""

    kind: Literal["cls_index"]
    """Kind of pooling."""


class TokenPooling(HeadOptions):
    """The first classification token, wherever it stands."""

    kind: Literal["token"]
    """Kind of pooling."""
    id: NonNegativeInt | None = None
    """The token's id; null: `tokens.classification`."""

    def problems(self, spec: Spec) -> Iterator[tuple[str, str]]:
        token = self.token(spec)
        if token is None:
            yield (
                "kind",
                "token needs its id: give pooling.id, or tokens.classification in the spec",
            )
        elif token >= spec.dims.vocab:
            yield "id", f"id {token} is outside the vocabulary of {spec.dims.vocab}"

    def token(self, spec: Spec) -> int | None:
        """The id that is looked for."""
        return spec.tokens.classification if self.id is None else self.id


class ModulePooling(HeadOptions):
    """A module makes the vector."""

    kind: Literal["pooler", "attn"]
    """`pooler`: the body's pooler (`pooler` of the spec). `attn`: a learned query that attends to
    the real tokens."""

    def problems(self, spec: Spec) -> Iterator[tuple[str, str]]:
        if self.kind == "pooler" and spec.pooler is None:
            yield "kind", "pooler needs a pooler: this spec has pooler null"


AnyPooling = Annotated[
    PlacePooling | IndexPooling | TokenPooling | ModulePooling, Field(discriminator="kind")
]


def default_pooling(spec: Spec) -> PlacePooling:
    """The real token that has seen the whole text: the last under a causal mask, else the first."""
    if spec.has_rule("causal"):
        return PlacePooling(kind="last", padding="left_out")
    return PlacePooling(kind="first", padding="left_out")


class Pooling(nn.Module):
    """One vector (b d) a row from the states (b i d) of a body; see the options for what each kind
    does.

    Raises InputError for `cls_index` (b) outside the sequence or with another kind, and for a row
    without the token.
    """

    def __init__(self, spec: Spec, options: AnyPooling | None) -> None:
        super().__init__()
        self.spec = spec
        self.options = default_pooling(spec) if options is None else options
        self.attention: LearnedQuery | None = None
        if self.options.kind == "attn":
            self.attention = LearnedQuery(spec)
        for _, text in self.options.problems(spec):
            raise ValueError(f"pooling.kind {text}")
        if isinstance(self.options, TokenPooling):
            self.token = self.options.token(spec) or 0

    def forward(self, result: Output, inputs: Inputs, cls_index: Tensor | None = None) -> Tensor:
        states, options = result.states, self.options
        if cls_index is not None and options.kind != "cls_index":
            raise InputError(
                f"cls_index needs pooling.kind cls_index; this head has {options.kind}"
            )
        if options.kind == "pooler":
            assert result.pooler_output is not None
            return result.pooler_output
        if isinstance(options, IndexPooling):
            if cls_index is None:
                return states[:, -1]
            return at_index(states, cls_index)
        if isinstance(options, TokenPooling):
            return self._at_token(states, inputs)
        real = real_tokens(self.spec, inputs)
        if self.attention is not None:
            return self.attention(states, real)
        assert isinstance(options, PlacePooling)
        if options.padding == "counted":
            real = None
        elif real is not None and options.padding == "from_first":
            real = (~real).cumsum(1) == 0
            real = real | ~real[:, :1]
        return _at_place(states, real, options.kind)

    def _at_token(self, states: Tensor, inputs: Inputs) -> Tensor:
        if inputs.input_ids is None or inputs.target_mapping is not None:
            raise InputError(
                "pooling.kind token finds a token by its id: it needs input_ids, without target_mapping"
            )
        found = inputs.input_ids.eq(self.token)
        real = masked_tokens(self.spec, inputs)
        there = found.any(1)
        if real is not None:
            there = there | ~real.any(1)  # nothing to find in a row without tokens
        if readable(found) and not bool(there.all()):
            row = int((~there).nonzero()[0])
            raise InputError(f"row {row} of input_ids has no token {self.token} to pool at")
        return _pick(states, found.long().argmax(1))


class LearnedQuery(nn.Module):
    """A learned query attends to the real tokens with the spec's heads, then a norm: states (b i d)
    to (b d).

    The summary "attn" of the authors' XLNet code (Yang et al. 2019; `summarize_sequence`),
    projections without bias.
    """

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        dims = spec.dims
        self.heads, self.scale = dims.heads, dims.head**-0.5
        self.start = nn.Parameter(torch.empty(dims.model))
        self.query, self.key, self.value = (
            nn.Linear(dims.model, dims.heads * dims.head, bias=False) for _ in range(3)
        )
        self.output = nn.Linear(dims.heads * dims.head, dims.model, bias=False)
        self.norm = build_norm(spec.norm, dims.model, "output")
        self.attention_dropout = nn.Dropout(spec.dropout.attention)
        self.dropout = nn.Dropout(spec.dropout.residual)

    def forward(self, states: Tensor, real: Tensor | None) -> Tensor:
        query = self.query(self.start).unflatten(-1, (self.heads, -1))
        key, value = (
            layer(states).unflatten(-1, (self.heads, -1)) for layer in (self.key, self.value)
        )
        scores = torch.einsum("hk,bjhk->bhj", query, key) * self.scale
        if real is not None:
            scores = scores.masked_fill(~real[:, None], torch.finfo(scores.dtype).min)
        weights = self.attention_dropout(scores.softmax(-1))
        pooled = torch.einsum("bhj,bjhk->bhk", weights, value).flatten(1)
        return self.norm(self.dropout(self.output(pooled)))


def masked_tokens(spec: Spec, inputs: Inputs) -> Tensor | None:
    """True for real states (b i), or (b p) of a query stream, where a mask of tokens was given;
    else None.
    """
    mask = inputs.padding(spec)
    if mask is None or mask.dim() != 2:
        return None
    return _of_states(mask[:, -inputs.shape[1] :], inputs)


def real_tokens(spec: Spec, inputs: Inputs) -> Tensor | None:
    """True for real states (b i) by the mask that is given, else by the padding id; None where
    nothing tells.
    """
    real = masked_tokens(spec, inputs)
    padding = spec.tokens.padding
    if padding is None:
        padding = spec.embeddings.tables.tokens.padding
    if real is not None or padding is None or inputs.input_ids is None:
        return real
    return _of_states(inputs.input_ids != padding, inputs)


def at_index(states: Tensor, index: Tensor, name: str = "cls_index") -> Tensor:
    """States (b i d) at one place a row, index (b) or (b 1), as (b d) (raises InputError outside
    the sequence).
    """
    places = one_a_row(name, read_ids(name, index, states.device), states)
    in_range(name, places, states.shape[1], "the length of the sequence")
    return _pick(states, places)


def _pick(states: Tensor, places: Tensor) -> Tensor:
    return states[torch.arange(states.shape[0], device=states.device), places]


def _of_states(real: Tensor, inputs: Inputs) -> Tensor:
    targets = inputs.targets()
    if targets is None:
        return real
    return real.gather(1, targets.clamp(min=0)) & (targets >= 0)


def _at_place(
    states: Tensor, real: Tensor | None, kind: Literal["last", "first", "mean"]
) -> Tensor:
    if kind == "mean":
        if real is None:
            return states.mean(1)
        weights = real.to(states.dtype)
        return torch.einsum("bid,bi->bd", states, weights) / weights.sum(1, keepdim=True).clamp(
            min=1
        )
    last = states.shape[1] - 1
    if kind == "first":
        return states[:, 0] if real is None else _pick(states, real.long().argmax(1))
    if real is None:
        return states[:, last]
    return _pick(states, last - real.flip(1).long().argmax(1))

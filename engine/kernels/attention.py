"""Attention from queries, keys and values to weighted values: one plain definition, and the ways
that are faster.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from torch.utils.checkpoint import checkpoint

from engine.kernels.dropout import dropout
from engine.kernels.tuning import tuning
from engine.kernels.watched import transformed


@dataclass(frozen=True)
class Tile:
    """Some query rows, and the key columns that they attend to."""

    first_row: int
    last_row: int | None  # one past it, as in a slice
    first_column: int
    last_column: int | None

    @property
    def rows(self) -> slice:
        """The rows, made anew, since a compiler binds the sizes in a slice that it finds in a value."""
        return slice(self.first_row, self.last_row)

    @property
    def columns(self) -> slice:
        """The columns."""
        return slice(self.first_column, self.last_column)


@dataclass(frozen=True)
class AdditiveMask:
    """What is added to scores: 0 where a query row may see a key column, minus infinity elsewhere."""

    scores: Tensor
    """(b or 1, 1, i or 1, j); a row that sees nothing has zeros here."""
    sees: Tensor | None = None
    """(b or 1, 1, i or 1, 1): 0 for a row that sees nothing, else 1; None where every row sees."""

    def over(self, tile: Tile) -> "AdditiveMask":
        """The part for a tile."""
        rows = tile.rows if self.scores.shape[2] > 1 else slice(None)
        sees = None if self.sees is None else self.sees[:, :, rows]
        return AdditiveMask(self.scores[:, :, rows, tile.columns], sees)


class Mask(Protocol):
    """A mask of all pairs of a call."""

    def over(self, tile: Tile) -> AdditiveMask | None:
        """The part for a tile; None where every row sees every column."""


@dataclass(frozen=True)
class Softmax:
    """How scores become weights."""

    scale: float
    """Scores are products times this."""
    causal: bool = False
    """A triangle stands for the mask: several tokens, nothing remembered, no padding."""
    dropout: float = 0.0
    """The rate at which weights are zeroed, 0 in evaluation."""
    head_mask: Tensor | None = None
    """(h): factors of each head's weights."""
    keep_weights: bool = False
    """Weights are returned, too."""
    unfused: bool = False
    """Scores are made where a fused kernel could do without them."""
    softcap: float | None = None
    """The magnitude that scores approach and never reach; None: they may be any."""
    sinks: Tensor | None = None
    """(h): a score more for each row of a head, whose weight goes to no column."""


@dataclass(frozen=True)
class Tiling:
    """The tiles of a call, in the order of their rows."""

    mask: Mask
    tiles: tuple[Tile, ...]
    recompute: bool = False
    """Each tile is computed again in the backward pass instead of keeping its scores."""


# From queries (b h i k), keys (b g j k) and their tile to the queries that the keys are multiplied
# with, and to what is added to the scaled scores (b h i j), which may be overwritten.
Terms = Callable[[Tensor, Tensor, Tile], tuple[Tensor, Tensor | None]]


def attend(
    query: Tensor, key: Tensor, value: Tensor, terms: Terms, tiling: Tiling, softmax: Softmax
) -> tuple[Tensor, Tensor | None]:
    """Weighted values (b h i k) of queries (b h i k) over keys and values (b g j k), tile by tile.

    Weights (b h i j) come along where they are kept.
    """
    tiles = tiling.tiles
    if len(tiles) == 1:
        query, bias = terms(query, key, tiles[0])
        return attend_whole(query, key, value, bias, tiling.mask.over(tiles[0]), softmax)
    if softmax.unfused:  # else the products of each tile would copy them
        key, value = key.contiguous(), value.contiguous()
    run = _attend_tile
    if tiling.recompute:
        run = partial(checkpoint, _attend_tile, use_reentrant=False)
    mixed, weights = [], []
    parts = query.split([tile.rows.stop - tile.rows.start for tile in tiles], dim=2)
    for tile, part in zip(tiles, parts, strict=True):
        keys, values = key[:, :, tile.columns], value[:, :, tile.columns]
        found, kept = run(part, keys, values, terms, tiling, softmax, tile=tile)
        mixed.append(found)
        if kept is not None:
            weights.append(kept)
    return torch.cat(mixed, dim=2), torch.cat(weights, dim=2) if weights else None


def _attend_tile(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    terms: Terms,
    tiling: Tiling,
    softmax: Softmax,
    *,
    tile: Tile,
) -> tuple[Tensor, Tensor | None]:
    query, bias = terms(query, key, tile)
    return attend_whole(query, key, value, bias, tiling.mask.over(tile), softmax)


def attend_whole(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    bias: Tensor | None,
    mask: AdditiveMask | None,
    softmax: Softmax,
) -> tuple[Tensor, Tensor | None]:
    """What `plain` gives, in the fastest way; weights only where they are kept.

    `bias` (b h i j) may be overwritten.
    """
    if softmax.keep_weights:
        return plain(query, key, value, bias, mask, softmax)
    # The processor's fused kernel has neither dropout nor a gradient for the bias.
    learns = bias is not None and bias.requires_grad
    fusible = softmax.softcap is None and softmax.sinks is None
    made = softmax.unfused or not fusible
    if made or (query.device.type == "cpu" and (softmax.dropout > 0 or learns)):
        return unfused(query, key, value, bias, mask, softmax), None
    return fused(query, key, value, bias, mask, softmax), None


def plain(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    bias: Tensor | None,
    mask: AdditiveMask | None,
    softmax: Softmax,
) -> tuple[Tensor, Tensor]:
    """The definition: scaled products, terms, mask, softmax, weighted values (b h i k) and weights.

    A row that sees nothing has zeros for weights, in every dtype (Vaswani et al. 2017, 3.2.1).
    """
    key, value = _one_a_head(query, key), _one_a_head(query, value)
    scores = (query * softmax.scale) @ key.transpose(-1, -2)
    mask = _triangle(scores) if softmax.causal else mask
    if bias is not None:
        scores = scores + bias
    if softmax.softcap is not None:
        scores = softcapped(scores, softmax.softcap)
    if mask is not None:
        scores = scores + mask.scores
    weights = _weights(scores, mask, softmax)
    return weights @ value, weights


def unfused(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    bias: Tensor | None,
    mask: AdditiveMask | None,
    softmax: Softmax,
) -> Tensor:
    """The values of `plain`, whose scores are added to in place."""
    if transformed():
        return plain(query, key, value, bias, mask, softmax)[0]
    key, value = _one_a_head(query, key), _one_a_head(query, value)
    scores = (query * softmax.scale) @ key.transpose(-1, -2)
    mask = _triangle(scores) if softmax.causal else mask
    if bias is not None:
        scores = scores.add_(bias)
    if softmax.softcap is not None:
        scores = softcapped(scores, softmax.softcap)
    if mask is not None:
        scores = scores.add_(mask.scores)
    return _weights(scores, mask, softmax) @ value


def softcapped(scores: Tensor, cap: float) -> Tensor:
    """c tanh(s / c) of scores s, with the cap c (Bello et al. 2016, arXiv:1611.09940)."""
    return torch.tanh(scores / cap) * cap


def _weights(scores: Tensor, mask: AdditiveMask | None, softmax: Softmax) -> Tensor:
    """What becomes of scores (b h i j) that the mask was added to."""
    if softmax.sinks is None:
        weights = scores.softmax(dim=-1)
    else:
        sinks = softmax.sinks[:, None, None].expand(*scores.shape[:-1], 1)
        weights = torch.cat((scores, sinks), dim=-1).softmax(dim=-1)[..., :-1]
    if mask is not None and mask.sees is not None:
        weights = weights * mask.sees
    weights = dropout(weights, softmax.dropout)
    if softmax.head_mask is not None:
        weights = weights * softmax.head_mask[:, None, None]
    return weights


def fused(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    bias: Tensor | None,
    mask: AdditiveMask | None,
    softmax: Softmax,
) -> Tensor:
    """The values of `plain` by torch's fused kernel."""
    added = bias
    if mask is not None:
        added = mask.scores if bias is None else _sum(bias, mask.scores)
    mixed = scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=added,
        dropout_p=softmax.dropout,
        is_causal=softmax.causal,
        scale=softmax.scale,
        enable_gqa=key.shape[1] != query.shape[1],
    )
    if mask is not None and mask.sees is not None:  # the kernel attended everywhere in such a row
        mixed = mixed * mask.sees
    # A factor of all weights of a head is one of its sums.
    if softmax.head_mask is not None:
        mixed = mixed * softmax.head_mask[:, None, None]
    return mixed


def _sum(bias: Tensor, mask: Tensor) -> Tensor:
    # Backward passes read what autograd has kept, and functional transforms know no writing.
    wider = bias.shape[0] < mask.shape[0]
    if wider or bias.requires_grad or transformed():
        return bias + mask
    return bias.add_(mask)


def _one_a_head(query: Tensor, shared: Tensor) -> Tensor:
    """Keys or values (b g j k) of groups of heads for every head (b h j k)."""
    repeats = query.shape[1] // shared.shape[1]
    return shared if repeats == 1 else shared.repeat_interleave(repeats, dim=1)


def _triangle(scores: Tensor) -> AdditiveMask | None:
    allowed = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
    return additive(allowed, scores.dtype)


def additive(allowed: Tensor | None, dtype: torch.dtype) -> AdditiveMask | None:
    """The mask of query rows that may see key columns as `allowed` (b or 1, 1, i or 1, j) says.

    Made once a call, since a sum costs an eighth of a choice by condition in each block.
    """
    if allowed is None:
        return None
    sees = allowed.any(-1, keepdim=True)
    all_see = known_true(sees)
    allowed = allowed if all_see else allowed | ~sees
    zero = torch.zeros((), dtype=dtype, device=allowed.device)
    scores = zero.masked_fill(~allowed, -math.inf)
    return AdditiveMask(scores, None if all_see else sees.to(dtype))


def known_true(every: Tensor) -> bool:
    """Whether all are true, where that can be read without waiting for a device or a compiler."""
    return every.device.type == "cpu" and not transformed() and bool(every.all())


@dataclass(frozen=True)
class Choice:
    """How the scores of a call are made."""

    unfused: bool
    """Scores are made, where a fused kernel could do without them."""
    large: bool
    """Scores or masks are too large, or too far apart in memory, to be made for all rows at once."""


def choose(
    states: Tensor,
    score_shape: tuple[int, int, int, int],
    mask_bytes: int,
    drops: bool,
    fusible: bool,
) -> Choice:
    """The way that is fastest for scores (b h i j) of states (b i d) on their device.

    Scores are made where a fused kernel does not know what becomes of them (`fusible`). On the
    processor also where weights are dropped, and in bfloat16 from half a tile of rows on: its fused
    kernel is slower there.
    """
    if transformed():
        on_cpu = drops and states.device.type == "cpu"
        return Choice(unfused=on_cpu or not fusible, large=False)
    batch, heads, rows, columns = score_shape
    processor, most = states.device.type == "cpu", tuning().scores_at_once_bytes
    half = processor and states.dtype == torch.bfloat16 and not torch.is_grad_enabled()
    half = half and rows >= tuning().tile_rows // 2
    made = not fusible or (processor and (drops or half))
    large = made and batch * heads * rows * columns * states.itemsize > most
    return Choice(unfused=made, large=large or half or mask_bytes > most)

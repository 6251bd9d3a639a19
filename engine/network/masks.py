"""Which query row sees which key column: rules over positions, joined by AND, boolean until the
softmax.

b batch, i query rows, j key columns, m remembered tokens, p predictions.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from engine.kernels.attention import AdditiveMask, Mask, Tile, additive, known_true
from engine.kernels.tuning import tuning
from engine.kernels.watched import transformed
from engine.memory import Memory, memory_policy
from engine.spec import Spec


@dataclass(frozen=True)
class Pairs:
    """The query rows and key columns of self-attention.

    Columns are the remembered tokens, then the tokens of the call. Rows are the tokens of the call,
    then one prediction row for each target: a row of the query stream (Yang et al. 2019, 2.3),
    which is never a column.
    """

    tokens: int
    """Of the call."""
    remembered: int
    """Tokens of the memory, columns only."""
    targets: Tensor | None = None
    """(b p): the token that each prediction row stands for, -1 for a row that sees nothing."""
    ahead: int = 0
    """How many places past the tokens targets reach: the place that a decoder fills next."""

    @property
    def columns(self) -> int:
        """How many columns there are."""
        return self.remembered + self.tokens

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return self.tokens if self.targets is None else self.tokens + self.targets.shape[1]

    @property
    def whole(self) -> Tile:
        """All rows and all columns."""
        return Tile(0, self.rows, 0, self.columns)

    @property
    def farthest(self) -> int:
        """The largest distance from a row back to a column."""
        return self.columns - 1 + self.ahead

    def distances(self, tile: Tile, device: torch.device) -> Tensor:
        """How many tokens each column of a tile lies before each of its rows, (1 i j) or (b i j)."""
        rows = torch.arange(self.tokens, device=device)
        if self.targets is not None:
            rows = torch.cat((rows.expand(self.targets.shape[0], -1), self.targets), dim=1)
        columns = torch.arange(tile.columns.start, tile.columns.stop, device=device)
        distance = rows[..., tile.rows, None] - (columns - self.remembered)
        return distance[None] if distance.dim() == 2 else distance

    def by_row(self, values: Tensor, rows: slice, beyond: bool = True) -> Tensor:
        """Values (b i …) of tokens for these rows, of which prediction rows take their targets'.

        `beyond` is the value of a row whose target lies past the tokens.
        """
        tokens = values[:, rows.start : min(rows.stop, self.tokens)]
        if self.targets is None or rows.stop <= self.tokens:
            return tokens
        first = max(0, rows.start - self.tokens)
        targets = self.targets[:, first : rows.stop - self.tokens, None]
        index = targets.clamp(0, self.tokens - 1).expand(-1, -1, values.shape[-1])
        found = values.gather(1, index)
        if self.ahead:
            found = found.masked_fill(targets >= self.tokens, beyond)
        return torch.cat((tokens, found), dim=1) if tokens.shape[1] else found


@dataclass(frozen=True)
class MaskRules:
    """The rules of one call.

    `visible` draws each of them, rows below each other, 1 where a row sees a column:

    causal, 2 remembered      same_length 2       window 2            window alone        padding on the left
    1 1 1 . . .               . 1 1 . . .         . 1 1 . . .         . 1 1 1 . .         . . 1 1
    1 1 1 1 . .               . . 1 1 . .         . . 1 1 . .         . . 1 1 1 .         . . 1 1
    1 1 1 1 1 .               . . . 1 1 .         . . . 1 1 .         . . . 1 1 1         . . 1 1
    """

    spec: Spec
    pairs: Pairs
    padding: Tensor | None
    """(b j) or (b i j): True for columns that are no padding."""
    permutation: Tensor | None
    """(b i i): not 0 where token i may not see token j."""
    device: torch.device
    dtype: torch.dtype
    vacant: Tensor | None = None
    """(b): how many of the oldest remembered places of each row hold nothing."""

    def over(self, tile: Tile) -> AdditiveMask | None:
        """What is added to the scores of a tile; None where every row sees every column."""
        return additive(self.visible(tile), self.dtype)

    def visible(self, tile: Tile) -> Tensor | None:
        """True where a row of a tile sees a column, (b or 1, 1, i or 1, j); None where all do."""
        allowed = None
        for rule in (
            *self._distance_rules(tile),
            self._padding_rule(tile),
            self._permutation_rule(tile),
            *self._vacancy_rules(tile),
        ):
            if rule is not None:
                allowed = rule if allowed is None else allowed & rule
        if allowed is not None and "permutation" in self.spec.attention.mask:
            # A row always sees its own token, padded or not (XLNet).
            own = self.pairs.distances(tile, self.device) == 0
            rows = torch.arange(tile.rows.start, tile.rows.stop, device=self.device)
            allowed = allowed | (own & (rows < self.pairs.tokens)[:, None])
        allowed = self._without_idle_rows(allowed, tile)
        return None if allowed is None else allowed[:, None]

    def _distance_rules(self, tile: Tile) -> list[Tensor]:
        """Causal, window and same_length: bounds of the distance.

        Without the rule causal a window reaches as far ahead as back (Beltagy et al. 2020, 3.1).
        """
        pairs, reach, fixed = self.pairs, self.reach, not transformed()
        causal = "causal" in self.spec.attention.mask
        lone = fixed and pairs.tokens == 1 and pairs.targets is None
        # A text within the window is bounded by it on neither side.
        bounded = reach is not None and not (fixed and reach > pairs.farthest)
        if not bounded and (not causal or lone):
            return []
        distance = pairs.distances(tile, self.device)
        rules = []
        if causal and not lone:
            rules.append(distance >= 0)
        if bounded and reach is not None:
            rules.append(distance < reach)
            if not causal:
                rules.append(distance > -reach)
        return rules

    def _padding_rule(self, tile: Tile) -> Tensor | None:
        if self.padding is None or "padding" not in self.spec.attention.mask:
            return None
        if self.padding.dim() == 3:
            return self.pairs.by_row(self.padding, tile.rows)[..., tile.columns]
        return self.padding[:, None, tile.columns]

    def _permutation_rule(self, tile: Tile) -> Tensor | None:
        if self.permutation is None:
            return None
        hidden = self.pairs.by_row(self.permutation, tile.rows, beyond=False) != 0
        return ~pad(hidden, (self.pairs.remembered, 0))[..., tile.columns]

    def _vacancy_rules(self, tile: Tile) -> list[Tensor]:
        if self.vacant is None:
            return []
        places = torch.arange(tile.columns.start, tile.columns.stop, device=self.device)
        rules = [(places >= self.vacant[:, None])[:, None]]
        attention = self.spec.attention
        if "same_length" in attention.mask and attention.same_length == "remembered":
            held = self.pairs.remembered - self.vacant[:, None, None]
            rules.append(self.pairs.distances(tile, self.device) <= held)
        return rules

    def _without_idle_rows(self, allowed: Tensor | None, tile: Tile) -> Tensor | None:
        """Prediction rows without a target see nothing."""
        targets = self.pairs.targets
        if targets is None or known_true(targets >= 0):
            return allowed
        tokens = torch.ones_like(targets[:, :1]).expand(-1, self.pairs.tokens) > 0
        active = torch.cat((tokens, targets >= 0), dim=1)[:, tile.rows, None]
        if allowed is not None:
            return allowed & active
        return active.expand(-1, -1, tile.columns.stop - tile.columns.start)

    @property
    def reach(self) -> int | None:
        """How many tokens, itself included, a row sees back; None where there is no such rule."""
        attention = self.spec.attention
        bounds = [attention.window]
        if "same_length" in attention.mask:
            kept: int | None = self.pairs.remembered + 1
            if attention.same_length == "memory":
                kept = memory_policy(self.spec).longest("segments")
            bounds.append(kept)
        known = [bound for bound in bounds if bound is not None]
        return min(known) if known else None

    @property
    def bytes(self) -> int:
        """How much the mask of all pairs takes; 0 for one that is a row for each text."""
        by_pair = self.permutation is not None
        by_pair = by_pair or (self.padding is not None and self.padding.dim() == 3)
        attention = self.spec.attention
        if set(attention.mask) <= {"padding"} and attention.window is None and not by_pair:
            return 0
        given = (self.padding, self.permutation, self.pairs.targets, self.vacant)
        batch = max(1 if tensor is None else tensor.shape[0] for tensor in given)
        return batch * self.pairs.rows * self.pairs.columns * self.dtype.itemsize

    def is_triangle(self, memory: Memory | None) -> bool:
        """Whether several tokens see each other only, so that a triangle is all of the mask.

        Sizes are read where they may be.
        """
        attention = self.spec.attention
        if set(attention.mask) - {"padding"} != {"causal"} or attention.window is not None:
            return False
        if self.padding is not None:
            return False
        if transformed():
            return memory is None
        return self.pairs.remembered == 0 and self.pairs.tokens > 1

    def mask(self, triangle: bool, tiles: tuple[Tile, ...]) -> Mask:
        """The mask of all pairs, or these rules where each of several tiles makes its part anew."""
        if triangle:
            return WholeMask(None)
        if len(tiles) > 1 and self.bytes > tuning().scores_at_once_bytes:
            return self
        return WholeMask(self.over(self.pairs.whole))

    def tiles(self, at_once: bool) -> tuple[Tile, ...]:
        """The rows in tiles, each with the columns that its rules leave; one tile `at_once`.

        Scores then stay small, and near in memory.
        """
        pairs, size, rows = self.pairs, tuning().tile_rows, self.pairs.rows
        if at_once or rows <= size:
            return (pairs.whole,)
        causal, reach = "causal" in self.spec.attention.mask, self.reach
        tiles = []
        for start in range(0, pairs.tokens, size):
            stop = min(start + size, pairs.tokens)
            first, last = 0, pairs.columns
            if reach is not None:
                first = max(0, pairs.remembered + start - reach + 1)
                last = min(last, pairs.remembered + stop + reach - 1)
            if causal:
                last = pairs.remembered + stop
            tiles.append(Tile(start, stop, first, last))
        for start in range(pairs.tokens, rows, size):
            tiles.append(Tile(start, min(start + size, rows), 0, pairs.columns))
        return tuple(tiles)


@dataclass(frozen=True)
class WholeMask:
    """A mask of all pairs, made once for all blocks of a call; None where all see all."""

    whole: AdditiveMask | None

    def over(self, tile: Tile) -> AdditiveMask | None:
        """The part for a tile."""
        return None if self.whole is None else self.whole.over(tile)

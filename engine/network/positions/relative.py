"""Sinusoids of distances, projected in every block (Dai et al. 2019, 3.3)."""

from typing import ClassVar

import torch
from torch import Tensor

from engine.kernels.dropout import dropout
from engine.kernels.linear import build_linear, linear, steady
from engine.kernels.reordered import reordered
from engine.kernels.tuning import tuning
from engine.kernels.watched import transformed
from engine.memory import DistanceKeys, Memory, memory_policy
from engine.network.masks import Pairs
from engine.network.positions.position import Position
from engine.network.positions.scores import (
    DistanceRange,
    Distances,
    DistanceTable,
    ScoreInputs,
    ScoreTerms,
)
from engine.network.positions.table import sinusoid
from engine.spec import Spec, axes


class RelativeScores(ScoreTerms):
    """Distances whose sinusoids a linear layer turns into a key a head."""

    position_biased: ClassVar[bool] = True

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        self.projection = build_linear(spec.dims.model, self.heads * self.head, bias=False)

    def distance_table(
        self, inputs: ScoreInputs, known: DistanceKeys | None
    ) -> tuple[DistanceTable, DistanceKeys | None]:
        """As in the interface."""
        lacking, pairs = inputs.distances.lacking, inputs.pairs
        if lacking is not None:
            keys = self._keys(lacking, inputs.distances.sinusoids)
            if lacking.joined and known is not None:
                keys = torch.cat((keys, known.keys), dim=2)
            if not lacking.kept:
                return DistanceTable(keys), None
            known = DistanceKeys(keys.contiguous(), lacking.high)
        assert known is not None
        return DistanceTable(known.between(pairs.farthest, 1 - pairs.tokens)), known

    def _keys(self, lacking: DistanceRange, sinusoids: Tensor | None) -> Tensor:
        """Scaled keys (u h r k) of the distances that are lacking.

        Prepacked weights hold them for the calls to come.
        """
        assert sinusoids is not None
        ready = None
        if not self.training and steady(self.projection):  # else dropout may fall on sinusoids
            ready = reordered(self.projection.weight)
        if ready is not None:
            held = ready.distances
            if isinstance(held, DistanceKeys) and held.covers(lacking.high, lacking.low):
                return held.between(lacking.high, lacking.low)
        keys = linear(self.projection, sinusoids) * self.scale
        keys = keys.unflatten(-1, (-1, self.head)).transpose(1, 2)
        if ready is not None and keys.shape[-2] <= tuning().kept_distances:
            ready.distances = DistanceKeys(keys, lacking.high)
        return keys


class RelativePosition(Position):
    """`position.kind: relative`."""

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        assert isinstance(spec.position, axes.RelativePosition)
        self.axis = spec.position
        self.mirrored = self.axis.reversed_half
        self.memory_policy = memory_policy(spec)

    def score_terms(self) -> ScoreTerms:
        """The projection of a block."""
        return RelativeScores(self.spec)

    def distances(self, pairs: Pairs, past: Memory | None, like: Tensor, rate: float) -> Distances:
        """Sinusoids of the distances that memory does not hold; dropout never falls on those that
        it will hold.
        """
        lacking = self._lacking(pairs, past)
        if lacking is None:
            return Distances()
        steps = torch.arange(lacking.high, lacking.low - 1, -1, device=like.device)
        if self.axis.clamp is not None:
            steps = steps.clamp(-self.axis.clamp, self.axis.clamp)
        signed = (steps, -steps) if self.mirrored else (steps,)
        width = self.spec.dims.model
        sinusoids = torch.stack([sinusoid(part, width, "half_split") for part in signed])
        sinusoids = sinusoids.to(like.dtype)
        if not lacking.kept:
            sinusoids = dropout(sinusoids, rate)
        return Distances(sinusoids=sinusoids, lacking=lacking)

    def _lacking(self, pairs: Pairs, past: Memory | None) -> DistanceRange | None:
        """Which distances are to be projected; a memory that grows gets some in advance."""
        high, low = pairs.farthest, 1 - pairs.tokens
        if past is None or not past.projected or torch.is_grad_enabled() or transformed():
            return DistanceRange(high, low)
        spare, limit = high // 4 + 64, self.memory_policy.longest(past.keeps)
        if limit is not None:
            spare = max(0, min(spare, limit - pairs.remembered))
        known = past.layers[0].distances
        if known is None:
            return DistanceRange(high + spare, low, kept=True)
        if known.covers(high, low):
            return None
        if known.covers(known.high, low):
            return DistanceRange(high + spare, known.high + 1, joined=True, kept=True)
        return DistanceRange(max(high, known.high), low, kept=True)

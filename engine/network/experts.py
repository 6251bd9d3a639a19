"""The position-wise half of a block as a mixture of experts: a router sends each token to some.

b batch, i tokens, n rows, e experts, a experts of a row, d model width, f features that enter a
linear map, o features that leave it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from engine.kernels.dropout import Dropout
from engine.kernels.experts import Choice, mix_experts
from engine.kernels.int8 import Int8Weight
from engine.kernels.linear import build_linear, linear, product
from engine.network.activations import ACTIVATIONS
from engine.network.feed_forward import FeedForward
from engine.spec import Spec, axes


@dataclass(frozen=True)
class Load:
    """How the rows of a block were spread over its experts."""

    share: Tensor
    """(e): rows that went to each."""
    score: Tensor
    """(e): its scores, summed over rows."""
    rows: Tensor
    """(): how many there were."""
    coefficient: float
    """What the loss of it is multiplied by."""


class ExpertLinear(nn.Module):
    """A linear map an expert: weight (e o f), bias (e o)."""

    def __init__(self, count: int, inputs: int, outputs: int, bias: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(count, outputs, inputs))
        self.bias = nn.Parameter(torch.empty(count, outputs)) if bias else None

    def forward(self, states: Tensor) -> Tensor:
        """States (n f), or (e n f) for each its own, through the map of every expert: (e n o)."""
        weight = self.weight
        if isinstance(weight, Int8Weight):
            weight = weight.dequantize()  # type: ignore[assignment]
        found = states @ weight.transpose(1, 2)
        return found if self.bias is None else found + self.bias[:, None]

    def by_expert(self) -> list[tuple[Tensor, Tensor | None]]:
        """Weight (o f) and bias (o) of each expert."""
        # One operation, so that gradients of all experts are put together once.
        weights = self.weight.unbind()
        biases = [None] * len(weights) if self.bias is None else self.bias.unbind()
        return list(zip(weights, biases, strict=True))


class ExpertMaps(nn.Module):
    """The linear maps of all experts, each as those of a feed-forward layer."""

    def __init__(self, spec: Spec, experts: axes.Experts) -> None:
        super().__init__()
        model, inner = spec.dims.model, experts.inner or spec.dims.inner
        self.up = ExpertLinear(experts.count, model, inner, spec.ffn.bias)
        self.gate: ExpertLinear | None = None
        if spec.ffn.gated:
            self.gate = ExpertLinear(experts.count, model, inner, spec.ffn.bias)
        self.down = ExpertLinear(experts.count, inner, model, spec.ffn.bias)
        self.activation = ACTIVATIONS[spec.ffn.activation]
        self.dropout = Dropout(spec.dropout.inner)

    def forward(self, states: Tensor) -> Tensor:
        """What every expert gives for rows (n d): (e n d)."""
        inner = self.up(states)
        if self.gate is None:
            inner = self.activation(inner)
        else:
            inner = self.activation(self.gate(states)) * inner
        found: Tensor = self.down(self.dropout(inner))
        return found

    def mix(self, states: Tensor, choice: Choice) -> Tensor:
        """What the experts of each row (n d) give, weighted and summed."""
        ups, downs = self.up.by_expert(), self.down.by_expert()
        gates = None if self.gate is None else self.gate.by_expert()

        def run(number: int, rows: Tensor) -> Tensor:
            inner = product(rows, *ups[number])
            if gates is None:
                inner = self.activation(inner)
            else:
                inner = self.activation(product(rows, *gates[number])) * inner
            return product(self.dropout(inner), *downs[number])

        return mix_experts(states, choice, run, self, len(ups))


class Experts(nn.Module):
    """`ffn.experts`: Σ weight · expert(x) over the experts of a token, and what all share.

    States (b i d) to (b i d), and how tokens were spread where a loss of it is asked for; `real`
    (b i) is True for tokens that are no padding.
    """

    def __init__(self, spec: Spec, experts: axes.Experts) -> None:
        super().__init__()
        self.axis = experts
        self.router = build_linear(spec.dims.model, experts.count, bias=experts.router_bias)
        self.correction_bias: nn.Parameter | None = None
        if experts.correction_bias:
            self.correction_bias = nn.Parameter(torch.zeros(experts.count), requires_grad=False)
        self.experts = ExpertMaps(spec, experts)
        self.shared: FeedForward | None = None
        self.shared_gate: nn.Linear | None = None
        shared = experts.shared
        if shared is not None:
            width = shared.inner or experts.inner or spec.dims.inner
            self.shared = FeedForward(spec, shared.count * width)
            if shared.gate:
                self.shared_gate = build_linear(spec.dims.model, 1, bias=False)

    def forward(self, states: Tensor, real: Tensor | None = None) -> tuple[Tensor, Load | None]:
        rows = states.flatten(0, 1)
        scores = self._scores(rows)
        choice = self._choose(scores, states.dtype)
        mixed = self.experts.mix(rows, choice).view(states.shape)
        if self.shared is not None:
            shared = self.shared(states)
            if self.shared_gate is not None:
                shared = linear(self.shared_gate, states).sigmoid() * shared
            mixed = mixed + shared
        balance = self.axis.load_balance
        if balance is None or not self.training:
            return mixed, None
        return mixed, _load(scores, choice, real, balance.coefficient)

    def _scores(self, rows: Tensor) -> Tensor:
        """Scores (n e), in single precision at least: a choice turns on small differences."""
        logits = linear(self.router, rows)
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        return logits.softmax(-1) if self.axis.score == "softmax" else logits.sigmoid()

    def _choose(self, scores: Tensor, dtype: torch.dtype) -> Choice:
        axis, ranked = self.axis, scores.detach()
        if self.correction_bias is not None:
            ranked = ranked + self.correction_bias
        if axis.groups is not None:
            ranked = _within_groups(ranked, axis.groups)
        experts = ranked.topk(axis.active, dim=-1).indices
        weights = scores.gather(1, experts)
        if axis.normalize:
            weights = weights / (weights.sum(-1, keepdim=True) + 1e-20)
        return Choice(experts, (weights * axis.scale).to(dtype))


def load_balancing_loss(loads: Sequence[Load]) -> Tensor:
    """The loss of Fedus et al. (2022, 2.2), times its coefficient, over all blocks together: as
    many as there are experts times Σ share of rows · mean score. Blocks of other experts are a sum
    of their own.
    """
    alike: dict[tuple[int, float], list[Load]] = {}
    for load in loads:
        alike.setdefault((len(load.share), load.coefficient), []).append(load)
    losses = []
    for (count, coefficient), some in alike.items():
        rows = torch.stack([load.rows for load in some]).sum().clamp(min=1)
        share = torch.stack([load.share for load in some]).sum(0) / rows
        score = torch.stack([load.score for load in some]).sum(0) / rows
        losses.append(coefficient * count * (share * score).sum())
    return torch.stack(losses).sum()


def active_parameters(model: nn.Module) -> int:
    """How many numbers a token meets on its way: of experts only those that it is sent to."""
    idle = 0
    for module in model.modules():
        if isinstance(module, Experts):
            held = sum(parameter.numel() for parameter in module.experts.parameters())
            idle += held // module.axis.count * (module.axis.count - module.axis.active)
    return sum(parameter.numel() for parameter in model.parameters()) - idle


def _within_groups(scores: Tensor, groups: axes.ExpertGroups) -> Tensor:
    """Scores (n e) of the experts of the best groups; those of others are minus infinity."""
    parts = scores.unflatten(-1, (groups.count, -1))
    best = 2 if groups.score == "best_two" else 1
    of_groups = parts.topk(best, dim=-1).values.sum(-1)
    kept = of_groups.topk(groups.active, dim=-1).indices
    hidden = torch.ones_like(of_groups, dtype=torch.bool).scatter(1, kept, False)
    return parts.masked_fill(hidden[..., None], float("-inf")).flatten(-2)


def _load(scores: Tensor, choice: Choice, real: Tensor | None, coefficient: float) -> Load:
    if real is None:
        counts = scores.new_ones(len(scores))
    else:
        counts = real.flatten().to(scores.dtype)
    spread = scores.new_zeros(scores.shape).scatter(1, choice.experts, 1.0)
    scores = scores / scores.sum(-1, keepdim=True)
    return Load(counts @ spread, counts @ scores, counts.sum(), coefficient)

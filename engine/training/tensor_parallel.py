"""Layers cut over processes (Shoeybi et al. 2019): heads and inner features by one plan for every
spec. The rows of `query`, `key`, `value`, `up` and `gate` are shared out, and the columns of
`output` and `down`, whose results are summed; everything else stays whole on each process.
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional

from engine.errors import TrainingError
from engine.model import Model
from engine.network.attention import Attention
from engine.network.feed_forward import FeedForward
from engine.network.norms import HeadsNorm
from engine.network.positions.distance_bias import BucketScores
from engine.network.positions.learned_relative import LearnedRelativeScores
from engine.network.positions.relative import RelativeScores
from engine.network.positions.relative_key import RelativeKeyScores
from engine.network.positions.scores import ScoreTerms

# Parameters of a module that are cut, and along which axis; the others of attention are whole.
_VECTORS = {"content_bias": 0, "position_bias": 0, "segment_bias": 0, "segments": 1}
_CUT: dict[type[nn.Module], dict[str, int]] = {
    Attention: {
        **{
            f"{name}.{kind}": 0 for name in ("query", "key", "value") for kind in ("weight", "bias")
        },
        "output.weight": 1,
        "sinks": 0,
    },
    FeedForward: {
        **{f"{name}.{kind}": 0 for name in ("up", "gate") for kind in ("weight", "bias")},
        "down.weight": 1,
    },
    ScoreTerms: _VECTORS,
    RelativeScores: {**_VECTORS, "projection.weight": 0},
    RelativeKeyScores: _VECTORS,
    LearnedRelativeScores: {**_VECTORS, "table": 1, "table_bias": 1},
    BucketScores: {**_VECTORS, "table": 1},
}
_SUMMED = {Attention: "output", FeedForward: "down"}


class Cut:
    """The layers of a network, cut over the `count` processes of a group of which this is `rank`."""

    def __init__(self, mesh: Any) -> None:
        self.mesh, self.group = mesh, mesh.get_group()
        self.rank, self.count = mesh.get_local_rank(), mesh.size()
        self.forks: list[Any] = []
        self.axes: dict[str, int] = {}
        """Parameters of which this process has a part, and along which axis."""
        self.inside: set[str] = set()
        """Whole parameters that parts of the layers use, so that gradients are sums over parts."""

    def apply(self, model: Model) -> None:
        """Keep this process's part of each layer; raises TrainingError for a network that has
        layers of another kind, or sizes that the processes do not divide.
        """
        _check(model, self.count)
        self.axes, self.inside = {}, set()
        names = {id(parameter): name for name, parameter in model.named_parameters()}
        for block in model.blocks:
            for module in block.modules():
                for name, axis in _CUT.get(type(module), {}).items():
                    self._cut(module, name, axis, names)
            layers: tuple[Any, ...] = (block.attention, block.feed_forward)
            for layer in layers:
                summed: Any = getattr(layer, _SUMMED[type(layer)])
                self.inside |= {names[id(parameter)] for parameter in layer.parameters()}
                self.inside.discard(names.get(id(summed.bias), ""))
                summed.forward = partial(_summed, summed, self.group)
                layer.register_forward_pre_hook(self._enter)
                layer.register_forward_hook(self._leave, always_call=True)
        self.inside -= set(self.axes)

    def sum(self, tensor: Tensor) -> None:
        """Add up, in place, what each process has."""
        distributed.all_reduce(tensor, group=self.group)

    def whole(self, tensor: Tensor, name: str) -> Tensor:
        """A tensor put together from the parts of all processes, in the place of a parameter."""
        axis = self.axes.get(name)
        if axis is None or tensor.dim() == 0:
            return tensor
        parts = [torch.empty_like(tensor) for _ in range(self.count)]
        distributed.all_gather(parts, tensor.contiguous(), group=self.group)
        return torch.cat(parts, dim=axis)

    def part(self, whole: Tensor, name: str) -> Tensor:
        """This process's part of a whole tensor in the place of a parameter."""
        axis = self.axes.get(name)
        if axis is None or whole.dim() == 0:
            return whole
        return whole.chunk(self.count, dim=axis)[self.rank]

    def _cut(self, module: nn.Module, path: str, axis: int, names: dict[int, str]) -> None:
        owner, _, own = path.rpartition(".")
        holder = getattr(module, owner) if owner else module
        parameter = getattr(holder, own, None)
        if not isinstance(parameter, nn.Parameter) or names[id(parameter)] in self.axes:
            return
        self.axes[names[id(parameter)]] = axis
        with torch.no_grad():
            parameter.data = self.part(parameter.data, names[id(parameter)]).clone()

    def _enter(self, layer: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
        """What enters a layer has a gradient from all parts; dropout in it is drawn a part."""
        if layer.training:
            seed = int(torch.randint(2**62, ()))  # the same on all processes
            self.forks.append(torch.random.fork_rng())
            self.forks[-1].__enter__()
            torch.manual_seed(seed + self.rank)
        entering: dict[int, Tensor] = {}
        for value in given:
            if isinstance(value, Tensor) and id(value) not in entering:
                entering[id(value)] = _Entering.apply(value, self.group)
        return tuple(entering.get(id(value), value) for value in given)

    def _leave(self, layer: nn.Module, *_: Any) -> None:
        if layer.training:
            self.forks.pop().__exit__(None, None, None)


class _Entering(torch.autograd.Function):
    """The same tensor; its gradient is the sum of those of all parts."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, group: Any) -> Tensor:
        ctx.group = group
        return states.view_as(states)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        gradient = gradient.contiguous().clone()
        distributed.all_reduce(gradient, group=ctx.group)
        return gradient, None


class _Sum(torch.autograd.Function):
    """The sum of what all parts give; its gradient is that of each."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, group: Any) -> Tensor:
        total = states.contiguous().clone()
        distributed.all_reduce(total, group=group)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None


def _summed(layer: nn.Linear, group: Any, states: Tensor) -> Tensor:
    """What a layer gives whose columns are shared out: the bias is added once."""
    total: Tensor = _Sum.apply(functional.linear(states, layer.weight), group)
    return total if layer.bias is None else total + layer.bias


def _check(model: Model, count: int) -> None:
    """Raises TrainingError for what the plan does not cut."""
    for number, block in enumerate(model.blocks):
        layers = {"attention": block.attention, "feed_forward": block.feed_forward}
        layers |= {"cross_attention": block.cross_attention}
        for name, layer in layers.items():
            if layer is not None and type(layer) not in _SUMMED:
                raise TrainingError(
                    f"devices.tensor is {count}: blocks.{number}.{name} ({type(layer).__name__}) is "
                    "of a kind that is not cut; set it to 1"
                )
        for name, module in block.named_modules():
            if message := _refusal(module, count):
                place = f"blocks.{number}.{name}" if name else f"blocks.{number}"
                raise TrainingError(f"devices.tensor is {count}: {place} {message}; set it to 1")


def _refusal(module: nn.Module, count: int) -> str | None:
    """Why a module cannot be cut, if so."""
    if isinstance(module, HeadsNorm):
        return "norms heads, which layers that are cut do not do here"
    if isinstance(module, (Attention, FeedForward, ScoreTerms)) and type(module) not in _CUT:
        return f"({type(module).__name__}) is of a kind that is not cut"
    if isinstance(module, Attention):
        for name in ("query", "key"):
            heads = getattr(module, name).out_features // module.head
            if heads % count:
                return f"has {heads} heads in {name}, which {count} processes cannot share"
    if isinstance(module, FeedForward) and module.up.out_features % count:
        return f"has {module.up.out_features} inner features, which {count} processes cannot share"
    return None

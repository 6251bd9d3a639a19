"""What the parity tests share: weights that matter, conversion, and comparison of outputs and of
every gradient.
"""

import itertools
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from engine import Model, load_model
from engine.checkpoint.names import Slot, axis_sizes, slots_of
from engine.parameters.ties import shared_names
from engine.spec.axes import Layout

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}


def converted(
    theirs: Any, head: str | None = "default", dtype: torch.dtype = torch.float32, **options: Any
) -> Model:
    """Our model with the weights of one of transformers', through a folder that `save_pretrained`
    writes.
    """
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs.save_pretrained(folder)
        ours = load_model(folder, head=head, dtype=dtype, **options)
    report = ours.load_report
    assert not report.initialised and not report.other_shape, str(report)
    if head == "default":
        assert not report.left_over, str(report)
    return ours


def assert_close_relative(
    ours: Any, theirs: Any, what: str = "", tolerance: float | None = None
) -> None:
    """Assert the same shape and values; sequences pairwise.

    `tolerance` is a part of the largest magnitude in `theirs`: 1e-5 in float32, 1e-10 in float64,
    unless given.
    """
    if isinstance(theirs, list | tuple):
        assert ours is not None and len(ours) == len(theirs), (
            f"{what}: {0 if ours is None else len(ours)} parts"
        )
        for index, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            assert_close_relative(one, other, f"{what}[{index}]", tolerance)
        return
    assert ours is not None, f"{what} is missing"
    assert ours.shape == theirs.shape, (
        f"{what}: shape {tuple(ours.shape)}, published {tuple(theirs.shape)}"
    )
    if not theirs.numel():
        return
    assert bool(theirs.detach().isfinite().all()), f"{what}: the published numbers are not finite"
    ours, theirs = ours.detach(), theirs.detach()
    tolerance = TOLERANCE[theirs.dtype] if tolerance is None else tolerance
    worst, largest = float((ours - theirs).abs().max()), float(theirs.abs().max())
    assert worst <= tolerance * largest, (
        f"{what}: off by {worst:.3g} of {largest:.3g} ({worst / (largest or 1):.2g})"
    )


def their_gradients(theirs: nn.Module) -> dict[str, Tensor | None]:
    """The gradient of every parameter of a model by each of its names, tied ones under all of them."""
    return {
        name: parameter.grad for name, parameter in theirs.named_parameters(remove_duplicate=False)
    }


def assert_same_gradients(
    ours: Model,
    theirs: Mapping[str, Tensor | None],
    tolerance: float | None = None,
    layout: Layout | None = None,
) -> None:
    """Assert that each parameter of ours has the gradient that the published one has, through the
    weight map.

    `theirs` holds gradients by published name; None stands for no gradient, which equals zeros.
    Every name must be met. A gradient that is nothing but rounding beside the largest of all (a
    key's bias) must be as small here.
    """
    layout = layout or ours.spec.checkpoint.huggingface
    assert layout is not None
    given = [gradient for gradient in theirs.values() if gradient is not None]
    floor = (
        0.1
        * (tolerance or TOLERANCE[given[0].dtype])
        * max(float(gradient.abs().max()) for gradient in given)
    )
    parameters = dict(ours.named_parameters(remove_duplicate=False))
    first = {name: names[0] for names in shared_names(ours).values() for name in names}
    compared, met = set(), set()
    for slot, name in _slots(ours, theirs, layout):
        met |= set(_of_experts(name, theirs))
        gradient = _gradient(name, theirs)
        members = (
            dict.fromkeys(slot.ours)
            if gradient is None
            else slot.read(gradient, axis_sizes(ours.spec))
        )
        for member, expected in members.items():
            found = parameters[member].grad
            found = torch.zeros_like(parameters[member]) if found is None else found
            expected = torch.zeros_like(found) if expected is None else expected
            compared.add(first[member])
            if float(expected.abs().max()) <= floor:
                assert float(found.abs().max()) <= floor, (
                    f"gradient of {member}: {found.abs().max()}, published none"
                )
            else:
                assert_close_relative(found, expected, f"gradient of {member}", tolerance)
    learning = {first[name] for name, weight in parameters.items() if weight.requires_grad}
    assert learning <= compared, f"never compared: {sorted(learning - compared)}"
    assert met == set(theirs), (
        f"published gradients that nothing here has: {sorted(set(theirs) - met)}"
    )


def _slots(ours: Model, theirs: Mapping[str, Any], layout: Layout) -> Iterator[tuple[Slot, str]]:
    """Every slot of our model with each published name under which its tensor is found."""
    prefix = (
        f"{layout.prefix}."
        if layout.prefix and any(name.startswith(f"{layout.prefix}.") for name in theirs)
        else ""
    )
    names = [name for name, _ in ours.named_parameters(remove_duplicate=False)]
    owners = {name: tied[0] for tied in shared_names(ours).values() for name in tied}
    for slot in slots_of(names, ours.spec.heads.default, layout, prefix, owners=owners):
        aliases = [a for a, name in layout.aliases.items() if slot.theirs in (name, prefix + name)]
        for name in (slot.theirs, *aliases, *(prefix + alias for alias in aliases if prefix)):
            if _of_experts(name, theirs):
                yield slot, name


def _of_experts(name: str, theirs: Mapping[str, Any]) -> list[str]:
    """The published name itself, or with `*` those of each expert."""
    if "*" not in name:
        return [name] if name in theirs else []
    numbered = itertools.takewhile(
        theirs.__contains__, (name.replace("*", str(number)) for number in itertools.count())
    )
    return list(numbered)


def _gradient(name: str, theirs: Mapping[str, Tensor | None]) -> Tensor | None:
    """The published gradient of that name; those of experts in one, zeros for one without tokens."""
    parts = [theirs[one] for one in _of_experts(name, theirs)]
    given = [part for part in parts if part is not None]
    if "*" not in name or not given:
        return parts[0]
    return torch.stack([torch.zeros_like(given[0]) if part is None else part for part in parts])


def compare_gradients(
    ours: Model, our_scalar: Tensor, theirs: nn.Module, their_scalar: Tensor
) -> None:
    """Assert that two scalars agree, and their gradients in every parameter of both models."""
    assert_close_relative(our_scalar, their_scalar, "scalar")
    for model, scalar in ((ours, our_scalar), (theirs, their_scalar)):
        model.zero_grad(set_to_none=True)
        torch.autograd.backward(scalar)
    assert_same_gradients(ours, their_gradients(theirs))


def smooth_dropout(
    values: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    """Stands in for dropout where its places are compared: bends values instead of drawing,
    whatever their layout.
    """
    return values + p * torch.sin(2 * values) if training else values


def drop_alike(
    patch: pytest.MonkeyPatch, stand_in: Callable[..., Tensor] = torch.nn.functional.dropout
) -> None:
    """Let both sides drop through one function: ours draws its own cheaper bits otherwise."""

    def ours(values: Tensor, rate: float) -> Tensor:
        return stand_in(values, rate, True) if rate > 0 else values

    patch.setattr(torch.nn.functional, "dropout", stand_in)
    for module in ("kernels.dropout", "kernels.attention", "network.positions.relative"):
        patch.setattr(f"engine.{module}.dropout", ours)


def weighted(states: Tensor, seed: int = 0) -> Tensor:
    """A scalar that depends on every state with a weight of its own."""
    generator = torch.Generator().manual_seed(seed)
    return (states * torch.randn(states.shape, generator=generator).to(states.dtype)).sum()

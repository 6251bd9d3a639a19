"""What a law compares, and what it says when it is broken."""

from typing import Any


class Broken(AssertionError):
    """A law does not hold; the message says where, and by how much."""


def claim(holds: bool, otherwise: str) -> None:
    """Raise Broken with the words `otherwise` unless `holds`."""
    if not holds:
        raise Broken(otherwise)


def agree(ours: Any, expected: Any, what: str = "", tolerance: float = 1e-6) -> None:
    """Raise Broken unless both have one shape and are finite and equal up to `tolerance` of the
    largest magnitude; sequences pairwise.
    """
    if isinstance(expected, list | tuple):
        claim(len(ours) == len(expected), f"{what}: {len(ours)} parts, expected {len(expected)}")
        for index, (one, other) in enumerate(zip(ours, expected, strict=True)):
            agree(one, other, f"{what}[{index}]", tolerance)
        return
    shapes = tuple(ours.shape), tuple(expected.shape)
    claim(shapes[0] == shapes[1], f"{what}: shape {shapes[0]}, expected {shapes[1]}")
    ours, expected = ours.detach(), expected.detach()
    claim(bool(expected.isfinite().all()), f"{what}: not finite")
    if expected.numel():
        worst, largest = float((ours - expected).abs().max()), float(expected.abs().max())
        claim(worst <= tolerance * largest, f"{what}: off by {worst:.3g} of {largest:.3g}")

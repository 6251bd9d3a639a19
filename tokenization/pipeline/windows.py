"""Truncation: which tokens of one text or two stay, and what overflows."""

import warnings
from dataclasses import dataclass, field

from tokenization.errors import TokenizationError
from tokenization.options import Side
from tokenization.pipeline.request import Request


@dataclass(frozen=True)
class Cut:
    """The parts that stay of the first and second text, and the overflowing part of text
    `overflow_text`.
    """

    first: slice
    second: slice
    overflow_text: int = 0
    overflow: slice = field(default_factory=lambda: slice(0, 0))


def truncate(lengths: tuple[int, int | None], excess: int, request: Request) -> Cut:
    """Take `excess` tokens away as `request.truncation` says.

    `lengths` counts the tokens of both texts (None: there is no second). Warns and takes nothing
    where the text that should shrink is too short, as transformers' slow classes do.
    """
    first, second = lengths
    whole = Cut(slice(0, first), slice(0, second or 0))
    if excess <= 0 or request.truncation == "do_not_truncate":
        return whole
    side = request.truncation_side
    if request.truncation == "longest_first" and second is not None:
        from_first, from_second = share(first, second, excess)
        return Cut(_keep(first, from_first, side), _keep(second, from_second, side))
    which = 1 if request.truncation == "only_second" else 0
    length = lengths[which]
    if length is None:
        return whole
    if length <= excess:
        warnings.warn(
            f"cannot take {excess} tokens from the {('first', 'second')[which]} text, which has {length}: it is left "
            f"as it is. Use another truncation than {request.truncation!r}, or a larger max_length",
            stacklevel=2,
        )
        return whole
    kept = _keep(length, excess, side)
    window = min(length, request.stride + excess)
    lost = slice(0, window) if side == "left" else slice(length - window, length)
    return Cut(whole.first, kept, 1, lost) if which else Cut(kept, whole.second, 0, lost)


def _keep(length: int, removed: int, side: Side) -> slice:
    return (
        slice(min(removed, length), length)
        if side == "left"
        else slice(0, max(length - removed, 0))
    )


def share(first: int, second: int, excess: int) -> tuple[int, int]:
    """How many tokens the longest-first rule takes from each text: the longer one gives until both
    are equal.
    """
    alone = min(abs(second - first), excess)
    both = excess - alone
    if first > second:
        return alone + both // 2, both - both // 2
    return both // 2, alone + both - both // 2


def rows(lengths: tuple[int, int | None], excess: int, request: Request) -> list[Cut]:
    """The windows of a text that is too long, each overlapping the one before by `stride` tokens.

    Raises TokenizationError where a pair is to be cut on both sides at once, or the stride leaves
    no way forward.
    """
    cut = truncate(lengths, excess, request)
    if cut.overflow.stop == cut.overflow.start:
        return [cut]
    length = lengths[cut.overflow_text] or 0
    size = length - excess
    if request.stride >= size:
        raise TokenizationError(
            f"stride={request.stride} must be smaller than the {size} tokens that fit in a window"
        )
    windows = []
    for start in range(0, length, size - request.stride):
        stop = min(start + size, length)
        windows.append(
            slice(start, stop)
            if request.truncation_side == "right"
            else slice(length - stop, length - start)
        )
        if stop == length:
            break
    return [
        Cut(cut.first, window) if cut.overflow_text else Cut(window, cut.second)
        for window in windows
    ]

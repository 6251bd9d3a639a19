"""Truncation: which tokens of one text or two stay, and what overflows."""

import warnings
from dataclasses import dataclass, field

from tokenization.errors import TokenizationError
from tokenization.options import Side
from tokenization.pipeline.request import Truncation


@dataclass(frozen=True)
class Cut:
    """The parts that stay of the first and second text, and the overflowing part of text
    `overflow_text`.
    """

    first: slice
    second: slice
    overflow_text: int = 0
    overflow: slice = field(default_factory=lambda: slice(0, 0))


def truncate(lengths: tuple[int, int | None], excess: int, how: Truncation) -> Cut:
    """Take `excess` tokens away.

    `lengths` counts the tokens of both texts (None: there is no second). Warns and takes nothing
    where the text that should shrink is too short, as transformers' slow classes do.
    """
    first, second = lengths
    whole = Cut(slice(0, first), slice(0, second or 0))
    if excess <= 0 or how.strategy == "do_not_truncate":
        return whole
    if how.strategy == "longest_first" and second is not None:
        from_first, from_second = share(first, second, excess)
        return Cut(_keep(first, from_first, how.side), _keep(second, from_second, how.side))
    which = int(how.strategy == "only_second")
    length = lengths[which]
    if length is None:
        return whole
    if length <= excess:
        warnings.warn(
            f"cannot take {excess} tokens from the {('first', 'second')[which]} text, which has "
            f"{length}: it is left as it is. Use another truncation than {how.strategy!r}, or a "
            "larger max_length",
            stacklevel=2,
        )
        return whole
    kept = _keep(length, excess, how.side)
    window = min(length, how.stride + excess)
    lost = slice(length - window, length)
    if how.side == "left":
        lost = slice(0, window)
    if which == 1:
        return Cut(whole.first, kept, 1, lost)
    return Cut(kept, whole.second, 0, lost)


def _keep(length: int, removed: int, side: Side) -> slice:
    if side == "left":
        return slice(min(removed, length), length)
    return slice(0, max(length - removed, 0))


def share(first: int, second: int, excess: int) -> tuple[int, int]:
    """How many tokens the longest-first rule takes from each text: the longer one gives until both
    are equal.
    """
    alone = min(abs(second - first), excess)
    both = excess - alone
    if first > second:
        return alone + both // 2, both - both // 2
    return both // 2, alone + both - both // 2


def rows(lengths: tuple[int, int | None], excess: int, how: Truncation) -> list[Cut]:
    """The windows of a text that is too long, each overlapping the one before by `stride` tokens.

    Raises TokenizationError where a pair is to be cut on both sides at once, or the stride leaves
    no way forward.
    """
    cut = truncate(lengths, excess, how)
    if cut.overflow.stop == cut.overflow.start:
        return [cut]
    length = lengths[cut.overflow_text] or 0
    size = length - excess
    if how.stride >= size:
        raise TokenizationError(
            f"stride={how.stride} must be smaller than the {size} tokens that fit in a window"
        )
    windows = []
    for start in range(0, length, size - how.stride):
        stop = min(start + size, length)
        if how.side == "right":
            windows.append(slice(start, stop))
        else:
            windows.append(slice(length - stop, length - start))
        if stop == length:
            break
    if cut.overflow_text == 1:
        return [Cut(cut.first, window) for window in windows]
    return [Cut(window, cut.second) for window in windows]

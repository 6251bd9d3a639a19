"""Every measured threshold of the kernels, with what was measured."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Tuning:
    """Sizes at which the kernels change their way; answers differ by rounding only."""

    # Up to so many rows in bfloat16, torch's product with 8-bit weights is faster than dequantizing.
    int8_product_rows: int = 4
    # Entries of an 8-bit weight that are dequantized at a time: they stay in the second-level cache.
    dequantized_entries: int = 2**21
    # Entries that are quantized at a time, in one buffer: no holes are left between what stays in memory.
    quantized_entries: int = 2**16
    # Scores up to so many bytes are kept for the backward pass.
    kept_score_bytes: int = 2**26
    # Bytes of scores at a time where they are not kept: fastest among 2 … 64 MiB.
    score_slice_bytes: int = 2**23
    # A slice of the vocabulary has at least so many tokens: narrower products are slow.
    score_slice_tokens: int = 256
    # Buffers from this size on go back to the system at once (see `allocation`): with buffers of up to
    # 8 MiB kept, a training step on 2,048 tokens holds twice as much.
    returned_buffer_bytes: int = 2**20
    # Keys of relative distances kept beside a reordered weight: those of 1,024 tokens, both ways.
    kept_distances: int = 2_048


_current = Tuning()


def tuning() -> Tuning:
    """The thresholds in use."""
    return _current


@contextmanager
def tuned(**changes: Any) -> Iterator[Tuning]:
    """Other thresholds for a while, for tests and measurements; not for one thread alone."""
    global _current
    before, _current = _current, replace(_current, **changes)
    try:
        yield _current
    finally:
        _current = before

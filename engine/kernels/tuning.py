"""Every measured threshold of the kernels, with what was measured."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import torch


@dataclass(frozen=True)
class Tuning:
    """Sizes at which the kernels change their way; answers differ by rounding only.

    Values are chosen by instruction set and not by racing kernels against each other at the start,
    so that a program gives the same numbers each time that it runs on a machine.
    """

    # Whether oneDNN's product is used: it reads plain weights, and with two threads and more takes
    # a tenth to a half less time than torch's default on x86-64, with AVX2 for few rows only.
    # Elsewhere nothing was measured.
    onednn: bool = False
    # Its calls cost 20 µs more, so that float32 products below so many multiplications go by
    # torch's own.
    onednn_multiplications: int = 2**19
    # The same with one thread, where both take as long for a row (AVX2: 228 and 232 µs for 1024 x
    # 1024; with two threads 239 and 154). AVX-512, one row: 512 x 512 takes 285 µs by oneDNN and 180
    # by torch, 1408 x 512 1,438 and 1,088, 32000 x 512 17,960 and 18,502; from 32 rows on as long.
    onednn_multiplications_with_one_thread: int = 2**19
    # From more rows than this on, float32 products go by torch's own (0: never). AVX2, 2 threads,
    # processor time of oneDNN's over torch's: 64 rows 0.81, 128 rows 0.75 to 0.86, 256 rows 0.86
    # to 1.15, 512 rows 1.01 to 1.05, 768 rows 1.10 to 1.16, 2,048 rows 1.15 to 1.21; with
    # prepacked weights within 12 % of that.
    onednn_rows: int = 0
    # The same with one thread. AVX2: 32 rows 0.89, 64 rows 1.12, 256 rows 1.07, 768 rows 1.16.
    onednn_rows_with_one_thread: int = 0
    # Whether oneDNN's exact GELU costs less within the product than after it: with AVX-512 it is
    # nearly free; with AVX2 it takes 90 ns an entry where torch's own takes 1 ns.
    fused_gelu: bool = False

    # Up to so many rows in bfloat16, torch's product with 8-bit weights is faster than
    # dequantizing.
    int8_product_rows: int = 4
    # Entries of an 8-bit weight that are dequantized at a time: they stay in the second-level
    # cache.
    dequantized_entries: int = 2**21
    # Entries that are quantized at a time, in one buffer: no holes are left between what stays in
    # memory.
    quantized_entries: int = 2**16
    # Scores up to so many bytes are kept for the backward pass.
    kept_score_bytes: int = 2**26
    # Bytes of scores at a time where they are not kept: fastest among 2 … 64 MiB.
    score_slice_bytes: int = 2**23
    # A slice of the vocabulary has at least so many tokens: narrower products are slow.
    score_slice_tokens: int = 256
    # Buffers from this size on go back to the system at once (see `allocation`): with buffers of up
    # to 8 MiB kept, a training step on 2,048 tokens holds twice as much.
    returned_buffer_bytes: int = 2**20
    # Rows of a tile of scores; measured fastest among 32 … 512 for relative attention over 512
    # tokens.
    tile_rows: int = 128
    # Bytes of scores or masks that are made for all rows at once.
    scores_at_once_bytes: int = 2**26
    # Keys of relative distances kept beside a reordered weight: those of 1,024 tokens, both ways.
    kept_distances: int = 2_048


_BY_INSTRUCTION_SET = {
    "avx512": Tuning(onednn=True, onednn_multiplications_with_one_thread=2**22, fused_gelu=True),
    "avx2": Tuning(
        onednn=True,
        onednn_multiplications=2**18,
        onednn_multiplications_with_one_thread=2**22,
        onednn_rows=256,
        onednn_rows_with_one_thread=64,
    ),
    "other": Tuning(),
}


@cache
def instruction_set() -> str:
    """avx512, avx2 or other: what torch's kernels and oneDNN's may both use on this processor."""
    known = torch.backends.cpu.get_cpu_capability()
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA") or os.environ.get("DNNL_MAX_CPU_ISA") or "ALL"
    if known.startswith(("AVX512", "AVX10")):
        limited = limit.upper().startswith(("SSE", "AVX2")) or limit.upper() == "AVX"
        return "avx2" if limited else "avx512"
    return "avx2" if known == "AVX2" else "other"


_current = _BY_INSTRUCTION_SET[instruction_set()]


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

"""Rules of sizes, norms and the order of a block."""

from collections.abc import Iterator

from engine.spec.intact import Problem
from engine.spec.sections import Sections


def dims(spec: Sections) -> Iterator[Problem]:
    dims = spec.dims
    if dims.head is None and dims.model % dims.heads:
        yield (
            "dims.heads",
            f"dims.model {dims.model} is not a multiple of dims.heads {dims.heads}: say dims.head",
        )
    if dims.kv_heads and dims.heads % dims.kv_heads:
        yield (
            "dims.kv_heads",
            f"dims.heads {dims.heads} is not a multiple of dims.kv_heads {dims.kv_heads}",
        )


def block(spec: Sections) -> Iterator[Problem]:
    if spec.block.order == "parallel" and spec.norm.placement == "post":
        yield "norm.placement", "a parallel residual needs norm.placement pre"
    if spec.block.shared_norm and spec.block.order != "parallel":
        yield "block.shared_norm", "one norm for both halves needs block.order parallel"
    if spec.block.order == "parallel" and spec.attention.cross:
        yield "attention.cross", "cross-attention needs block.order sequential"
    if not spec.norm.query and spec.norm.placement == "post":
        yield "norm.query", "unnormed queries need norm.placement pre"
    if spec.norm.kind == "rms" and spec.norm.bias:
        yield "norm.bias", "an rms norm has no bias: set norm.bias false"

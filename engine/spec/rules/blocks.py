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
    yield from _norms(spec)
    if spec.block.shared_norm and spec.block.order != "parallel":
        yield "block.shared_norm", "one norm for both halves needs block.order parallel"
    if spec.block.order == "parallel" and spec.attention.cross:
        yield "attention.cross", "cross-attention needs block.order sequential"


def _norms(spec: Sections) -> Iterator[Problem]:
    norm = spec.norm
    slots = norm.slots
    if spec.block.order == "parallel" and "after" in slots:
        yield "norm.placement", "a parallel residual needs norm.placement pre"
    shared = spec.block.shared_norm and spec.block.order == "parallel"
    if shared and not {"before", "after"} & slots:
        yield "norm.placement", "one norm for both halves stands before them: use pre"
    if shared and not norm.attention:
        yield "norm.attention", "one norm for both halves is that of attention: leave it true"
    if {"before", "after"} <= slots:
        yield "norm.placement", "a norm stands before a half or after its sum, not both"
    if not isinstance(norm.placement, str) and len(slots) != len(norm.placement):
        yield "norm.placement", f"each place stands once, found {list(norm.placement)}"
    if not norm.query and "before" not in slots:
        yield "norm.query", "unnormed queries need norm.placement pre"
    if norm.kind == "rms" and norm.bias:
        yield "norm.bias", "an rms norm has no bias: set norm.bias false"
    if not norm.weight and norm.bias and norm.kind == "layer":
        yield "norm.bias", "a norm without weight has no bias either: set norm.bias false"
    if not norm.weight and norm.offset:
        yield "norm.offset", "a norm without weight has nothing to add it to: leave it out"


def experts(spec: Sections) -> Iterator[Problem]:
    """What is wrong with the experts of the feed-forward half."""
    experts = spec.ffn.experts
    if experts is None:
        return
    if experts.active > experts.count:
        yield (
            "ffn.experts.active",
            f"{experts.active} of {experts.count} experts (ffn.experts.count)",
        )
    groups = experts.groups
    if groups is None:
        return
    here = "ffn.experts.groups"
    if experts.count % groups.count:
        yield (
            f"{here}.count",
            f"{experts.count} experts (ffn.experts.count) are no {groups.count} groups of one size",
        )
        return
    size = experts.count // groups.count
    if groups.active > groups.count:
        yield f"{here}.active", f"{groups.active} of {groups.count} groups ({here}.count)"
    if groups.active * size < experts.active:
        yield (
            f"{here}.active",
            f"{groups.active} groups of {size} hold fewer than {experts.active} experts "
            "(ffn.experts.active)",
        )
    if groups.score == "best_two" and size < 2:
        yield f"{here}.score", "groups of one expert have no best two: use best"

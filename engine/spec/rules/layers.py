"""Rules of layers that differ."""

from collections.abc import Iterator, Mapping
from typing import Any

from engine.spec import axes
from engine.spec.intact import Problem
from engine.spec.sections import Sections

BLOCK_AXES = ("attention", "position", "norm", "ffn", "block", "dropout")
# Fields of these that concern the whole call: what is padding, and what memory holds.
OF_THE_NETWORK = frozenset(
    [
        "attention.mask",
        "attention.same_length",
        "attention.infer_padding",
        "attention.cross",
        "attention.cross_head_mask",
        "block.layer_drop",
        "block.zero_padding",
        "dropout.embeddings",
        "dropout.positions",
        "dropout.output",
    ]
)
# Positions that attention sees, so that each block may have its own.
SEEN_BY_ATTENTION = ("none", "rotary", *axes.DISTANCE_KINDS)


def layers(spec: Sections) -> Iterator[Problem]:
    """What is wrong with the layers of a spec, but for the kinds themselves."""
    axis = spec.layers
    if axis is None:
        return
    for name in dict.fromkeys(axis.pattern):
        if name not in axis.kinds:
            yield (
                "layers.pattern",
                f"no kind '{name}' among layers.kinds: {', '.join(axis.kinds)}",
            )
    if len(axis.pattern) > spec.dims.layers:
        yield (
            "layers.pattern",
            f"{len(axis.pattern)} names for {spec.dims.layers} layers (dims.layers)",
        )
    if spec.attention.query_bias == "shared":
        yield "attention.query_bias", "vectors that all layers share need layers of one kind"
    if isinstance(spec.position, axes.DistanceBiasPosition) and spec.position.shared:
        yield "position.shared", "numbers that all layers share need layers of one kind"
    for kind, changes in axis.kinds.items():
        yield from _foreign_fields(spec, f"layers.kinds.{kind}", changes)


def _foreign_fields(spec: Sections, here: str, changes: Mapping[str, Any]) -> Iterator[Problem]:
    for section, fields in changes.items():
        if section not in BLOCK_AXES:
            known = ", ".join(BLOCK_AXES)
            yield f"{here}.{section}", f"a kind of layer has sections of its own among {known}"
        for field in fields if isinstance(fields, Mapping) else ():
            if f"{section}.{field}" in OF_THE_NETWORK:
                yield (
                    f"{here}.{section}.{field}",
                    "this field is the same in all layers: say it of the network",
                )
    if "position" not in changes:
        return
    position = changes["position"]
    if not isinstance(position, Mapping):
        yield f"{here}.position", "should be a section of keys"
        return
    kinds = {"position.kind": spec.position.kind}
    if "kind" in position:
        kinds[f"{here}.position.kind"] = position["kind"]
    for where, kind in kinds.items():
        if kind not in SEEN_BY_ATTENTION:
            yield (
                where,
                f"{kind} positions are no part of a block: layers may differ in "
                f"{', '.join(SEEN_BY_ATTENTION)}",
            )

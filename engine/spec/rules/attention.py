"""Rules of scores, masks and streams."""

from collections.abc import Iterator

from engine.spec import axes
from engine.spec.intact import Problem
from engine.spec.sections import Sections


def attention(spec: Sections) -> Iterator[Problem]:
    attention = spec.attention
    if len(set(attention.mask)) != len(attention.mask):
        yield "attention.mask", f"each rule stands once, found {list(attention.mask)}"
    if "window" in attention.mask and attention.window is None:
        yield (
            "attention.window",
            "the mask has the rule 'window', which needs a number here: or leave the rule out",
        )
    yield from _same_length(spec)
    if attention.query_bias != "none" and "segment" not in attention.score:
        if spec.position.kind not in axes.DISTANCE_KINDS:
            yield "attention.query_bias", "query_bias needs a score term besides content"
    if "segment" in attention.score and spec.embeddings.tables.segments:
        yield (
            "embeddings.tables.segments",
            "token types are either embedded or a score term, not both",
        )
    yield from _inferred_padding(spec)
    if spec.memory.kind == "keys_values" and "causal" not in attention.mask:
        yield "memory.kind", "keys and values stay valid only under the mask rule causal"


def _same_length(spec: Sections) -> Iterator[Problem]:
    attention = spec.attention
    if "same_length" not in attention.mask:
        return
    if "causal" not in attention.mask:
        yield "attention.mask", "same_length needs the rule causal"
    if spec.memory.kind != "recurrent":
        yield (
            "attention.mask",
            "same_length looks as far back as memory: it needs memory.kind recurrent",
        )
    elif attention.same_length == "memory" and not spec.memory.length:
        yield "memory.length", "same_length: memory needs a memory.length of at least 1"


def _inferred_padding(spec: Sections) -> Iterator[Problem]:
    attention = spec.attention
    if attention.infer_padding == "none":
        return
    if spec.embeddings.tables.tokens.padding is None:
        yield "attention.infer_padding", "inferring padding needs embeddings.tables.tokens.padding"
    elif "padding" not in attention.mask and not spec.block.zero_padding:
        yield (
            "attention.infer_padding",
            "inferred padding needs the mask rule padding or block.zero_padding",
        )


def head_norm(spec: Sections) -> Iterator[Problem]:
    norm = spec.attention.head_norm
    if norm is None:
        return
    if norm.over == "all" and norm.own:
        yield "attention.head_norm.own", "a norm over all heads has one weight: leave own out"
    if norm.bias and not norm.weight:
        yield "attention.head_norm.bias", "a norm without weight has no bias either"
    if norm.when == "after_position" and spec.position.kind != "rotary":
        yield "attention.head_norm.when", "after_position needs position.kind rotary"


def streams(spec: Sections) -> Iterator[Problem]:
    two = "permutation" in spec.attention.mask
    if two and spec.position.kind not in ("relative", "rotary"):
        yield (
            "position.kind",
            "the mask rule permutation needs positions that attention sees: relative or rotary",
        )
    if spec.streams is not None and two != (spec.streams.kind == "two"):
        wrong = "has" if two else "lacks"
        yield (
            "streams.kind",
            f"{spec.streams.kind} contradicts attention.mask, which {wrong} the rule permutation: "
            "leave streams out, the mask decides",
        )

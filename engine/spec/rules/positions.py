"""Rules of positions, one function a kind."""

from collections.abc import Iterator

from engine.spec import axes
from engine.spec.intact import Problem
from engine.spec.rules.scaling import scaling
from engine.spec.sections import Sections


def position(spec: Sections) -> Iterator[Problem]:
    """The rules of every position, and those of its kind."""
    kind, score = spec.position.kind, spec.attention.score
    if "position" in score and kind not in axes.DISTANCE_KINDS:
        yield (
            "attention.score",
            f"position.kind {kind} has no distances for the score term 'position': leave "
            "the term out, it follows from position.kind",
        )
    if "content" not in score:
        yield "attention.score", "the score term 'content' is always needed"
    if len(set(score)) != len(score):
        yield "attention.score", f"each score term stands once, found {list(score)}"
    yield from _learned(spec)
    yield from _sinusoid(spec)
    if kind == "relative" and spec.dims.model % 2:
        yield "dims.model", "relative positions need an even dims.model"
    yield from _from_end(spec)
    yield from _distance_bias(spec)
    yield from _rotary(spec)
    yield from _counted(spec)


def _learned(spec: Sections) -> Iterator[Problem]:
    position, padding = spec.position, spec.embeddings.tables.tokens.padding
    if position.kind != "learned":
        return
    if position.start == "after_padding":
        if padding is None:
            yield "position.start", "after_padding needs embeddings.tables.tokens.padding"
        elif padding + 1 >= position.size:
            yield "position.size", f"{position.size} rows leave none behind that of the padding id"
    elif int(position.start) >= position.size:
        yield (
            "position.start",
            f"positions start at {position.start} but the table has {position.size} rows",
        )


def _sinusoid(spec: Sections) -> Iterator[Problem]:
    position = spec.position
    if position.kind != "sinusoid":
        return
    if position.stored and position.size is None:
        yield "position.size", "a stored sinusoid table needs a size"
    if position.size is not None and position.start >= position.size:
        yield (
            "position.start",
            f"positions start at {position.start} but position.size is {position.size}",
        )
    bottom = "embeddings.width" if spec.embeddings.width else "dims.model"
    width = spec.embeddings.width or spec.dims.model
    if width % 2:
        yield bottom, f"sinusoid positions need an even {bottom}"
    if position.basis == "tensor2tensor" and width < 4:
        yield bottom, f"position.basis tensor2tensor needs at least 4 as {bottom}"


def _from_end(spec: Sections) -> Iterator[Problem]:
    position = spec.position
    if position.kind != "from_end":
        return
    if position.table == "learned" and position.size is None:
        yield "position.size", "a learned table needs a size"
    if spec.memory.kind == "keys_values":
        yield (
            "memory.kind",
            "positions counted from the end change at each step: use memory.kind recurrent or none",
        )
    width = spec.embeddings.width or spec.dims.model
    if position.table == "sinusoid" and width != spec.dims.model:
        yield (
            "embeddings.width",
            "sinusoids from the end are added to tokens and to remembered states: leave width out",
        )
    if position.table == "sinusoid" and spec.dims.model % 2:
        yield "dims.model", "sinusoid positions need an even dims.model"


def _distance_bias(spec: Sections) -> Iterator[Problem]:
    position = spec.position
    if position.kind != "distance_bias":
        return
    if position.numbers == "slopes":
        if position.shared:
            yield "position.shared", "slopes are no parameters: there is nothing to share"
        return
    side = position.count // 2 if position.two_sided else position.count
    if side < 2 or (position.two_sided and position.count % 2):
        yield "position.count", f"{position.count} buckets give no two for each side"
    elif position.max_distance <= side // 2:
        yield (
            "position.max_distance",
            f"{position.max_distance} leaves no distances to the wide buckets: it must be above "
            f"{side // 2}",
        )


def _rotary(spec: Sections) -> Iterator[Problem]:
    position = spec.position
    if position.kind != "rotary":
        return
    head = spec.dims.head or spec.dims.model // spec.dims.heads
    width = position.width or int(head * position.fraction)
    if position.width and position.fraction != 1.0:
        yield "position.width", "say position.width or position.fraction, not both"
    elif width % 2 or not 0 < width <= head:
        where = "position.width" if position.width else "position.fraction"
        yield where, f"rotary positions need an even width, found {width} of head {head}"
    yield from scaling(spec, position, width)


def _counted(spec: Sections) -> Iterator[Problem]:
    """Positions that step over padding need to know it."""
    position = spec.position
    if position.kind in ("learned", "sinusoid") and position.count in ("real", "ids"):
        if spec.embeddings.tables.tokens.padding is None:
            yield "position.count", "counting real tokens needs embeddings.tables.tokens.padding"

"""Weight maps in a spec: every name on our side is one that a network can have, every pattern one
that comes apart.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from typing import Any

from einops import EinopsError
from einops.parsing import ParsedExpression

from engine.errors import nearest

# Parameters of all networks, whatever their axes; a number stands as `*`.
_AFFINE = ("weight", "bias")
_SCORES = (
    "content_bias",
    "position_bias",
    "segment_bias",
    "segments",
    "table",
    "table_bias",
    "projection.weight",
)
PARAMETERS = frozenset(
    [
        "embeddings.tokens.tables.*",
        "embeddings.tokens.projections.*",
        "embeddings.tokens.projection_bias",
        "embeddings.segments",
        "embeddings.languages",
        "embeddings.query_start",
        "blocks.*.attention.sinks",
        "embeddings.positions.weight",
        "from_end.tables.*",
        *(f"embeddings.{name}.{last}" for name in ("norm", "projection") for last in _AFFINE),
        *(f"{name}.{last}" for name in ("final_norm", "pooler.dense") for last in _AFFINE),
        *(
            f"blocks.*.{name}{output}_norm.{last}"
            for name in ("attention", "cross_attention", "feed_forward")
            for output in ("", "_output")
            for last in _AFFINE
        ),
        *(
            f"blocks.*.feed_forward.{within}{name}.{last}"
            for within in ("", "experts.", "shared.")
            for name in ("up", "gate", "down")
            for last in _AFFINE
        ),
        *(f"blocks.*.feed_forward.router.{last}" for last in _AFFINE),
        "blocks.*.feed_forward.correction_bias",
        "blocks.*.feed_forward.shared_gate.weight",
        *(
            f"blocks.*.{attention}.{name}.{last}"
            for attention in ("attention", "cross_attention")
            for name in ("query", "key", "value", "output")
            for last in _AFFINE
        ),
        *(
            f"blocks.*.attention.{name}_norm.{last}"
            for name in ("query", "key")
            for last in _AFFINE
        ),
        *(
            f"blocks.*.{name}.scores.{last}"
            for name in ("attention", "cross_attention")
            for last in _SCORES
        ),
    ]
)
# Axis letters that have a size of their own: see engine.checkpoint.names.axis_sizes.
LETTERS = frozenset("dhgqkfvce")
GROUP = re.compile(r"\(([^)]*)\)")
# The number of a layer in a name of theirs, such as 2*+1.
STAR = re.compile(r"((?<![^.])\d+)?\*([+-]\d+)?")
# Of these theirs may have a tensor for each expert, or head.
ONE_EACH = re.compile(r"\.feed_forward\.experts|\.attention\.(query|key)_norm")
Path = tuple[str, ...]


def map_problems(data: Any, heads: Collection[str]) -> Iterator[tuple[Path, str]]:
    """What fits nothing in the weight maps of a spec's plain data, by path; `heads` are the names
    of registered heads.
    """
    checkpoint = data.get("checkpoint") if isinstance(data, Mapping) else None
    for layout, section in checkpoint.items() if isinstance(checkpoint, Mapping) else ():
        here = ("checkpoint", str(layout))
        if not isinstance(section, Mapping):
            continue
        names = section.get("names")
        for ours, theirs in names.items() if isinstance(names, Mapping) else ():
            entry = tuple(theirs) if isinstance(theirs, list | tuple) else theirs
            parts = entry if isinstance(entry, tuple) else (entry,)
            if isinstance(ours, str) and all(isinstance(part, str) for part in parts):
                yield from (
                    ((*here, "names", ours), text)
                    for text in _entry_problems(ours, entry, frozenset(heads))
                )
        architectures = section.get("architectures")
        for head in architectures if isinstance(architectures, Mapping) else ():
            if heads and head != "none" and head not in heads:
                yield (
                    (*here, "architectures", str(head)),
                    f"no head named '{head}'{nearest(str(head), [*heads, 'none'])}",
                )


@cache
def _entry_problems(ours: str, theirs: Any, heads: frozenset[str]) -> tuple[str, ...]:
    """What is wrong with one entry of a map."""
    fused = isinstance(theirs, tuple)
    if not (
        isinstance(theirs, str)
        or (fused and len(theirs) == 2 and all(isinstance(part, str) for part in theirs))
    ):
        return ()  # its type is told elsewhere
    name, pattern = theirs if fused else (theirs, None)
    group = GROUP.search(ours)
    members = group.group(1).split() if group else []
    sizes = [member.partition(":")[2] for member in members]
    problems = []
    if group and len(members) < 2:
        problems.append(
            f"'{group.group()}' should name the parts that lie in one tensor, such as (key value)"
        )
    for member in members or [""]:
        problems += _unknown(GROUP.sub(member.partition(":")[0], ours), heads)
    if any(sizes):
        problems += _size_problems(members)
    stars = len(STAR.findall(name))
    wanted = {ours.count("*"), ours.count("*") + bool(ONE_EACH.search(ours))}
    if stars not in wanted:
        problems.append(
            f"each * of ours stands for one of theirs: {ours.count('*')} here, {stars} in '{name}'"
        )
    if members and pattern is None:
        problems.append("several of ours in one tensor need a pattern, in which c counts them")
    if pattern is not None:
        problems += _pattern_problems(pattern, bool(members) and not any(sizes))
    return tuple(problems)


def _unknown(ours: str, heads: frozenset[str]) -> list[str]:
    first, _, rest = ours.partition(".")
    if first == "heads":
        head, _, below = rest.partition(".")
        if heads and head not in heads:
            return [f"no head named '{head}'{nearest(head, heads)}"]
        return (
            [] if below else [f"say which parameter or module of the head, such as {ours}.output"]
        )
    plain = re.sub(r"(?<=\.)\d+(?=\.|$)", "*", ours).removeprefix("encoder.")
    if plain in _modules() or plain in PARAMETERS:
        return []
    return [f"no network has a parameter or module '{ours}'{_near(plain)}"]


def _near(name: str) -> str:
    found = nearest(name, [*PARAMETERS, *_modules()])
    return found if "did you mean" in found else ""


@cache
def _modules() -> frozenset[str]:
    """Names of modules: what stands before a dot of a parameter's name."""
    return frozenset(
        name[: dot.start()]
        for name in PARAMETERS
        for dot in re.finditer(r"\.", name)
        if name[: dot.start()] != "blocks"
    )


def _size_problems(members: list[str]) -> list[str]:
    """Parts of unequal sizes, of which each is a letter or a number."""
    known = ", ".join(sorted(LETTERS - {"c"}))
    return [
        f"'{member}' should say how many steps of c are its own: {known} or a number, as in query:h"
        for member in members
        if not ((size := member.partition(":")[2]).isdecimal() or size in LETTERS - {"c"})
    ]


def with_numbers(pattern: str) -> tuple[str, dict[str, int]]:
    """A pattern whose numbers are letters of their own, and the sizes of these."""
    numbers = {int(text) for text in re.findall(r"\b\d+\b", pattern)} - {0, 1}
    letters = re.sub(r"\b(?:[2-9]|\d{2,})\b", r"n\g<0>", pattern)
    return letters, {f"n{number}": number for number in numbers}


def _pattern_problems(pattern: str, fused: bool) -> list[str]:
    lettered, numbers = with_numbers(pattern)
    sides = lettered.split("->")
    if len(sides) != 2:
        return [f"the pattern '{pattern}' should be 'their axes -> our axes'"]
    try:
        theirs, ours = (ParsedExpression(side.strip()) for side in sides)
    except EinopsError as error:
        return [f"the pattern '{pattern}' does not parse: {error}"]
    if theirs.identifiers != ours.identifiers:
        odd = ", ".join(sorted(map(str, theirs.identifiers ^ ours.identifiers)))
        return [f"the pattern '{pattern}' has {odd} on one side only"]
    problems = []
    for side in (theirs, ours):
        for axes in side.composition:
            unknown = [axis for axis in axes if str(axis) not in LETTERS | numbers.keys()]
            if len(axes) > 1 and len(unknown) > 1:
                letters = ", ".join(sorted(LETTERS))
                problems.append(
                    f"the pattern '{pattern}' leaves the sizes of {', '.join(unknown)} open; known: {letters}"
                )
    if fused and (not ours.composition or ours.composition[0] != ["c"]):
        problems.append(
            f"the pattern '{pattern}' should have c as the first of our axes, which counts the parts"
        )
    return problems

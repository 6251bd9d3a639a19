"""From rows to the tensors of a call."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.network.inputs import takes_mask
from engine.network.positions import Position
from engine.spec import Spec
from engine.training.data.rows import Row

Side = Literal["left", "right"]


@dataclass(frozen=True)
class Takes:
    """Which arguments of a call a network has an axis for."""

    attention_mask: bool = True
    token_type_ids: bool = True
    langs: bool = True
    position: int | None = None
    """The position id of a text's first token; None: the network takes none."""


def takes(spec: Spec, position: Position | None = None) -> Takes:
    """What the network of a spec takes; with `position` (a model's), rows that hold several texts
    count from the start in each.
    """
    tables = spec.embeddings.tables
    segments = tables.segments is not None or "segment" in spec.attention.score
    languages = tables.languages
    embedded = languages is not None and languages.embed and languages.count > 1
    first = None
    if position is not None and position.takes_ids:
        first = 0
        if getattr(position, "given_are_rows", False):
            first = int(getattr(position, "start", 0))
    return Takes(takes_mask(spec), segments, embedded, first)


def pad(
    rows: Sequence[Row],
    *,
    padding: int,
    side: Side = "right",
    padding_type: int = 0,
    arguments: Takes | None = None,
) -> dict[str, Tensor]:
    """Rows of one length as keyword arguments of a model's call.

    `input_ids`, and where rows have them `token_type_ids` (padded with `padding_type`) and `langs`
    (the language at the row's edge goes on), all (b i). `attention_mask` is (b i), absent where
    nothing is padded, or (b i i) where rows hold texts that may not see each other. `arguments`
    leaves out what a network does not take.
    """
    taken = arguments or Takes()
    length = max(1, *(len(row.ids) for row in rows))
    lengths = np.array([len(row.ids) for row in rows])
    call = {"input_ids": stack([row.ids for row in rows], padding, side, length)}
    types = [row.token_types for row in rows]
    if taken.token_type_ids and any(part is not None for part in types):
        call["token_type_ids"] = stack(_filled(types, lengths, 0), padding_type, side, length)
    languages = [row.languages for row in rows]
    if taken.langs and any(part is not None for part in languages):
        call["langs"] = _with_edges(_filled(languages, lengths, 0), side, length)
    apart = any(row.texts is not None for row in rows)
    if taken.attention_mask and apart:
        texts = stack(_filled([row.texts for row in rows], lengths, 0), -1, side, length)
        same = texts[:, :, None] == texts[:, None, :]
        call["attention_mask"] = (same & (texts >= 0)[:, None, :]).long()
    elif taken.attention_mask and int(lengths.min()) < length:
        ones = [np.ones(count, np.int64) for count in lengths]
        call["attention_mask"] = stack(ones, 0, side, length)
    if taken.position is not None and apart:
        counted = [_counted(row) + taken.position for row in rows]
        call["position_ids"] = stack(counted, taken.position, side, length)
    return call


def stack(
    parts: Sequence[NDArray[Any]], fill: int | bool, side: Side, length: int | None = None
) -> Tensor:
    """Arrays (i) as one tensor (b i), padded with `fill` to `length` or to the longest."""
    width = length
    if width is None:
        width = max((len(part) for part in parts), default=0)
    # A truth value makes a table of truth values, a number one of int64.
    table = np.full((len(parts), width), fill)
    for line, part in zip(table, parts, strict=True):
        start = 0
        if side == "left":
            start = width - len(part)
        line[start : start + len(part)] = part
    return torch.from_numpy(table)


def _filled(
    parts: Sequence[NDArray[Any] | None], lengths: NDArray[Any], value: int
) -> list[NDArray[Any]]:
    """The arrays, and one value all along where a row has none."""
    return [
        np.full(length, value) if part is None else part
        for part, length in zip(parts, lengths, strict=True)
    ]


def _with_edges(parts: Sequence[NDArray[Any]], side: Side, length: int) -> Tensor:
    """Arrays whose value at the edge goes on over the padding."""
    whole = []
    for part in parts:
        missing = length - len(part)
        wide = (0, missing)
        if side == "left":
            wide = (missing, 0)
        if not len(part):
            part, wide = np.zeros(length, np.int64), (0, 0)
        whole.append(np.pad(part, wide, mode="edge"))
    return stack(whole, 0, side, length)


def _counted(row: Row) -> NDArray[Any]:
    """The place of each token in its own text."""
    places = np.arange(len(row.ids))
    if row.texts is None:
        return places
    begins = np.concatenate(([0], np.flatnonzero(np.diff(row.texts)) + 1))
    return places - begins[row.texts]

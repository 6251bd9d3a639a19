"""How texts become rows: a row a text, packed, as streams, as pairs or in windows.

Rows are numbered, and each is a function of its number and the epoch: nothing is remembered
between two of them. Only arrays over texts are held, never their tokens.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import InputError
from engine.training.data.packing import PackedRows, Segments, StreamRows, TextStreamRows
from engine.training.data.rows import BY_TOKEN, Integers, Row, Rows
from engine.training.data.tokens import Tokens
from engine.training.recipe.sections import (
    Layout,
    LineLayout,
    PackedLayout,
    PairLayout,
    StreamLayout,
    WindowLayout,
)
from tokenization.pipeline.windows import share


def lay_out(
    layout: Layout,
    tokens: Tokens,
    *,
    seed: int,
    rows: int | None = None,
    advance: int | None = None,
    both_ways: bool = False,
) -> Rows:
    """The rows of a layout; streams need the number of `rows` of a batch.

    A segment of a stream begins `advance` tokens behind the one before it (None: its length), which
    is how many of its tokens enter the memory; with `both_ways` every second stream is read from
    its end on. Raises InputError where the layout does not fit the texts.
    """
    if not len(tokens):
        raise InputError("there are no texts to lay out")
    if isinstance(layout, PackedLayout):
        return PackedRows(tokens, layout.length, layout.documents == "apart", seed)
    if isinstance(layout, WindowLayout):
        return WindowRows(tokens, layout.length, layout.stride)
    if isinstance(layout, StreamLayout):
        if rows is None:
            raise InputError("a stream needs batch.rows: each row of the batch is one stream")
        read = Segments(rows, layout.length, advance or layout.length, both_ways)
        if layout.reset == "epoch":
            return StreamRows(tokens, read)
        return TextStreamRows(tokens, read, seed)
    if isinstance(layout, PairLayout) and not tokens.seconds.any():
        raise InputError(
            "pairs need two texts a record: name their columns, fields: {text: …, pair: …}"
        )
    assert isinstance(layout, LineLayout | PairLayout)
    return LineRows(tokens, layout.length)


class LineRows(Rows):
    """One row a text or a pair, cut at `length`; special tokens stay, the longer text is cut."""

    def __init__(self, tokens: Tokens, length: int | None) -> None:
        self._tokens = tokens
        self._length = length
        self.lengths = tokens.lengths
        if length is not None:
            self.lengths = np.minimum(tokens.lengths, length)
        self.language_names = tokens.language_names
        self.language_numbers = tokens.language_numbers
        most = int(tokens.specials.max())
        if length is not None and length <= most:
            raise InputError(
                f"layout.length is {length}: {most} special tokens and a text need more places"
            )

    def row(self, number: int, epoch: int) -> Row:
        found = self._tokens[number]
        fields = self._tokens.fields(number)
        if self._length is not None and len(found["ids"]) > self._length:
            places = kept_places(found["special"], found["second"], self._length)
            found = _at(found, places)
            fields = {**fields, "places": places}
        return Row(number=number, fields=fields, **_of_tokens(found), source=found["source"])


def kept_places(special: NDArray[Any], second: NDArray[Any], length: int) -> Integers:
    """The places that stay of a text or pair cut to `length`: all special tokens, and what fits of
    the texts, of which the longer one gives first.
    """
    first_text = np.flatnonzero(~special & ~second)
    second_text = np.flatnonzero(~special & second)
    excess = len(special) - length
    if len(second_text):
        from_first, from_second = share(len(first_text), len(second_text), excess)
    else:
        from_first, from_second = excess, 0
    gone = np.zeros(len(special), bool)
    gone[first_text[len(first_text) - from_first :]] = True
    gone[second_text[len(second_text) - from_second :]] = True
    return np.flatnonzero(~gone)


class WindowRows(Rows):
    """Windows of at most `length` tokens over texts that are longer; two of them share `stride`
    tokens. Special tokens stand in each window, and of a pair the whole first text does.

    The field `window` is the number of a row's window in its text, `text` the text's number and
    `places` the numbers of its tokens among those of the whole text.
    """

    def __init__(self, tokens: Tokens, length: int, stride: int) -> None:
        self._tokens = tokens
        slid = np.where(tokens.seconds > 0, tokens.seconds, tokens.lengths - tokens.specials)
        room = length - (tokens.lengths - slid)
        step = room - stride
        if (wrong := (slid > room) & (step < 1)).any():
            number = int(np.flatnonzero(wrong)[0])
            raise InputError(
                f"{tokens.source(number)}: {max(0, int(room[number]))} of {length} tokens are left "
                f"for a window that shares {stride}: give a larger length or a smaller stride"
            )
        safe = np.maximum(step, 1)
        beyond = np.maximum(slid - room, 0)
        counts = 1 + (beyond + safe - 1) // safe
        self._first = np.concatenate(([0], np.cumsum(counts)))
        self._room, self._step = room, safe
        text = np.repeat(np.arange(len(tokens)), counts)
        start = (np.arange(len(text)) - self._first[text]) * safe[text]
        inside = np.minimum(slid[text] - start, room[text])
        self.lengths = (tokens.lengths - slid)[text] + inside
        self.language_names = tokens.language_names
        self.language_numbers = tokens.language_numbers[text]

    def row(self, number: int, epoch: int) -> Row:
        text = int(np.searchsorted(self._first, number, side="right")) - 1
        window = number - int(self._first[text])
        found = self._tokens[text]
        moves = ~found["special"]
        if found["second"].any():
            moves = moves & found["second"]
        slid = np.flatnonzero(moves)
        start = window * int(self._step[text])
        gone = moves.copy()
        gone[slid[start : start + int(self._room[text])]] = False
        places = np.flatnonzero(~gone)
        fields = {**self._tokens.fields(text), "window": window, "text": text, "places": places}
        return Row(
            number=number, fields=fields, **_of_tokens(_at(found, places)), source=found["source"]
        )


def _of_tokens(found: dict[str, Any]) -> dict[str, Any]:
    return {name: found[name] for name in BY_TOKEN}


def _at(found: dict[str, Any], places: Integers) -> dict[str, Any]:
    """Some of the tokens."""
    kept = {name: found[name][places] for name in BY_TOKEN if found[name] is not None}
    return {**found, **kept}

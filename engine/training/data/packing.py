"""Texts one after the other: packed into rows of one length, or as streams that are read segment
by segment.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from engine.errors import InputError
from engine.training.data.draws import shuffler
from engine.training.data.rows import BY_TOKEN, NOTHING, Integers, Row, Rows
from engine.training.data.tokens import Part, Tokens, decoded


class PackedRows(Rows):
    """Rows of `length` tokens, filled with texts one after the other in an order drawn for each
    epoch; the last row of a language is what is left.

    `next_ids` also names the token after a row's last one; where texts are kept apart, -100 stands
    at the end of each.
    """

    def __init__(self, tokens: Tokens, length: int, apart: bool, seed: int) -> None:
        self._tokens, self._length, self._apart, self._seed = tokens, length, apart, seed
        self.language_names = tokens.language_names
        totals = np.bincount(tokens.language_numbers, tokens.lengths).astype(np.int64)
        counts = -(-totals // length)
        self._first_row = np.concatenate(([0], np.cumsum(counts)))
        self._first_token = np.concatenate(([0], np.cumsum(totals)))
        self.language_numbers = np.repeat(np.arange(len(totals)), counts)
        self.lengths = np.full(int(counts.sum()), length)
        self.lengths[self._first_row[1:] - 1] = totals - (counts - 1) * length
        self._epoch = lru_cache(maxsize=2)(self._order)

    def _order(self, epoch: int) -> tuple[Integers, Integers]:
        """The texts in their order, and where each begins."""
        luck = shuffler(self._seed, "texts", epoch).random(len(self._tokens))
        order = np.lexsort((luck, self._tokens.language_numbers))
        return order, np.concatenate(([0], np.cumsum(self._tokens.lengths[order])))

    def row(self, number: int, epoch: int) -> Row:
        order, starts = self._epoch(epoch)
        language = int(self.language_numbers[number])
        first = int(self._first_token[language])
        first += (number - int(self._first_row[language])) * self._length
        stop, end = first + int(self.lengths[number]), int(self._first_token[language + 1])
        pieces = list(_pieces(self._tokens, order, starts, first, min(stop + 1, end)))
        whole, text = _joined(pieces)
        length = stop - first
        following = np.append(whole["ids"][1:], [NOTHING] * (length - len(whole["ids"]) + 1))
        if self._apart:
            ends = np.append(text[1:] != text[:-1], [False] * (length - len(text) + 1))
            following[ends[:length].nonzero()] = NOTHING
        texts = None
        if self._apart and text[length - 1] > 0:
            texts = text[:length]
        return Row(
            number=number,
            **_cut(whole, length),
            texts=texts,
            next_ids=following[:length],
            source=self._tokens.source(pieces[0].text),
        )


@dataclass(frozen=True)
class Segments:
    """How streams are read: `rows` of them side by side, `length` tokens at a time.

    A segment begins `advance` tokens behind the one before it: where only those enter the memory,
    the next segment goes on behind them. With `both_ways` every second stream is read from its end
    on.
    """

    rows: int
    length: int
    advance: int
    both_ways: bool = False

    def count(self, asked: Integers) -> Integers:
        """How many segments reach the last of so many targets (n)."""
        return 1 + (np.maximum(asked - self.length, 0) + self.advance - 1) // self.advance

    def backwards(self, stream: int) -> bool:
        """Whether a stream is read from its end on."""
        return self.both_ways and bool(stream % 2)


class StreamRows(Rows):
    """All texts, one after the other, cut into streams of one length (the last takes what is left),
    which are read segment by segment: every token but the first of each stream is a target once an
    epoch.

    The row with number s·rows + r is segment s of stream r. The streams' last segments may be
    shorter than others, or empty.
    """

    ordered = True

    def __init__(self, tokens: Tokens, read: Segments) -> None:
        self._tokens, self._read = tokens, read
        self._starts = np.concatenate(([0], np.cumsum(tokens.lengths)))
        total = int(self._starts[-1])
        if total < 2 * read.rows:
            raise InputError(f"{total} tokens are too few for {read.rows} rows of at least two")
        # The last stream reads on to the end of the text.
        self._edges = np.append(total // read.rows * np.arange(read.rows), total)
        asked = np.diff(self._edges) - 1
        begun = read.advance * np.arange(int(read.count(asked.max())))
        self.lengths = np.clip(asked[None, :] - begun[:, None], 0, read.length).reshape(-1)
        self.language_names = (None,)
        self.language_numbers = np.zeros(len(self.lengths), np.int64)
        self._texts = np.arange(len(tokens))

    def row(self, number: int, epoch: int) -> Row:
        segment, stream = divmod(number, self._read.rows)
        length, backwards = int(self.lengths[number]), self._read.backwards(stream)
        if not length:
            return _empty(number, backwards)
        first = int(self._edges[stream]) + segment * self._read.advance
        if backwards:
            first = int(self._edges[stream + 1]) - segment * self._read.advance - length - 1
        found = _pieces(self._tokens, self._texts, self._starts, first, first + length + 1)
        return _segment(self._tokens, number, list(found), segment == 0, backwards)


class TextStreamRows(Rows):
    """Streams of whole texts: a segment never reaches over the end of a text, and memory begins
    anew with each, so that every token but the first of each text is a target once an epoch.

    A stream keeps its texts; their order in it is drawn for each epoch.
    """

    ordered = True

    def __init__(self, tokens: Tokens, read: Segments, seed: int) -> None:
        self._tokens, self._read, self._seed = tokens, read, seed
        self._texts = np.flatnonzero(tokens.lengths > 1)
        if len(self._texts) < read.rows:
            raise InputError(
                f"{len(self._texts)} texts of at least two tokens are too few for {read.rows} rows "
                "that read whole texts: give fewer rows, or layout.reset: epoch"
            )
        self._segments = read.count(tokens.lengths[self._texts] - 1)
        self._stream = self._deal()
        per_stream = np.bincount(self._stream, self._segments, minlength=read.rows)
        self._edges = np.concatenate(([0], np.cumsum(per_stream.astype(np.int64))))
        self.lengths = np.full(int(per_stream.max()) * read.rows, read.length)
        self.language_names = (None,)
        self.language_numbers = np.zeros(len(self.lengths), np.int64)
        self._epoch = lru_cache(maxsize=2)(self._order)

    def _deal(self) -> Integers:
        """The stream of each text: the longest first, back and forth over the streams."""
        luck = shuffler(self._seed, "streams").random(len(self._texts))
        order = np.lexsort((luck, -self._segments))
        turn, place = np.divmod(np.arange(len(order)), self._read.rows)
        dealt = np.empty(len(order), np.int64)
        dealt[order] = np.where(turn % 2, self._read.rows - 1 - place, place)
        return dealt

    def _order(self, epoch: int) -> tuple[Integers, Integers]:
        """The texts stream by stream, and the number of each one's first segment."""
        luck = shuffler(self._seed, "texts", epoch).random(len(self._texts))
        order = np.lexsort((luck, self._stream))
        return order, np.concatenate(([0], np.cumsum(self._segments[order])))

    def row(self, number: int, epoch: int) -> Row:
        step, stream = divmod(number, self._read.rows)
        backwards = self._read.backwards(stream)
        at = int(self._edges[stream]) + step
        if at >= self._edges[stream + 1]:
            return _empty(number, backwards)
        order, starts = self._epoch(epoch)
        place = int(np.searchsorted(starts, at, side="right")) - 1
        text, segment = int(self._texts[order[place]]), at - int(starts[place])
        whole, first = int(self._tokens.lengths[text]), segment * self._read.advance
        length = min(self._read.length, whole - 1 - first)
        if backwards:
            first = whole - first - length - 1
        piece = Piece(self._tokens.part(text, first, first + length + 1), text)
        return _segment(self._tokens, number, [piece], segment == 0, backwards)


class Piece(NamedTuple):
    """A part of a text, and which text that is."""

    tokens: Part
    text: int


def _pieces(
    tokens: Tokens, order: Integers, starts: Integers, first: int, stop: int
) -> Iterator[Piece]:
    """The parts of texts, in an order with their starts, that hold tokens first … stop - 1."""
    place = int(np.searchsorted(starts, first, side="right")) - 1
    while place < len(order) and starts[place] < stop:
        begin, text = int(starts[place]), int(order[place])
        yield Piece(tokens.part(text, max(first - begin, 0), stop - begin), text)
        place += 1


def _joined(pieces: list[Piece]) -> tuple[dict[str, Any], Integers]:
    """Parts of texts as one, and the number of the part that each token belongs to."""
    lengths = [len(piece.tokens.ids) for piece in pieces]
    whole = decoded([piece.tokens for piece in pieces])
    return whole, np.repeat(np.arange(len(pieces)), lengths)


def _segment(tokens: Tokens, number: int, pieces: list[Piece], fresh: bool, backwards: bool) -> Row:
    """A segment, of which the parts hold one token more: the target of its last one."""
    whole, _ = _joined(pieces)
    if backwards:
        whole = {name: None if value is None else value[::-1] for name, value in whole.items()}
    return Row(
        number=number,
        **_cut(whole, len(whole["ids"]) - 1),
        next_ids=whole["ids"][1:],
        fresh=fresh,
        backwards=backwards,
        source=tokens.source(pieces[0].text),
    )


def _empty(number: int, backwards: bool) -> Row:
    """What a stream that has ended gives while others go on."""
    nothing = np.zeros(0, np.int64)
    return Row(
        number=number,
        ids=nothing,
        special=nothing.astype(bool),
        words=nothing.astype(bool),
        next_ids=nothing,
        fresh=True,
        backwards=backwards,
    )


def _cut(found: dict[str, Any], length: int) -> dict[str, Any]:
    """The first tokens."""
    known = [name for name in BY_TOKEN if found[name] is not None]
    return {name: found[name][:length] for name in known}

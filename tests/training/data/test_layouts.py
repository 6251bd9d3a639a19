"""Every token comes once, whatever the layout; streams ask each token but the first."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import InputError
from engine.training.data.layouts import kept_places, lay_out
from engine.training.data.order import Order
from engine.training.data.rows import NOTHING, Rows
from engine.training.recipe.sections import (
    Batch,
    LineLayout,
    PackedLayout,
    PairLayout,
    StreamLayout,
    WindowLayout,
)
from tests.training.data.made import counted

LENGTHS = st.lists(st.integers(1, 12), min_size=1, max_size=12)
SEEDS = st.integers(0, 2**40)


def ids_of(rows: Rows, epoch: int = 0) -> list[int]:
    return [int(i) for number in range(len(rows)) for i in rows.row(number, epoch).ids]


@given(LENGTHS, SEEDS)
def test_lines_are_the_texts(lengths, seed):
    rows = lay_out(LineLayout(kind="lines"), counted(lengths), seed=seed)
    assert ids_of(rows) == list(range(sum(lengths)))
    assert list(rows.lengths) == lengths


@given(LENGTHS, st.integers(1, 9), st.sampled_from(("joined", "apart")), SEEDS)
def test_packing_gives_every_token_once_an_epoch(lengths, length, documents, seed):
    tokens = counted(lengths, ["de", "en"] * 6)
    layout = PackedLayout(kind="packed", length=length, documents=documents)
    rows = lay_out(layout, tokens, seed=seed)
    for epoch in (0, 3):
        assert sorted(ids_of(rows, epoch)) == list(range(sum(lengths)))
    starts = {0, *np.cumsum(lengths)}
    targets: Counter[int] = Counter()
    for number in range(len(rows)):
        row = rows.row(number, 1)
        assert row.next_ids is not None
        assert len(row.ids) == rows.lengths[number] == len(row.next_ids) <= length
        targets.update(row.next_ids[row.next_ids != NOTHING].tolist())
        within = (row.next_ids == row.ids + 1) & ~np.isin(row.next_ids, list(starts))
        if documents == "apart":
            assert (within | (row.next_ids == NOTHING)).all()
            if row.texts is not None:
                begins = np.flatnonzero(np.diff(row.texts)) + 1
                assert all(int(row.ids[place]) in starts for place in begins)
    assert set(targets.values()) <= {1}
    if documents == "apart":
        assert set(targets) == set(range(sum(lengths))) - starts
    else:
        assert len(targets) == sum(lengths) - len(rows.language_names)


@given(LENGTHS, st.integers(1, 9), st.integers(1, 4), st.integers(1, 9), st.booleans())
def test_a_segment_goes_on_behind_what_the_one_before_it_left_in_memory(
    lengths, length, streams, advance, both_ways
):
    if sum(lengths) < 2 * streams:
        return
    given = {"rows": streams, "advance": min(advance, length), "both_ways": both_ways}
    for reset in ("epoch", "text"):
        if reset == "text" and sum(one > 1 for one in lengths) < streams:
            continue
        layout = StreamLayout(kind="stream", length=length, reset=reset)
        rows = lay_out(layout, counted(lengths), seed=0, **given)
        begun: dict[int, int] = {}
        seen: set[int] = set()
        for number in range(len(rows)):
            row, stream = rows.row(number, 0), number % streams
            way = -1 if both_ways and stream % 2 else 1
            assert row.backwards == (way < 0) and len(row.ids) <= length
            assert (row.next_ids == row.ids + way).all()
            seen.update(row.next_ids.tolist())
            if len(row.ids):
                assert row.fresh or int(row.ids[0]) == begun[stream] + way * given["advance"]
                begun[stream] = int(row.ids[0])
        parts = streams if reset == "epoch" else sum(one > 1 for one in lengths)
        if reset == "text":
            lengths = [one for one in lengths if one > 1]
        assert len(seen) == sum(lengths) - parts


@given(LENGTHS, st.integers(1, 9), st.integers(1, 4))
def test_a_streams_targets_are_all_tokens_but_its_first(lengths, length, streams):
    total = sum(lengths)
    layout = StreamLayout(kind="stream", length=length)
    if total < 2 * streams:
        with pytest.raises(InputError, match="too few"):
            lay_out(layout, counted(lengths), seed=0, rows=streams)
        return
    rows = lay_out(layout, counted(lengths), seed=0, rows=streams)
    asked = check_segments(rows, length, streams)
    firsts = {total // streams * number for number in range(streams)}
    assert asked == set(range(total)) - firsts


@given(LENGTHS, st.integers(1, 9), st.integers(1, 4), SEEDS)
def test_a_stream_of_texts_asks_all_but_the_first_of_each(lengths, length, streams, seed):
    layout = StreamLayout(kind="stream", length=length, reset="text")
    if sum(one > 1 for one in lengths) < streams:
        with pytest.raises(InputError, match="too few"):
            lay_out(layout, counted(lengths), seed=seed, rows=streams)
        return
    rows = lay_out(layout, counted(lengths), seed=seed, rows=streams)
    starts = {0, *np.cumsum(lengths)}
    assert check_segments(rows, length, streams, starts) == set(range(sum(lengths))) - starts


def check_segments(rows, length, streams, starts=None) -> set[int]:
    """All targets of an epoch, of which none comes twice; segments follow each other."""
    order = Order(rows, Batch(rows=streams), seed=0)
    asked: list[int] = []
    last: dict[int, int] = {}
    for step in range(order.steps_per_epoch(0)):
        epoch, batch = order.at(step)
        assert epoch == 0 and len(batch) == streams
        for stream, number in enumerate(batch):
            row = rows.row(number, 0)
            assert len(row.ids) == len(row.next_ids) <= length
            assert (row.next_ids == row.ids + 1).all()
            asked += row.next_ids.tolist()
            if len(row.ids):
                begins = int(row.ids[0]) in starts if starts is not None else step == 0
                assert row.fresh == begins
                assert row.fresh or last[stream] == int(row.ids[0])
                last[stream] = int(row.next_ids[-1])
    assert len(set(asked)) == len(asked)
    return set(asked)


@given(LENGTHS, st.integers(1, 9), st.integers(0, 8))
def test_windows_cover_every_token_and_overlap(lengths, length, stride):
    layout = WindowLayout(kind="windows", length=length, stride=stride)
    tokens = counted(lengths)
    if stride >= length and max(lengths) > length:
        with pytest.raises(InputError, match=r"jsonl:\d+: .*smaller stride"):
            lay_out(layout, tokens, seed=0)
        return
    rows = lay_out(layout, tokens, seed=0)
    assert set(ids_of(rows)) == set(range(sum(lengths)))
    for number in range(len(rows)):
        row = rows.row(number, 0)
        assert len(row.ids) == rows.lengths[number] <= length
        if row.fields["window"]:
            before = rows.row(number - 1, 0)
            assert len(np.intersect1d(before.ids, row.ids)) == stride


def test_the_longer_text_is_cut_and_special_tokens_stay():
    special = np.array([1, 0, 0, 0, 0, 1, 0, 0, 1], bool)
    second = np.array([0, 0, 0, 0, 0, 0, 1, 1, 0], bool)
    assert kept_places(special, second, 7).tolist() == [0, 1, 2, 5, 6, 7, 8]
    assert kept_places(special, second, 6).tolist() == [0, 1, 2, 5, 6, 8]
    assert kept_places(special, np.zeros(9, bool), 5).tolist() == [0, 1, 2, 5, 8]


def test_pairs_need_two_texts_and_streams_rows():
    with pytest.raises(InputError, match="pair: …"):
        lay_out(PairLayout(kind="pairs"), counted([3]), seed=0)
    with pytest.raises(InputError, match="a stream needs"):
        lay_out(StreamLayout(kind="stream", length=4), counted([9]), seed=0)

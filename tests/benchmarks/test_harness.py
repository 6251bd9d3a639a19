"""The benchmark on tiny shapes: sides start, answers are compared, and the page is written. Nothing
timed is asserted.
"""

import json
import re
import sys
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch

from benchmarks import measure as measuring
from benchmarks import narrow, padding, report
from benchmarks.__main__ import chosen, main
from benchmarks.flops import useful_operations
from benchmarks.measure import Result, measure
from benchmarks.own import Own
from benchmarks.peer import Peer
from benchmarks.section import Section, in_turns, median_ratio
from benchmarks.serving import Side
from benchmarks.sides import Process, SideError
from benchmarks.workloads import PREPACKED, WORKLOADS
from engine import load_spec

SMALL = {"dims.layers": 2, "dims.model": 32, "dims.heads": 4, "dims.inner": 64, "dims.vocab": 100}
TWO_STREAMS = next(work for work in WORKLOADS if work.name == "xlnet-two-stream")
TINY = replace(TWO_STREAMS, overrides=SMALL, batch=2, length=6, predictions=3)


class Beside:
    """A side in this process, where a benchmark starts one of its own for it; what goes to and fro
    is JSON all the same.
    """

    def __init__(self, side: Side) -> None:
        self.side = side

    def __enter__(self) -> "Beside":
        return self

    def __exit__(self, *_: object) -> None:
        return

    def ask(self, do: str, **request: Any) -> Any:
        threads = torch.get_num_threads()
        try:
            result = getattr(self.side, do)(**json.loads(json.dumps(request)))
        finally:
            torch.set_num_threads(threads)
        return json.loads(json.dumps(result))


def test_sides_agree_and_take_turns(monkeypatch):
    monkeypatch.setattr(measuring, "own", lambda threads: Beside(Own()))
    monkeypatch.setattr(measuring, "peer", lambda python, threads: Beside(Peer()))
    monkeypatch.setattr("benchmarks.own.SHAPES", ((64, 64, 64),))
    turns = []
    result = measure(TINY, [sys.executable], threads=2, rounds=2, on_turn=turns.append)
    packed, peer = result.distances
    assert packed == "engine, prepacked" and peer.startswith("transformers 4.56")
    assert max(result.distances.values()) < 1e-5
    assert {name: len(seconds) for name, seconds in result.seconds.items()} == {
        "engine": 2,
        packed: 2,
        peer: 2,
    }
    assert result.left_out == [] and len(result.rates) == 2 and min(result.rates) > 0
    assert turns[-6:] == [
        "engine, round 1 of 2",
        "engine, prepacked, round 1 of 2",
        f"{peer}, round 1 of 2",
        "engine, prepacked, round 2 of 2",
        f"{peer}, round 2 of 2",
        "engine, round 2 of 2",
    ]
    text = report.line(TINY, result)
    assert "xlnet-two-stream" in text and "target 2.0" in text


def test_a_side_answers_and_says_what_failed():
    with Process(sys.executable, "benchmarks.narrow", threads=1) as side:
        assert side.ask("offers", name="tiny/xglm") == {"version": "engine", "has": True}
        with pytest.raises(SideError, match="nothing-of-that-name"):
            side.ask("offers", name="nothing-of-that-name")


def test_operations_are_the_products_of_the_spec():
    spec = load_spec("xlnet-base", SMALL)
    bare = replace(TINY, head=None, batch=1, predictions=0)
    projections, feed_forward, scores, distances = (
        4 * 6 * 32 * 32,
        6 * 2 * 32 * 64,
        3 * 32 * 36,
        2 * 6 * 32 * 32,
    )
    assert useful_operations(spec, bare) == 2 * 2 * (
        projections + feed_forward + scores + distances
    )
    assert useful_operations(spec, replace(bare, prepacked=True)) == 2 * 2 * (
        projections + feed_forward + scores
    )
    assert useful_operations(spec, replace(bare, call="training")) == 3 * 2 * 2 * (
        projections + feed_forward + scores + distances
    )
    assert useful_operations(spec, replace(bare, call="generate")) is None


def made(work, engine, peer):
    seconds = {
        "engine": engine,
        "transformers 5.0": peer,
        "transformers 4.56.2": [2 * one for one in peer],
    }
    peaks = dict.fromkeys(seconds, 2**30)
    operations: dict[str, float | None] = {"engine": 4e9, PREPACKED: 3e9}
    return Result(
        work.name,
        "2026-01-01",
        10,
        operations,
        seconds,
        peaks,
        [1e10],
        dict.fromkeys(seconds, 1e-6),
    )


def test_the_page_its_plot_and_its_numbers(tmp_path):
    pytest.importorskip("matplotlib")
    works = {work.name: work for work in WORKLOADS}
    met, missed = works["xlnet-forward"], works["xlm-forward"]
    packed = made(met, [1.0, 1.0, 2.0], [3.0, 4.0, 6.0])
    packed.seconds[PREPACKED] = [0.5, 0.5, 1.0]
    first = [packed, made(works["xlnet-length-512"], [1.0], [2.0])]
    report.write(tmp_path, first, threads=2)
    report.write(
        tmp_path,
        [made(missed, [1.0], [1.0]), made(works["xlm-forward-bfloat16"], [1.0], [2.0])],
        threads=2,
    )
    page = (tmp_path / "benchmarks.md").read_text()
    row = next(line for line in page.splitlines() if line.startswith(f"| {met.title} "))
    assert (
        "| 1.000 (1.000 … 1.500) | 4.000 (3.500 … 5.000), 5.0 | 3.00 (3.00 … 3.50) | 1.8 met | 0.40 |"
        in row
    )
    assert (
        "| 0.500 (0.500 … 0.750) | 2.00 | 6.00 (6.00 … 7.00) | 1.8 met | 0.60 | 0.65 **missed** |"
        in page
    )
    assert "**missed**" in next(
        line for line in page.splitlines() if line.startswith(f"| {missed.title} ")
    )
    assert "| 512 | 1.00 | 1,953 | 1,024 |" in page
    assert "Not measured here: `xlnet-two-stream`" in page and "/" + "work" not in page
    assert (tmp_path / "benchmarks.svg").read_text().startswith("<?xml")
    assert len(json.loads((tmp_path / "benchmarks.json").read_text())["results"]) == 4
    assert "busy" not in page
    report.write(tmp_path, [replace(made(met, [1.0], [2.0]), load=99.0)], threads=1)
    page = (tmp_path / "benchmarks.md").read_text()
    assert "load average up to 99.0" in page and "| 2.00 | 1.8 met | – | 0.65 |" in page
    assert list(json.loads((tmp_path / "benchmarks.json").read_text())["results"]) == [
        "xlnet-forward"
    ]


def test_sections_stay_beside_the_results(tmp_path):
    pytest.importorskip("matplotlib")
    work = next(work for work in WORKLOADS if work.name == "xlnet-forward")
    report.write(
        tmp_path,
        [],
        threads=2,
        sections=[Section("Padding", "What.", ["network", "s"], [["XLNet", "1.0"]])],
    )
    assert "## Padding\n\nWhat.\n\n| network | s |\n| --- | --- |\n| XLNet | 1.0 |" in page_in(
        tmp_path
    )
    report.write(tmp_path, [made(work, [1.0], [2.0])], threads=2)
    report.write(
        tmp_path,
        [],
        threads=2,
        sections=[Section("Padding", "What.", ["network", "s"], [["XLNet", "2.0"]])],
    )
    assert "| XLNet | 2.0 |" in page_in(tmp_path) and "| XLNet | 1.0 |" not in page_in(tmp_path)
    assert f"| {work.title} " in page_in(tmp_path)


def page_in(folder):
    return (folder / "benchmarks.md").read_text()


def test_narrow_weights_on_a_toy(monkeypatch):
    monkeypatch.setattr(narrow, "_side", lambda threads: Beside(narrow.Sized()))
    row = narrow.measure(
        replace(TWO_STREAMS, overrides={**SMALL, "dims.vocab": 300}, predictions=0), 1, 1
    )
    assert len(row) == len(narrow.COLUMNS) and "–" not in row
    change, likelihood = re.fullmatch(r"([\d.]+) \((-[\d.]+)\)", row[-1]).groups()
    assert 0 < float(change) < 0.05 * -float(likelihood)


def test_padding_on_a_toy():
    counts = padding.lengths()
    assert len(counts) == padding.TEXTS and counts.min() >= 4 and counts.max() <= padding.LONGEST
    row = padding.measure(replace(TWO_STREAMS, overrides=SMALL), torch.tensor([5, 9, 2]), 1)
    assert (
        len(row) == len(padding.COLUMNS)
        and row[-2] == f"{27 / 16:.2f}"
        and float(row[-1]) < padding.TOLERANCE
    )


def test_turns_begin_with_another_side_each_round():
    said: list[str] = []

    def turn(name: str) -> float:
        said.append(name)
        return float(len(said))

    found = in_turns({name: partial(turn, name) for name in "ab"}, 2)
    assert said == ["a", "b", "b", "a"] and found == {"a": [1.0, 4.0], "b": [2.0, 3.0]}
    assert median_ratio(found["a"], found["b"]) == (1 / 2 + 4 / 3) / 2


def test_names_and_patterns(capsys):
    assert [work.name for work in chosen(["xglm-generate", "opening"])] == [
        "xglm-generate",
        "opening",
    ]
    assert len(chosen(["xlnet-length-*"])) == 6 and chosen([]) == list(WORKLOADS)
    with pytest.raises(SystemExit, match="did you mean xlnet-forward"):
        main(["xlnet-foward"])
    assert main(["--list"]) == 0
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert listed == [work.name for work in WORKLOADS] and len(set(listed)) == len(listed)

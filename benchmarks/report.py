"""Results as a line on the terminal, and as docs/benchmarks.md with its plot and its numbers."""

import argparse
import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.measure import Result, spread
from benchmarks.section import DOCS, Section
from benchmarks.workloads import ENGINE, PREPACKED, WORKLOADS, Workload

MEBIBYTE = 2**20
OPENING_MEMORY = 400 * MEBIBYTE
INTRODUCTION = """# Benchmarks

The engine beside transformers: the same random weights, read from one folder, and the same inputs. Each side runs in a
process of its own; the sides take turns, and who begins a round changes. Before anything is timed the answers are
compared: in float32 to 1e-4 of the largest value, in bfloat16 to 5e-2 of the engine's answer in float32. Eager mode,
{threads} threads, peers with the attention that they choose by default. Times are medians with quartiles in
parentheses. The ratio is the time of the faster peer divided by the engine's, its median and quartiles over the rounds:
above 1, the engine is ahead. The share is that of the machine's own matrix-product rate, measured between the rounds in
the same precision (the best of four shapes and of torch's operator and the engine's), which the whole call reaches;
counted are only the matrix products that the call cannot do without (benchmarks/flops.py). Memory is the peak of
resident memory above what the side held after loading; for the opening of a checkpoint above what it held before, less
the weights.

A training step is forward, loss and backward; the optimizer's step is the same on every side and left out. XLNet's
published decoding runs the newest two tokens at each step over remembered states, or without memory the whole text; the
tokens compared are those of `decoding="overlap"` and `decoding="recompute"`, which reproduce the two; the engine is
timed in its own way, caching one legal factorization order. Transformer-XL is measured in full depth and width (18
layers of 1,024) with a vocabulary of 4,000, the streams going on from call to call on both sides; XLM and XLM-R-XL have
four layers, XLM-R-XL with a vocabulary of 30,000. Opening a checkpoint starts after the libraries are imported, with
the file in the system's cache, and ends with a first answer in a fresh process: the first token that `generate` gives,
and apart from it the logits of a plain forward pass. In bfloat16 the published XLNet mixes precisions and stops with an
error; it is run under torch.autocast over float32 weights.
"""

PREPACKED_TEXT = """The same calls in the same rounds after `model.prepack()`, which holds the weights twice, and
of networks with relative positions the keys of distances that an earlier call of that length has projected; these count
for no share. The ratio is again the faster peer's time over the engine's.
"""


def line(work: Workload, result: Result) -> str:
    """One workload in one line."""
    _, middle, _ = spread(result.seconds[ENGINE])
    text = f"{work.name:26} engine {middle:8.3f} s"
    if result.fastest_peer is not None:
        low, ratio, high = spread(result.ratios())
        text += f"   {result.fastest_peer} {median(result.seconds[result.fastest_peer]):8.3f} s"
        text += f"   ratio {ratio:6.2f} ({low:.2f} … {high:.2f})"
        if result.ratios(PREPACKED):
            text += f", prepacked {median(result.ratios(PREPACKED)):.2f}"
        if work.target is not None:
            text += f"   target {work.target} {'met' if ratio >= work.target else 'MISSED'}"
    shares = [share for share in (result.share(), result.share(PREPACKED)) if share is not None]
    if shares and not _disturbed(result):
        text += (
            "   share "
            + ", ".join(f"{share:.2f}" for share in shares)
            + (f" of {work.share}" if work.share else "")
        )
    text += f"   peak +{result.peak[ENGINE] / MEBIBYTE:,.0f} MiB"
    return "\n".join([text, *(f"    left out: {reason}" for reason in result.left_out)])


def machine() -> str:
    """The processor's name, its cores, and its memory."""
    info = Path("/proc/cpuinfo")
    names = [text.split(":")[1].strip() for text in info.read_text().splitlines() if text.startswith("model name")] \
        if info.exists() else []  # fmt: skip
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores, {memory:.0f} GiB"
    )


def write(
    docs: Path, results: list[Result], threads: int, sections: Sequence[Section] = ()
) -> None:
    """Renew these results and sections in docs/benchmarks.json, and make the page and the plot of
    all that it holds.

    Entries of another machine or number of threads are dropped: no table mixes machines.
    """
    import torch

    path = docs / "benchmarks.json"
    setting = {"machine": machine(), "threads": threads, "torch": torch.__version__.split("+")[0]}
    known = json.loads(path.read_text()) if path.exists() else {}
    known = known if known.get("setting") == setting else {}
    kept, tables = known.get("results", {}), known.get("sections", {})
    kept.update({result.name: asdict(result) for result in results})
    tables.update({section.title: asdict(section) for section in sections})
    found = {name: Result(**entry) for name, entry in kept.items()}
    page = markdown(found, setting, [Section(**entry) for entry in tables.values()])
    for target, text in (
        (path, json.dumps({"setting": setting, "results": kept, "sections": tables}, indent=1)),
        (docs / "benchmarks.md", page),
    ):
        staged = target.with_suffix(".part")
        staged.write_text(text.rstrip() + "\n")
        staged.replace(target)
    plot(found, docs / "benchmarks.svg")


def show(section: Section, given: argparse.Namespace) -> None:
    """Print a section, and keep it on the page where that was asked for."""
    print(section)
    if given.write:
        write(DOCS, [], given.threads, [section])


def markdown(
    found: Mapping[str, Result], setting: Mapping[str, Any], sections: Sequence[Section] = ()
) -> str:
    """The page."""
    works = [work for work in WORKLOADS if work.name in found]
    parts = [INTRODUCTION.format(**setting)]
    measured: list[Result | Section] = [*(found[work.name] for work in works), *sections]
    dates = sorted({one.date for one in measured})
    versions = sorted({name for work in works for name in found[work.name].peers})
    parts.append(
        f"Measured on {setting['machine']}, with torch {', '.join((setting['torch'], *versions, ' and '.join(dates)))}. Command: "
        '`make bench ARGUMENTS="--write --peer PYTHON …"` (`python -m benchmarks --list` names the workloads).'
    )
    disturbed = [one.load for one in measured if _disturbed(one)]
    if disturbed:
        parts.append(
            f"Other programs kept the machine busy meanwhile (load average up to {max(disturbed):.1f}): the seconds are "
            "those of a shared machine, the ratios, taken in turn, are less certain than on a quiet one, and no share of "
            "the rate is shown."
        )
    timed = [work for work in works if work.table == "time"]
    if timed:
        parts.append("![Ratios and cost over length](benchmarks.svg)\n\n## Beside transformers\n")
        parts.append("\n".join([
            "| workload | engine, s | faster peer, s | ratio | target | share | target | engine +MiB | peer +MiB |",
            "|---|---|---|---|---|---|---|---|---|",
            *(_row(work, found[work.name]) for work in timed),
        ]))  # fmt: skip
        packed = [work for work in timed if found[work.name].seconds.get(PREPACKED)]
        if packed:
            parts.append(PREPACKED_TEXT)
            parts.append("\n".join([
                "| workload | prepacked, s | plain over prepacked | ratio | target | share | target |",
                "|---|---|---|---|---|---|---|",
                *(_prepacked_row(work, found[work.name]) for work in packed),
            ]))  # fmt: skip
        parts.append(_precision([work for work in timed if work.dtype != "float32"], found))
    lengths = [work for work in works if work.table == "length"]
    if lengths:
        parts.append(
            "## Cost over length\n\nXLNet-base, one row, one pass, float32. Training has a label at every token, "
            "gives no\nlogits (`output_logits=False`), and counts its gradients as memory.\n"
        )
        parts.append("\n".join([
            "| length | engine, s | µs per token | engine +MiB | faster peer, s | peer +MiB | ratio | share |",
            "|---|---|---|---|---|---|---|---|",
            *(_length_row(work, found[work.name]) for work in lengths),
        ]))  # fmt: skip
    parts += map(str, sections)
    missing = [f"`{work.name}`" for work in WORKLOADS if work.name not in found]
    if missing:
        parts.append(f"Not measured here: {', '.join(missing)}.")
    parts.append("Not measured on a GPU.")
    return "\n\n".join(part.rstrip("\n") for part in parts if part) + "\n"


def _row(work: Workload, result: Result) -> str:
    memory = f"{result.peak[ENGINE] / MEBIBYTE:,.0f}"
    if work.call == "opening":
        memory += f" (at most {OPENING_MEMORY / MEBIBYTE:.0f}: {_mark(result.peak[ENGINE] <= OPENING_MEMORY)})"
    seconds = _number(spread(result.seconds[ENGINE]), 3)
    cells = [
        work.title,
        seconds,
        _peer_time(result),
        *_reached(work, result, ENGINE),
        memory,
        _peer_memory(result),
    ]
    return f"| {' | '.join(cells)} |"


def _prepacked_row(work: Workload, result: Result) -> str:
    gain = [
        plain / packed
        for plain, packed in zip(result.seconds[ENGINE], result.seconds[PREPACKED], strict=True)
    ]
    seconds = _number(spread(result.seconds[PREPACKED]), 3)
    cells = [work.title, seconds, _number(spread(gain), 2), *_reached(work, result, PREPACKED)]
    return f"| {' | '.join(cells)} |"


def _reached(work: Workload, result: Result, side: str) -> list[str]:
    """Ratio, share, and beside each whether its target is met."""
    ratios, share = result.ratios(side), None if _disturbed(result) else result.share(side)
    goal, bar = f"{work.target or '–'}", f"{work.share or '–'}"
    if work.target is not None and ratios:
        goal += f" {_mark(median(ratios) >= work.target)}"
    if work.share is not None and share is not None:
        bar += f" {_mark(share >= work.share)}"
    ratio = _number(spread(ratios), 2) if ratios else "–"
    return [ratio, goal, "–" if share is None else f"{share:.2f}", bar]


def _length_row(work: Workload, result: Result) -> str:
    seconds = median(result.seconds[ENGINE])
    ratio, _, share, _ = _reached(work, result, ENGINE)
    cells = [
        work.title, f"{seconds:.2f}", f"{seconds / work.length * 1e6:,.0f}", f"{result.peak[ENGINE] / MEBIBYTE:,.0f}",
        _peer_time(result), _peer_memory(result), ratio, share,
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def _precision(works: list[Workload], found: Mapping[str, Result]) -> str:
    """How far answers in bfloat16 are from the engine's in float32."""
    if not works:
        return ""
    rows = [
        f"| {work.title} | {found[work.name].distances[ENGINE]:.1e} | "
        + ", ".join(
            f"{value:.1e} ({name})"
            for name, value in found[work.name].distances.items()
            if name != ENGINE
        )
        + " |"
        for work in works
    ]
    title = "Largest distance of an answer in bfloat16 from the engine's in float32, over the largest value:"
    return "\n".join([title, "", "| workload | engine | others |", "|---|---|---|", *rows])


def _number(values: tuple[float, float, float], digits: int) -> str:
    low, middle, high = (f"{value:.{digits}f}" for value in values)
    return middle if low == high else f"{middle} ({low} … {high})"


def _disturbed(result: Result | Section) -> bool:
    """Whether others kept the cores busy: the rate, measured at another moment, then says nothing
    about the call.
    """
    return result.load > (os.cpu_count() or 1) + 1


def _peer_time(result: Result) -> str:
    peer = result.fastest_peer
    return (
        "–" if peer is None else f"{_number(spread(result.seconds[peer]), 3)}, {peer.split()[-1]}"
    )


def _peer_memory(result: Result) -> str:
    peer = result.fastest_peer
    return "–" if peer is None else f"{result.peak[peer] / MEBIBYTE:,.0f}"


def _mark(met: bool) -> str:
    return "met" if met else "**missed**"


def plot(found: Mapping[str, Result], path: Path) -> None:
    """Ratios beside their targets, and seconds and memory over length. Needs matplotlib, of the
    extra `bench`.
    """
    try:
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure
    except ImportError:
        raise SystemExit("the plot needs matplotlib: install the extra 'bench'") from None
    works = [
        work
        for work in WORKLOADS
        if work.name in found and found[work.name].ratios() and work.table == "time"
    ]
    lengths = [
        work
        for work in WORKLOADS
        if work.name in found and work.table == "length" and work.call == "forward"
    ]
    figure = Figure(figsize=(11, 2 + 0.32 * max(len(works), 6)), layout="constrained")
    FigureCanvasSVG(figure)
    bars, costs = figure.subplots(1, 2, width_ratios=(3, 2))
    if works:
        _plot_ratios(bars, works, found)
    if lengths:
        _plot_lengths(costs, lengths, found)
    staged = path.with_suffix(".part")
    figure.savefig(staged, format="svg", metadata={"Date": None})
    staged.replace(path)


def _plot_ratios(bars: Any, works: list[Workload], found: Mapping[str, Result]) -> None:
    places = list(range(len(works)))[::-1]
    bars.barh(
        places,
        [median(found[work.name].ratios()) for work in works],
        color="#4878a8",
        label="measured",
    )
    goals = [(work.target, place) for place, work in zip(places, works) if work.target is not None]
    bars.scatter(
        [x for x, _ in goals],
        [y for _, y in goals],
        color="black",
        marker="|",
        s=160,
        label="target",
    )
    bars.set_yticks(places, [work.name for work in works])
    bars.axvline(1, color="grey", linewidth=0.8)
    bars.set(xscale="log", xlabel="time of the faster peer / time of the engine")
    bars.set_xticks([1, 2, 5, 10, 20, 50], ["1", "2", "5", "10", "20", "50"])
    bars.minorticks_off()
    bars.legend(loc="lower right")


def _plot_lengths(costs: Any, lengths: list[Workload], found: Mapping[str, Result]) -> None:
    for name, color in ((ENGINE, "#4878a8"), ("faster peer", "#d1605e")):
        results = [(work.length, found[work.name]) for work in lengths]
        sides = [
            (x, result, ENGINE if name == ENGINE else result.fastest_peer) for x, result in results
        ]
        points = [
            (x, median(result.seconds[side])) for x, result, side in sides if side is not None
        ]
        costs.plot(
            [x for x, _ in points], [y for _, y in points], marker="o", color=color, label=name
        )
    costs.set(
        xscale="log", yscale="log", xlabel="length in tokens", ylabel="seconds, XLNet-base, one row"
    )
    costs.set_xticks([work.length for work in lengths], [work.title for work in lengths])
    costs.minorticks_off()
    costs.legend()

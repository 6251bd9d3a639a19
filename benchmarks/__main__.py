"""Entry: `python -m benchmarks`, or `python -m benchmarks xlnet-forward 'xglm-*' --rounds 7`."""

import argparse
import functools
import os
import sys
from collections.abc import Callable
from difflib import get_close_matches
from fnmatch import fnmatchcase
from importlib import import_module

from tqdm import tqdm

from benchmarks import report
from benchmarks.measure import Result, measure
from benchmarks.section import DOCS
from benchmarks.sides import SideError
from benchmarks.workloads import WORKLOADS, Workload

OTHERS = {
    "tokenization": "benchmarks.tokenization",
    "int8": "benchmarks.narrow",
    "padding": "benchmarks.padding",
}
HELP = """Measure the engine beside transformers: one network, the same weights and inputs, in turn, in one run.

Without names, everything runs: most of an hour on two cores. `python -m benchmarks tokenization` is the tokenizers'
benchmark, `int8` that of 8-bit weights, `padding` that of texts of unequal length. Peers are interpreters with torch
and transformers: this one, those of --peer, and those in the environment variable BENCHMARK_PEERS, separated as in
PATH. transformers 4.56 and 5 count for all families but Transformer-XL, for which 4.35 does.
"""


def chosen(names: list[str]) -> list[Workload]:
    """The workloads that names or patterns ask for; all without names. Ends the program for an
    unknown one.
    """
    known = [work.name for work in WORKLOADS]
    for name in names:
        if not any(fnmatchcase(one, name) for one in known):
            nearest = get_close_matches(name, known, 1)
            sys.exit(
                f"no workload '{name}'{f': did you mean {nearest[0]}?' if nearest else ''}\n"
                + "\n".join(known)
            )
    return [
        work
        for work in WORKLOADS
        if not names or any(fnmatchcase(work.name, name) for name in names)
    ]


def main(arguments: list[str] | None = None) -> int:
    """Run, print, and with --write renew docs/benchmarks; returns 1 where answers differ or the
    engine fails.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments and arguments[0] in OTHERS:
        return int(import_module(OTHERS[arguments[0]]).main(arguments[1:]))
    parser = argparse.ArgumentParser(
        "benchmarks", description=HELP, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="workloads, or patterns such as 'xlnet-*'"
    )
    parser.add_argument("--list", action="store_true", help="name the workloads and end")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each side (5)")
    parser.add_argument("--threads", type=int, default=2, help="threads of each side (2)")
    parser.add_argument(
        "--peer",
        action="append",
        default=[],
        metavar="PYTHON",
        help="a peer's interpreter; repeatable",
    )
    parser.add_argument(
        "--write", action="store_true", help="renew docs/benchmarks.md, its plot and its numbers"
    )
    given = parser.parse_args(arguments)
    works = chosen(given.names)
    if given.list:
        print("\n".join(f"{work.name:28}{work.title}" for work in works))
        return 0
    if given.rounds < 1 or given.threads < 1:
        parser.error("--rounds and --threads count from 1")
    named = [path for path in os.environ.get("BENCHMARK_PEERS", "").split(os.pathsep) if path]
    keep = functools.partial(report.write, DOCS, threads=given.threads) if given.write else None
    return int(run(works, [sys.executable, *named, *given.peer], given.threads, given.rounds, keep))


def run(
    works: list[Workload],
    pythons: list[str],
    threads: int,
    rounds: int,
    keep: Callable[[list[Result]], None] | None = None,
) -> bool:
    """Measure and print one workload after the other, each kept as it comes; returns whether one
    failed.
    """
    failed = False
    with tqdm(works, disable=None, unit="workload", leave=False) as progress:
        for work in progress:
            progress.set_description(work.name)
            try:
                result = measure(work, pythons, threads, rounds, progress.set_postfix_str)
            except SideError as error:
                tqdm.write(f"{work.name}: {error}", file=sys.stderr)
                failed = True
                continue
            tqdm.write(report.line(work, result))
            if keep is not None:
                keep([result])
    return failed


if __name__ == "__main__":
    sys.exit(main())

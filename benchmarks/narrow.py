"""8-bit weights beside float32: size, memory to load, time, and how far the likelihood of a text
moves.

Run with `python -m benchmarks int8`. Each family at full width and with its real vocabulary, but
few layers, with random weights; both sides read the same folder, each in a process of its own, and
take turns.
"""

import sys
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from statistics import median
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from benchmarks.own import Own
from benchmarks.report import show
from benchmarks.section import Section, in_turns, median_ratio, seconds_of, settings
from benchmarks.serving import resident, serve
from benchmarks.sides import Process
from benchmarks.workloads import Workload
from engine import load_model, load_spec

FAMILIES = (
    Workload("xlnet", "XLNet-base", "xlnet-base", "", overrides={"dims.layers": 4}),
    Workload(
        "xlm", "XLM, causal, 1024", "xlm-clm-ende-1024", "",
        overrides={"dims.layers": 4, "attention.mask": ["causal"]},
    ),
    Workload("xlm-roberta-xl", "XLM-R-XL", "xlm-roberta-xl", "", overrides={"dims.layers": 2}),
    Workload("transformer-xl", "Transformer-XL", "transfo-xl-wt103", "", overrides={"dims.layers": 4}),
    Workload("xglm", "XGLM-564M", "xglm-564m", "", overrides={"dims.layers": 4}),
)  # fmt: skip
ROWS, LENGTH, STEPS = 2, 128, 8
SCORED = 32  # tokens a row whose likelihood is compared: a masked family runs once for each
MASK = 5  # any token serves as the mask of a random network
SIDES: Mapping[str, str | None] = {"float32": None, "int8": "int8"}
COLUMNS = [
    "network, layers", "weights, MiB", "int8", "peak of opening, MiB", "int8", "forward, s", "int8", "ratio",
    "decoding step, s", "int8", "ratio", "mean change of log p",
]  # fmt: skip
TEXT = (
    f'`load_model(…, weights="int8")` beside float32: random weights, full width, the real vocabulary, few layers. Times '
    f"are medians over turns, ratios float32 over int8 (above 1, int8 is faster), for a forward pass with logits over "
    f"{ROWS}×{LENGTH} tokens and for a token after {LENGTH}, one row; a masked network decodes none. Peaks are resident "
    "memory above what the process held before, pages of the file among it, until one token is answered. The last column "
    f"is the mean absolute change of a token's log-likelihood over {ROWS}×{SCORED} random tokens, in nats, and in "
    "parentheses that log-likelihood's mean."
)


class Sized(Own):
    """The engine with weights of one kind."""

    def load(self, work: dict[str, Any], folder: str, threads: int) -> dict[str, Any]:
        """Open the model; tells the bytes of its weights, and of the peak until it has answered to
        one token.
        """
        torch.set_num_threads(threads)
        self.inputs = load_file(Path(folder) / "inputs.safetensors")
        load_spec(work["spec"])
        before = resident("VmRSS")
        self.model = load_model(folder, weights=work["weights"])
        with torch.no_grad():  # what lies on pages of the file comes in when it is used
            self.model(self.inputs["input_ids"][:1, :1])
        peak = resident("VmHWM") - before
        return {
            "weights": sum(parameter.nbytes for parameter in self.model.parameters()),
            "peak": peak,
        }

    def decodes(self) -> dict[str, Any]:
        """Whether it has a decoding step."""
        return {"decodes": self.model.spec.has_rule("causal") or self.model.spec.two_streams}

    def answer(self, path: str) -> dict[str, Any]:
        """Write the log-likelihood of each token."""
        masked = {} if self.decodes()["decodes"] else {"mask_token_id": MASK}
        found = self.model.score(self.inputs["input_ids"][:, :SCORED], **masked)
        save_file({"answer": found.log_probs.contiguous()}, path)
        return {}

    def pass_time(self) -> dict[str, Any]:
        """Seconds of a forward pass."""
        with torch.no_grad():
            return {"seconds": seconds_of(lambda: self.model(**self.inputs))}

    def step_time(self) -> dict[str, Any]:
        """Seconds of a decoding step, the prompt left out."""
        steps = self.model.generate_tokens(
            self.inputs["input_ids"][:1], max_new_tokens=STEPS + 1, eos_token_id=()
        )
        next(steps)
        return {"seconds": seconds_of(lambda: list(steps)) / STEPS}


def measure(work: Workload, threads: int, rounds: int) -> list[str]:
    """One row of the table."""
    work = replace(work, batch=ROWS, length=LENGTH)
    with tempfile.TemporaryDirectory() as folder, _side(threads) as wide, _side(threads) as narrow:
        with _side(threads) as writer:
            writer.ask("write", work=asdict(work), folder=folder)
        sides, told, answers = {"float32": wide, "int8": narrow}, {}, {}
        for name, side in sides.items():
            told[name] = side.ask(
                "load",
                work={**asdict(work), "weights": SIDES[name]},
                folder=folder,
                threads=threads,
            )
            path = Path(folder) / name
            side.ask("answer", path=str(path))
            answers[name] = load_file(path)["answer"]
        change = (answers["int8"] - answers["float32"]).abs().mean()
        cells = [f"{work.title}, {work.overrides['dims.layers']}"]
        cells += [
            f"{told[name][key] / 2**20:,.0f}" for key in ("weights", "peak") for name in sides
        ]
        cells += _times(sides, "pass_time", rounds)
        cells += _times(sides, "step_time", rounds) if wide.ask("decodes")["decodes"] else ["–"] * 3
        return [*cells, f"{change:.4f} ({answers['float32'].mean():.2f})"]


def _side(threads: int) -> Process:
    return Process(sys.executable, "benchmarks.narrow", threads)


def _times(sides: Mapping[str, Process], call: str, rounds: int) -> list[str]:
    """Median seconds of both sides after a turn to warm up, and their ratio."""
    calls = {name: lambda side=side: side.ask(call)["seconds"] for name, side in sides.items()}
    in_turns(calls, 1)
    wide, narrow = in_turns(calls, rounds).values()
    return [f"{median(wide):.3f}", f"{median(narrow):.3f}", f"{median_ratio(wide, narrow):.2f}"]


def main(arguments: list[str]) -> int:
    """Print the table."""
    given = settings("int8", __doc__, arguments)
    section = Section("8-bit weights", TEXT, COLUMNS)
    for work in FAMILIES:
        section.rows.append(measure(work, given.threads, given.rounds))
    show(section, given)
    return 0


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    serve(Sized())

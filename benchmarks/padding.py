"""Batches of texts of unequal length: `engine.run_unpadded` beside the padded call.

Run with `python -m benchmarks padding`. One model in one process; answers at real tokens are
compared, then both take turns.
"""

from functools import partial
from statistics import median

import torch
from torch import Tensor

from benchmarks.report import show
from benchmarks.section import Section, in_turns, median_ratio, seconds_of, settings
from benchmarks.workloads import Workload
from engine import Model, build_model, run_unpadded

NETWORKS = (
    Workload("xlnet", "XLNet-base, 12 layers", "xlnet-base", ""),
    Workload(
        "xlm-roberta-xl", "XLM-R-XL, 4 layers", "xlm-roberta-xl", "",
        overrides={"dims.layers": 4, "dims.vocab": 30_000},
    ),
)  # fmt: skip
TEXTS, LONGEST = 32, 256
MIDDLE, SPREAD = 48.0, 0.7  # the median length, and the standard deviation of its logarithm
TOLERANCE = 1e-4
COLUMNS = [
    "network",
    "padded, s",
    "unpadded, s",
    "ratio",
    "tokens over real tokens",
    "largest distance of an answer",
]
TEXT = (
    f"`run_unpadded` beside the call with padding, bare bodies, float32: {TEXTS} texts whose lengths are log-normal (median "
    f"{MIDDLE:.0f}, at most {LONGEST}, a fixed seed). Times are medians over turns, the ratio is padded over unpadded; tokens "
    "with padding over real ones is what it could be at best if time went with tokens alone. Distances are those at real "
    "tokens, over the largest value."
)


def lengths() -> Tensor:
    """How long each text is."""
    draw = torch.Generator().manual_seed(0)
    drawn = MIDDLE * (SPREAD * torch.randn(TEXTS, generator=draw)).exp()
    return drawn.round().long().clamp(4, LONGEST)


def batch(vocabulary: int, counts: Tensor) -> tuple[Tensor, Tensor]:
    """Random ids (b i), and the mask (b i) of those that are real."""
    draw = torch.Generator().manual_seed(1)
    ids = torch.randint(
        vocabulary // 2, vocabulary, (len(counts), int(counts.max())), generator=draw
    )
    return ids, (torch.arange(ids.shape[1]) < counts[:, None]).long()


@torch.no_grad()
def measure(work: Workload, counts: Tensor, rounds: int) -> list[str]:
    """One row of the table. Raises AssertionError where the answers differ."""
    model: Model = build_model(work.spec, None, overrides=work.overrides, seed=0).eval()
    ids, mask = batch(model.spec.dims.vocab, counts)
    sides = {
        "padded": partial(model, input_ids=ids, attention_mask=mask, use_memory=False),
        "unpadded": partial(run_unpadded, model, input_ids=ids, attention_mask=mask),
    }
    padded, unpadded = (side().last_hidden_state[mask.bool()] for side in sides.values())
    distance = float((padded - unpadded).abs().max() / padded.abs().max())
    assert distance < TOLERANCE, f"{work.title}: answers differ by {distance:.1e} of the largest"
    slow, fast = in_turns(
        {name: partial(seconds_of, side) for name, side in sides.items()}, rounds
    ).values()
    cells = [f"{median(slow):.3f}", f"{median(fast):.3f}", f"{median_ratio(slow, fast):.2f}"]
    return [work.title, *cells, f"{mask.numel() / int(mask.sum()):.2f}", f"{distance:.1e}"]


def main(arguments: list[str]) -> int:
    """Print the table."""
    given = settings("padding", __doc__, arguments)
    torch.set_num_threads(given.threads)
    section = Section("Padding", TEXT, COLUMNS)
    for work in NETWORKS:
        section.rows.append(measure(work, lengths(), given.rounds))
    show(section, given)
    return 0

"""How much memory, wire and time a run takes on many cards: the arithmetic behind docs/scaling.md.

`python -m benchmarks.scaling` writes its tables anew. d model width, f inner width, h heads, g
key and value heads, k width of a head; all sizes are bytes unless said otherwise.
"""

import re
from dataclasses import dataclass

import torch

from benchmarks.section import DOCS
from engine.build import build_model
from engine.kernels.tuning import Tuning
from engine.model import Model
from engine.spec import Spec
from engine.training.recipe.load import open_recipe

PAGE = DOCS / "scaling.md"
RUNS = {
    "XLM-R-XXL": ("papers/xlm-roberta-xxl", "masked_lm"),
    "XGLM-7.5B": ("papers/xglm-7.5b", "causal_lm"),
}
CARDS = (8, 16, 32, 64, 128, 256, 512, 1024)
CARD = 80e9
USABLE = 0.9  # the rest is for the library, fragments and buffers of the wire
PEAK = 312e12  # bfloat16 operations a second of a card
KERNELS = 0.6  # the share of it that large products reach
NEAR, FAR = 300e9, 25e9  # bytes a second of a card, within a machine of 8 and between machines
MACHINE = 8
FULL, HALF = 4, 2  # bytes of float32 and bfloat16


@dataclass(frozen=True)
class Sizes:
    """Parameters of a network: one block's, the number of blocks, and what stands outside."""

    block: int
    layers: int
    outside: int

    @property
    def all(self) -> int:
        """All parameters, shared ones once."""
        return self.block * self.layers + self.outside


def sizes_of(model: Model) -> Sizes:
    """Counted on a network, which may be without memory (the device meta)."""
    total = sum(parameter.numel() for parameter in model.parameters())
    block = sum(parameter.numel() for parameter in model.blocks[0].parameters())
    layers = len(model.blocks)
    return Sizes(block, layers, total - block * layers)


def block_parameters(spec: Spec) -> int:
    """2 d h k + 2 d g k of attention, 2 d f (3 where gated) of the feed-forward, biases and norms;
    relative distances add d h k and the vectors of their terms.
    """
    d, f, h, g, k = (
        spec.dims.model,
        spec.dims.inner,
        spec.dims.heads,
        spec.dims.kv_heads,
        spec.dims.head,
    )
    heads, groups = h * k, g * k
    count = 2 * d * heads + 2 * d * groups
    if spec.attention.bias is True:
        count += heads + 2 * groups + d
    ups = 2 if spec.ffn.gated else 1
    count += (ups + 1) * d * f
    if spec.ffn.bias:
        count += ups * f + d
    count += 2 * 2 * d  # two norms
    if spec.position.kind == "relative":
        count += d * heads
    if spec.attention.query_bias == "per_layer":
        count += 2 * heads
        if "segment" in spec.score_terms:
            count += 3 * heads
    return count


@dataclass(frozen=True)
class Memory:
    """Bytes of one card at the height of a step."""

    weights: float
    gradients: float
    moments: float
    gathered: float
    activations: float

    @property
    def all(self) -> float:
        """The sum."""
        return self.weights + self.gradients + self.moments + self.gathered + self.activations


def memory(spec: Spec, sizes: Sizes, cards: int, rows: int, length: int, recompute: bool) -> Memory:
    """Of a card that computes `rows` rows of `length` tokens at a time, in bfloat16 over float32
    weights that FSDP2 cuts over all cards.
    """
    share = FULL * sizes.all / cards
    tokens = rows * length
    # What stands outside the blocks stays whole in a step, with its gradient; of blocks there are
    # the one at hand, the next one, and the gradient of one. Autocast holds all weights in half.
    gathered = FULL * (2 * sizes.outside + 3 * sizes.block) + HALF * sizes.all
    return Memory(
        weights=share,
        gradients=share,
        moments=2 * share,
        gathered=gathered,
        activations=activations(spec, tokens, recompute),
    )


def activations(spec: Spec, tokens: int, recompute: bool, size: int = HALF) -> float:
    """What the backward pass needs of so many tokens.

    With recomputing the states that enter each block, in float32, and the inside of one. Scores of
    the vocabulary are made in slices above `Tuning.kept_score_bytes`, and are never held beyond it.
    """
    layers = spec.dims.layers
    inside = block_activations(spec, size) * tokens
    scores = 2 * min(FULL * spec.dims.vocab * tokens, Tuning().kept_score_bytes)
    if recompute:
        return layers * FULL * spec.dims.model * tokens + inside + scores
    return layers * inside + scores


def block_activations(spec: Spec, size: int = HALF) -> int:
    """Bytes a token that a block with a fused attention keeps for the backward pass: of each width d
    what enters both norms and comes out of them, queries, keys, values, what attention mixed, and
    of width f what enters the activation and comes out.
    """
    d, f, heads = spec.dims.model, spec.dims.inner, spec.dims.heads * spec.dims.head
    groups = spec.dims.kv_heads * spec.dims.head
    return size * (4 * d + 2 * heads + 2 * groups + 2 * f)


def wire(sizes: Sizes, cards: int) -> float:
    """Bytes that each card sends in a pass forward and back: weights of blocks are gathered
    twice, others once, gradients scattered once, all in float32.
    """
    return FULL * (3 * sizes.all - sizes.outside) * (cards - 1) / cards


def tensor_wire(spec: Spec, tokens: int, tensor: int) -> float:
    """Bytes that each of `tensor` cards sends which share each layer: two sums of all states a block
    forward and two back.
    """
    ring = 2 * (tensor - 1) / tensor
    return 4 * ring * HALF * spec.dims.model * spec.dims.layers * tokens


@dataclass(frozen=True)
class Pace:
    """One step on so many cards."""

    rows: int
    """Rows that a card computes at a time."""
    passes: int
    memory: Memory
    sent: float
    compute: float
    transfer: float

    @property
    def seconds(self) -> float:
        """Wire and products at once: the longer of the two."""
        return max(self.compute, self.transfer)


def pace(
    spec: Spec, sizes: Sizes, cards: int, rows: int, length: int, recompute: bool
) -> Pace | None:
    """A step of `rows` rows in all, with as many at a time as a card holds; None where it holds
    none, or the rows cannot be shared.
    """
    if rows % cards:
        return None
    own = rows // cards
    fitting = [
        part
        for part in range(1, own + 1)
        if own % part == 0
        and memory(spec, sizes, cards, part, length, recompute).all <= USABLE * CARD
    ]
    if not fitting:
        return None
    most = max(fitting)
    passes = own // most
    factor = 8 if recompute else 6
    compute = factor * sizes.all * own * length / (PEAK * KERNELS)
    sent = wire(sizes, cards) * passes
    speed = NEAR if cards <= MACHINE else FAR
    return Pace(
        rows=most,
        passes=passes,
        memory=memory(spec, sizes, cards, most, length, recompute),
        sent=sent,
        compute=compute,
        transfer=sent / speed,
    )


def utilisation(sizes: Sizes, rows: int, length: int, cards: int, found: Pace) -> float:
    """Useful operations, 6 a parameter and token, over what the cards could do."""
    return 6 * sizes.all * rows * length / (cards * PEAK * found.seconds)


def tables() -> str:
    """A table a network, each line a number of cards with and without recomputing."""
    parts = []
    for name, (recipe, head) in RUNS.items():
        opened = open_recipe(recipe)
        spec, rows = opened.spec, opened.recipe.batch.rows
        length = opened.recipe.data.layout.length
        assert spec is not None and rows is not None and length is not None
        with torch.device("meta"):
            sizes = sizes_of(build_model(spec, head))
        head_line = (
            f"### {name}\n\n{sizes.all:,} parameters, {sizes.block:,} a block, {sizes.outside:,} "
            f"outside; {rows:,} rows of {length:,} tokens a step (`recipes/{recipe}.yaml`).\n"
        )
        lines = [
            "| cards | recompute | rows × passes | weights + gradients + moments | gathered "
            "| activations | GB a card | GB sent | s compute | s wire | utilisation |",
            f"|{'---|' * 11}",
        ]
        lines += [
            _line(spec, sizes, cards, rows, length, recompute)
            for cards in CARDS
            for recompute in (True, False)
        ]
        parts.append("\n".join([head_line, *lines]))
    return "\n\n".join(parts)


def _line(spec: Spec, sizes: Sizes, cards: int, rows: int, length: int, recompute: bool) -> str:
    told = "yes" if recompute else "no"
    found = pace(spec, sizes, cards, rows, length, recompute)
    if found is None:
        least = memory(spec, sizes, cards, 1, length, recompute)
        return f"| {cards} | {told} | does not fit | | | | {least.all / 1e9:.1f} | | | | |"
    held = found.memory
    kept = held.weights + held.gradients + held.moments
    share = utilisation(sizes, rows, length, cards, found)
    cells = [
        str(cards), told, f"{found.rows} × {found.passes}", f"{kept / 1e9:.1f}",
        f"{held.gathered / 1e9:.1f}", f"{held.activations / 1e9:.1f}", f"{held.all / 1e9:.1f}",
        f"{found.sent / 1e9:.0f}", f"{found.compute:.1f}", f"{found.transfer:.1f}", f"{share:.0%}",
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def page(text: str) -> str:
    """The page with its tables made anew."""
    return re.sub(
        r"(<!-- tables -->\n).*(\n<!-- end -->)",
        lambda found: f"{found[1]}\n{tables()}\n{found[2]}",
        text,
        flags=re.DOTALL,
    )


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")

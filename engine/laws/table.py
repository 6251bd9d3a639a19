"""Every law: what it says, which specs it holds for, and what to look at where it is broken."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from engine.checkpoint.save import checked_files
from engine.errors import CheckpointError
from engine.laws import files, learning, order, padding, remembered, ways
from engine.laws.compare import Broken
from engine.model import Model
from engine.spec import Spec, axes


@dataclass(frozen=True)
class Law:
    """One law: its name, what it says in one sentence, and what to look at where it is broken.

    `exception` gives the field of a spec by which the law does not hold, or None; `check` raises
    Broken.
    """

    name: str
    says: str
    look_at: str
    exception: Callable[[Spec], str | None]
    check: Callable[[Model, int], None]


@dataclass(frozen=True)
class Verdict:
    """What came of one law: it holds, it is broken, or it does not apply; `why` says so in words."""

    law: Law
    state: Literal["holds", "broken", "does not apply"]
    why: str = ""


def always(spec: Spec) -> str | None:
    """No exception."""
    return None


def not_causal(spec: Spec) -> str | None:
    """Every token sees every other one."""
    return None if "causal" in spec.attention.mask else "attention.mask has no rule causal"


def one_stream(spec: Spec) -> str | None:
    """There is no factorization order."""
    return None if spec.two_streams else "attention.mask has no rule permutation"


def padding_counts(spec: Spec) -> str | None:
    """Published fields by which padding changes answers."""
    encoder = spec.of_encoder()
    if encoder is not None and (why := padding_counts(encoder)) is not None:
        return f"{why} of the encoder"
    if "padding" not in spec.attention.mask:
        return "attention.mask has no rule padding"
    if spec.attention.infer_padding != "none":
        return f"attention.infer_padding: {spec.attention.infer_padding}"
    count = getattr(spec.position, "count", "all")
    if count in ("columns", "ids"):
        return f"position.count: {count}"
    return "position.padding_row: zero" if _meets_zero_row(spec) else None


def _meets_zero_row(spec: Spec) -> bool:
    """Whether a text reaches the position whose row published code sets to zero."""
    position, padding_id = spec.position, spec.embeddings.tables.tokens.padding
    if not isinstance(position, axes.SinusoidPosition) or padding_id is None:
        return False
    return position.padding_row == "zero" and position.start <= padding_id


def forgets(spec: Spec) -> str | None:
    """What is remembered is less than what a row may see."""
    if spec.memory.kind == "none":
        return "memory.kind: none"
    if not remembered.reaches_back(spec, remembered.LENGTH):
        return "memory is shorter than what a row may see"
    return not_causal(spec) or _published_memory(spec) or _columns(spec)


def _published_memory(spec: Spec) -> str | None:
    attended = isinstance(spec.memory, axes.Recurrent) and spec.memory.padding == "attended"
    return "memory.padding: attended" if attended else None


def _columns(spec: Spec) -> str | None:
    count = getattr(spec.position, "count", "all")
    return f"position.count: {count}" if count in ("columns", "ids") else None


def not_reordered(spec: Spec) -> str | None:
    """Rows that are not alike, or nothing to reorder."""
    if spec.memory.kind == "none":
        return "memory.kind: none"
    if isinstance(spec.memory, axes.Recurrent) and spec.memory.length == 0:
        return "memory.length: 0"
    mirrored = isinstance(spec.position, axes.RelativePosition) and spec.position.reversed_half
    return "position.reversed_half: true" if mirrored else not_causal(spec) or _columns(spec)


def not_rotary(spec: Spec) -> str | None:
    """Positions other than those that turn queries and keys."""
    kinds = dict.fromkeys(one.position.kind for one in spec.of_layers())
    if "rotary" not in kinds:
        return f"position.kind: {', '.join(kinds)}"
    if order.goes_by_length(spec):
        return "position.scaling goes by the length of the text"
    if any(turned_first(one) for one in spec.of_layers()):
        return "attention.head_norm.when: after_position"
    return "memory.initial: zeros" if padding.starts_with_zeros(spec) else None


def turned_first(spec: Spec) -> bool:
    """Whether queries and keys are normed after they were turned, a number a channel."""
    norm = spec.attention.head_norm
    return norm is not None and norm.when == "after_position"


def no_spread(spec: Spec) -> str | None:
    """A softmax over one token has no gradient."""
    return None if learning.spreads(spec) else "each row sees one token alone"


def no_other_format(spec: Spec) -> str | None:
    """There are no names for another library, or its config cannot say this network."""
    layout = spec.checkpoint.huggingface
    if layout is None:
        return "checkpoint has no section huggingface"
    try:
        checked_files(spec, layout)
    except CheckpointError as error:
        return str(error)
    return None


def no_rows_apart(spec: Spec) -> str | None:
    """Rows cannot run without each other, or padding counts."""
    if spec.encoder is not None:
        return "encoder: its batches have padding of two kinds"
    mirrored = isinstance(spec.position, axes.RelativePosition) and spec.position.reversed_half
    return "position.reversed_half: true" if mirrored else padding_counts(spec)


LAWS = (
    Law(
        "later tokens",
        "a token never changes an answer before it",
        "the mask, and whatever mixes tokens outside attention",
        not_causal,
        order.check_later_tokens,
    ),
    Law(
        "factorization order",
        "a token changes only answers later in the order, and no prediction sees its own token",
        "the rule permutation of attention.mask",
        one_stream,
        order.check_order,
    ),
    Law(
        "padding",
        "padding on either side changes no answer of a real token",
        "how position counts, and the rule padding of attention.mask",
        padding_counts,
        padding.check_padding,
    ),
    Law(
        "company",
        "a row answers alone as it does in a batch",
        "whatever is computed over the rows of a batch",
        always,
        padding.check_company,
    ),
    Law(
        "chunks",
        "a text in chunks with memory answers as the whole",
        "memory, and how positions go on behind it",
        forgets,
        remembered.check_chunks,
    ),
    Law(
        "cached steps",
        "a text read token by token answers as the whole",
        "memory, and how positions go on behind it",
        forgets,
        remembered.check_steps,
    ),
    Law(
        "reordered memory",
        "rows of memory that are chosen and reordered go on as if read that way",
        "what a layer keeps between calls outside its memory",
        not_reordered,
        remembered.check_reordering,
    ),
    Law(
        "distances",
        "positions that all grow alike change no answer",
        "position",
        not_rotary,
        order.check_distances,
    ),
    Law(
        "gradients",
        "every parameter takes part and receives a finite gradient",
        "a section that makes a parameter which the forward pass does not read",
        no_spread,
        learning.check_gradients,
    ),
    Law(
        "recomputed blocks",
        "gradient checkpointing changes no gradient",
        "blocks that give another result the second time",
        always,
        learning.check_checkpointing,
    ),
    Law(
        "kept attention weights",
        "attention weights that are asked for change no answer, and each row sums to one",
        "score terms, and the scale of attention",
        always,
        ways.check_kept_weights,
    ),
    Law(
        "rows without padding",
        "a batch that runs without its padding answers as with it",
        "how position counts",
        no_rows_apart,
        ways.check_unpadded,
    ),
    Law("YAML", "the spec reads back as it was written", "the spec", always, files.check_yaml),
    Law(
        "own format",
        "weights, ties and answers come back from a saved folder bit by bit",
        "parameters that one name stands for",
        always,
        files.check_own_format,
    ),
    Law(
        "other format",
        "weights, ties and answers come back from transformers' layout bit by bit",
        "checkpoint.huggingface: names and config",
        no_other_format,
        files.check_other_format,
    ),
)


def check_model(model: Model, seed: int = 0, tries: int = 3) -> Iterator[Verdict]:
    """The verdict of each law over a network in evaluation mode, best in float64, with `tries`
    calls of random tokens from `seed` on; the network is left as it was.
    """
    for law in LAWS:
        yield check_law(law, model, seed, tries)


def check_law(law: Law, model: Model, seed: int = 0, tries: int = 3) -> Verdict:
    """The verdict of one law, as `check_model` gives it."""
    exception = law.exception(model.spec)
    if exception is not None:
        return Verdict(law, "does not apply", exception)
    for number in range(seed, seed + tries):
        try:
            law.check(model, number)
        except Broken as broken:
            why = f"{broken} (seed {number}); look at {law.look_at}"
            return Verdict(law, "broken", why)
        finally:
            model.zero_grad(set_to_none=True)
    return Verdict(law, "holds")

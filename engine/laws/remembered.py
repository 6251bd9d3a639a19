"""Memory is exact where it is long enough: whole = in chunks, cached = uncached, reordered =
recomputed.
"""

from typing import Any

import torch
from torch import Tensor

from engine.laws.calls import SOURCE_NAMES, answer, ask, inputs_for
from engine.laws.compare import agree
from engine.network.network import Network
from engine.spec import Spec, axes

LENGTH = 7
BY_TOKEN = ("input_ids", "token_type_ids", "langs", "attention_mask")


def reaches_back(spec: Spec, length: int) -> bool:
    """Whether all that a row of the whole text may see is still remembered when the text comes in
    chunks.

    Left out by their names: positions counted from the end of each call, memory that keeps a part
    of a segment, and same_length: remembered, which looks as far back as memory happens to hold.
    """
    memory, attention = spec.memory, spec.attention
    if spec.position.kind == "from_end":
        return False
    if not isinstance(memory, axes.Recurrent):
        return True
    same_length = "same_length" in attention.mask
    if (
        memory.reuse is not None
        or (same_length and attention.same_length == "remembered")
        or memory.length == 0
    ):
        return False
    before = memory.length or 0 if memory.initial == "zeros" else 0
    spans = [widest_window(spec), memory.length if same_length else None, before + length]
    return (
        memory.length is None
        or memory.length >= min(span for span in spans if span is not None) - 1
    )


def widest_window(spec: Spec) -> int | None:
    """The largest window of any layer; None where a layer has none."""
    windows = [one.attention.window for one in spec.of_layers()]
    known = [window for window in windows if window is not None]
    return max(known) if len(known) == len(windows) else None


def cut(inputs: dict[str, Any], start: int, stop: int) -> dict[str, Any]:
    """The arguments of tokens `start` to `stop`."""
    return {
        name: value[:, start:stop] if name in BY_TOKEN else value for name, value in inputs.items()
    }


def in_chunks(
    model: Network, inputs: dict[str, Any], cuts: list[int], memory: Any = None
) -> Tensor:
    """The answers of one text given in chunks that end at `cuts`, each with the memory of those
    before.
    """
    parts, start = [], 0
    for stop in cuts:
        result = ask(model, **cut(inputs, start, stop), memory=memory, use_memory=True)
        memory, start = result.memory, stop
        parts.append(answer(result))
    return torch.cat(parts, dim=1)


def check_chunks(
    model: Network, seed: int, cuts: list[int] | None = None, padded: bool = False
) -> None:
    """Raise Broken unless a text in chunks that end at `cuts` (drawn by `seed` where None) answers
    as the whole, with and without gradients.
    """
    cuts = [1 + seed % (LENGTH - 1), LENGTH] if cuts is None else cuts
    # As a score term, remembered tokens count as type 0 (XLNet): types of their own would change
    # the answers.
    types = "segment" not in model.spec.attention.score
    inputs = inputs_for(model.spec, length=LENGTH, seed=seed, permuted=False, optional=types)
    if padded:
        inputs["attention_mask"] = torch.ones(2, LENGTH, dtype=torch.long)
        inputs["attention_mask"][0, :2] = 0
    whole = answer(ask(model, **inputs))
    agree(in_chunks(model, inputs, cuts), whole, f"chunks that end at {cuts}")
    with torch.no_grad():  # memory grows in place
        agree(in_chunks(model, inputs, cuts), whole, f"chunks that end at {cuts}, outside autograd")


def check_steps(model: Network, seed: int) -> None:
    """Raise Broken unless a text read token by token answers as the whole."""
    check_chunks(model, seed, list(range(1, LENGTH + 1)))


def check_reordering(model: Network, seed: int) -> None:
    """Raise Broken unless rows of memory that are chosen, repeated and reordered (beams) go on as
    if their texts had been read that way.
    """
    spec, rows = model.spec, torch.tensor([2, 0, 0, 1])
    padded = "padding" in spec.attention.mask
    first = inputs_for(spec, batch=3, length=4, seed=seed, permuted=False, padded=padded)
    chosen = {name: value[rows] for name, value in first.items()}
    second = inputs_for(spec, batch=4, length=2, seed=seed + 1, permuted=False, optional=False)
    second |= {
        name: value
        for name, value in chosen.items()
        if name in ("encoder_hidden_states", *SOURCE_NAMES)
    }
    recomputed = ask(model, **second, memory=ask(model, **chosen, use_memory=True).memory)
    reordered = ask(
        model, **second, memory=ask(model, **first, use_memory=True).memory.select(rows)
    )
    agree(answer(reordered), answer(recomputed), "answers after reordering")

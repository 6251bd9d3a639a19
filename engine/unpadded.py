"""Batches of unequal lengths without paying for padding: rows of similar length run together, their
padding cut off.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from engine.errors import InputError
from engine.kernels.losses import IGNORED
from engine.network.inputs import ARGUMENTS, Inputs, read_inputs
from engine.network.network import Network
from engine.network.outputs import Output
from engine.spec import Spec

PADDED = ("input_ids", "inputs_embeds", "attention_mask", "input_mask", "lengths")
BY_TOKEN = ("input_ids", "inputs_embeds", "token_type_ids", "position_ids", "langs")
BY_ROW = ("encoder_hidden_states", "encoder_attention_mask")
ALIKE = 0.75  # rows down to this share of a group's longest run with it
FEW = 256  # tokens; a smaller group takes in shorter rows, since products over so few rows are slow


def run_unpadded(model: Network, tokens_at_once: int = 4096, **call: Any) -> Output:
    """`model(**call)` over rows (b i) with padding, for a bare body or a language-model head, at
    the cost of real tokens.

    Groups hold at most `tokens_at_once` tokens, or one row. Gives `last_hidden_state` (b i d), and
    `logits` (b i v), `losses` (b i) and `loss` as the call would, with 0 at padding; gradients
    flow. Memory is neither taken nor given. Raises InputError for a call whose answers depend on
    padding, or with labels at padding.
    """
    if model.spec.encoder is not None:
        raise InputError(
            "rows of a network with an encoder have padding of two kinds and run together: call it"
        )
    _check(model, call)
    read = read_inputs(
        Inputs(**{name: value for name, value in call.items() if name in ARGUMENTS}), model.device
    )
    call |= {name: getattr(read, name) for name in call if name in ARGUMENTS}
    if read.input_ids is None and read.inputs_embeds is None:
        raise InputError("rows run apart need input_ids or inputs_embeds")
    inputs = Inputs(**{name: call[name] for name in (*PADDED, "target_mapping") if name in call})
    real, labels = inputs.padding(model.spec), call.get("labels")
    if real is None:
        return model(**call, use_memory=False)
    if real.dim() == 3:
        raise InputError(
            "an attention_mask by pair does not say which tokens are padding: give one of (b i)"
        )
    predictions = call.get("target_mapping") is not None
    if labels is not None and not predictions and bool(((labels != IGNORED) & ~real).any()):
        raise InputError(f"labels at padding must be {IGNORED}")
    shifted = labels is not None and bool(getattr(model.head, "shifted", False))
    whole: dict[str, Tensor] = {}
    balance: list[Tensor] = []
    edges = _edges(model, real, shifted, inputs.ahead > 0)
    for rows, columns in _groups(edges, tokens_at_once):
        part = model(**_part(model.spec, call, rows, columns, real), use_memory=False)
        if part.aux_loss is not None:
            share = real[rows].sum() / real.sum()
            balance.append(part.aux_loss * share)
        for name in ("last_hidden_state", "logits", "losses"):
            found = getattr(part, name)
            if found is not None:
                start = 0 if predictions else columns.start
                length = found.shape[1] if predictions else inputs.shape[1]
                whole.setdefault(name, found.new_zeros(len(real), length, *found.shape[2:]))
                whole[name][rows, start : start + found.shape[1]] = found
    output = Output(
        last_hidden_state=whole.get("last_hidden_state"),
        logits=whole.get("logits"),
        losses=whole.get("losses"),
    )
    if output.losses is not None and labels is not None:
        labels = labels[:, 1:] if shifted else labels
        output.losses = output.losses[:, : labels.shape[1]]
        output.loss = output.losses.sum() / (labels != IGNORED).sum().clamp(min=1)
        if balance:
            output.aux_loss = torch.stack(balance).sum()
            output.loss = output.loss + output.aux_loss
    return output


def _check(model: Network, call: dict[str, Any]) -> None:
    allowed = {
        *PADDED,
        *BY_TOKEN,
        *BY_ROW,
        "perm_mask",
        "target_mapping",
        "labels",
        "output_logits",
        "head_mask",
    }
    for name, value in call.items():
        if name not in (*allowed, "cross_head_mask") and value is not None:
            raise InputError(f"rows run apart take no '{name}'")
    if model.head is not None and "output_logits" not in model.head.inputs:
        raise InputError(
            "only a bare body and language-model heads run without padding: other heads pool whole rows"
        )
    if model.position.mirrored:
        raise InputError(
            "position.reversed_half pairs the halves of a batch, whose rows cannot run apart"
        )


def _edges(model: Network, real: Tensor, shifted: bool, ahead: bool) -> list[tuple[int, int]]:
    """The first and the last place plus one that each row needs; padding around the text stays
    where it matters.
    """
    length = real.shape[1]
    first = real.int().argmax(1)
    last = length - real.flip(1).int().argmax(1)
    if model.position.padding_counts or model.memory_policy.starts_full:
        first = torch.zeros_like(first)
    if ahead:  # what lies past the padding keeps its distance
        last = torch.full_like(last, length)
    if shifted:  # the place before the text predicts its first token
        first = (first - 1).clamp(min=0)
    empty = ~real.any(1)
    first, last = first.masked_fill(empty, 0), last.masked_fill(empty, 1)
    return list(zip(first.tolist(), last.tolist(), strict=True))


def _groups(edges: list[tuple[int, int]], tokens_at_once: int) -> Iterator[tuple[Tensor, slice]]:
    """Rows that run together, longest first, and the columns that they need."""
    order = sorted(range(len(edges)), key=lambda row: (edges[row][0] - edges[row][1], edges[row]))
    group: list[int] = []
    start = stop = 0
    for row in order:
        first, last = edges[row]
        wider = (min(start, first), max(stop, last)) if group else (first, last)
        width = wider[1] - wider[0]
        full = (len(group) + 1) * width > tokens_at_once
        unlike = last - first < ALIKE * width and len(group) * (stop - start) >= FEW
        if group and (full or unlike):
            yield torch.tensor(group), slice(start, stop)
            group, wider = [], (first, last)
        group, (start, stop) = [*group, row], wider
    yield torch.tensor(group), slice(start, stop)


def _part(
    spec: Spec, call: dict[str, Any], rows: Tensor, columns: slice, real: Tensor
) -> dict[str, Any]:
    """The arguments of a call for some rows and columns."""
    part = {
        name: value
        for name, value in call.items()
        if name not in ("attention_mask", "input_mask", "lengths")
    }
    for name, value in part.items():
        if not isinstance(value, Tensor) or name in ("head_mask", "cross_head_mask"):
            continue
        chosen = value if len(value) == 1 < len(real) else value[rows]
        if (
            name in BY_TOKEN
            or (name == "labels" and call.get("target_mapping") is None)
            or (name == "encoder_attention_mask" and chosen.dim() == 3)
        ):
            chosen = chosen[:, columns]
        elif name == "perm_mask":
            chosen = chosen[:, columns, columns]
        elif name == "target_mapping":
            ahead = chosen[..., real.shape[1] :]
            chosen = torch.cat((chosen[..., columns], ahead), dim=-1)
        part[name] = chosen
    mask = real[rows, columns]
    if not bool(mask.all()) or spec.attention.infer_padding != "none":
        part["attention_mask"] = mask
    return part

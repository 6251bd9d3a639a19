"""Text of any length through a recurrent model, segment by segment, in constant memory."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from engine.arguments import check_callable, check_count, check_flag, read_ids
from engine.errors import InputError
from engine.generation.guards import check_text_method
from engine.generation.prompts import check_given_memory, output_layer
from engine.generation.start import start_memory
from engine.memory import Memory
from engine.network.inputs import Inputs
from engine.spec import axes

if TYPE_CHECKING:
    from engine.model import Model


@dataclass(frozen=True)
class Segment:
    """One segment: where it starts, its ids (b i), last states (b i d), logits (b i v) if asked
    for, memory after it.
    """

    start: int
    tokens: Tensor
    last_hidden_state: Tensor
    logits: Tensor | None
    memory: Memory


def stream(
    model: "Model",
    tokens: Tensor | Iterable[int],
    segment: int,
    memory: Memory | None,
    memory_length: int | None,
    predictions: bool,
    on_progress: Callable[[int], None] | None,
) -> Iterator[Segment]:
    """Segments of ids (b n), or of a source of ids that is read as it is needed, with what each
    leaves behind.
    """
    spec = model.spec
    check_count("segment", segment)
    check_flag("predictions", predictions)
    check_callable("on_progress", on_progress)
    check_text_method(model, "stream", predicts=predictions)
    if memory_length is not None:
        check_count("memory_length", memory_length)
    unbounded = isinstance(spec.memory, axes.Recurrent) and spec.memory.length is None
    if memory_length is None and unbounded:
        raise InputError(
            f"'{spec.name}' keeps every token (memory.length null): give memory_length to stay in constant memory"
        )
    device = model.device
    if isinstance(tokens, Tensor | list | tuple) or hasattr(tokens, "__array__"):
        tokens = read_ids("tokens", tokens, device)
        tokens = tokens[None] if tokens.dim() == 1 else tokens
        if tokens.dim() != 2 or not tokens.numel():
            raise InputError(
                f"tokens has shape {tuple(tokens.shape)}, expected (batch, length) and not empty"
            )
    elif not isinstance(tokens, Iterable):
        raise InputError(
            f"tokens is a {type(tokens).__name__}, expected ids (b n), or a source of ids"
        )
    if memory is not None:
        check_given_memory(spec, memory, len(tokens) if isinstance(tokens, Tensor) else 1)
    return _segments(model, tokens, segment, memory, memory_length, predictions, on_progress)


def _segments(
    model: "Model",
    tokens: Tensor | Iterable[int],
    size: int,
    memory: Memory | None,
    memory_length: int | None,
    predictions: bool,
    on_progress: Callable[[int], None] | None,
) -> Iterator[Segment]:
    start, inferred = 0, model.spec.attention.infer_padding != "none"
    for part in _parts(tokens, size, model.device):
        with torch.no_grad():
            if start == 0:
                begun = (
                    model.project_memory(memory)
                    if memory is not None
                    else start_memory(model, len(part))
                )
                memory = begun
            # Said to be real: else some specs would take the newest tokens for padding, segment by
            # segment.
            mask = torch.ones_like(part, dtype=torch.bool) if inferred else None
            out = model.body(Inputs(part, attention_mask=mask, memory=memory, use_memory=True))
            states, memory = out.last_hidden_state, out.memory
            assert states is not None and memory is not None
            memory = memory if memory_length is None else memory.last(memory_length)
            logits = output_layer(model)(states) if predictions else None
        yield Segment(start, part, states, logits, memory)
        start += part.shape[1]
        if on_progress is not None:
            on_progress(start)


def _parts(tokens: Tensor | Iterable[int], size: int, device: torch.device) -> Iterator[Tensor]:
    if isinstance(tokens, Tensor):
        yield from tokens.split(size, dim=1)
        return
    source = iter(tokens)
    while part := list(islice(source, size)):
        yield read_ids("tokens", [part], device)

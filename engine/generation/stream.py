"""Text of any length through a recurrent model, segment by segment, in constant memory."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from engine.errors import InputError
from engine.generation.prompts import output_layer
from engine.generation.start import project_memory, remembers, start_memory
from engine.inputs import Inputs
from engine.memory import Memory, check_memory

if TYPE_CHECKING:
    from engine.model import Model


@dataclass(frozen=True)
class Segment:
    """One segment: where it starts, its ids (b i), last states (b i d), logits (b i v) if asked for, memory after it."""

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
    """Segments of ids (b n), or of a source of ids that is read as it is needed, with what each leaves behind."""
    spec = model.spec
    if spec.memory.kind != "recurrent" or not remembers(model):
        raise InputError(
            f"stream() needs memory.kind recurrent; '{spec.name}' has {spec.memory.kind}: use score(window=…)"
        )
    if segment < 1:
        raise InputError(f"segment is {segment}: at least one token is needed")
    if memory_length is not None and memory_length < 1:
        raise InputError(f"memory_length is {memory_length}: at least one token is needed")
    if memory_length is None and spec.memory.length is None:
        raise InputError(
            f"'{spec.name}' keeps every token (memory.length null): give memory_length to stay in constant memory"
        )
    if predictions:
        output_layer(model)
    if isinstance(tokens, Tensor) and (tokens.dim() != 2 or not tokens.numel()):
        raise InputError(f"tokens has shape {tuple(tokens.shape)}, expected (batch, length) and not empty")
    if memory is not None:
        check_memory(spec, memory, len(tokens) if isinstance(tokens, Tensor) else 1)
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
    start = 0
    for part in _parts(tokens, size, next(model.parameters()).device):
        with torch.no_grad():
            if start == 0:
                begun = project_memory(model, memory) if memory is not None else start_memory(model, len(part))
                memory = begun
            out = model.body(Inputs(part, memory=memory, use_memory=True))
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
        yield torch.tensor([part], device=device)

"""Text of any length through a recurrent network, segment by segment, in constant memory."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor

from engine.arguments import check_callable, check_count, check_flag, read_ids
from engine.errors import InputError
from engine.generation.guards import check_text_method
from engine.generation.predictions import output_layer
from engine.generation.reading import check_given_memory
from engine.generation.start import MemoryMethods, begin_with
from engine.memory import Memory
from engine.network.inputs import Inputs


@dataclass(frozen=True)
class Segment:
    """One segment of a text."""

    start: int
    """How many tokens stand before it."""
    tokens: Tensor
    """(b i)."""
    last_hidden_state: Tensor
    """(b i d)."""
    logits: Tensor | None
    """(b i v), where the options say `predictions`."""
    memory: Memory
    """What goes into the next segment."""


@dataclass(frozen=True)
class SegmentOptions:
    """How a text is cut and what comes back; see `Model.stream`."""

    segment: int = 128
    memory_length: int | None = None
    predictions: bool = False
    on_progress: Callable[[int], None] | None = None


def stream(
    network: MemoryMethods,
    tokens: Tensor | Iterable[int],
    memory: Memory | None,
    options: SegmentOptions,
) -> Iterator[Segment]:
    """Segments of ids (b n), or of an iterable of ids that is read as it is needed."""
    spec = network.spec
    check_count("segment", options.segment)
    check_flag("predictions", options.predictions)
    check_callable("on_progress", options.on_progress)
    check_text_method(network, "stream", predicts=options.predictions)
    if options.memory_length is not None:
        check_count("memory_length", options.memory_length)
    elif network.memory_policy.longest("segments") is None:
        raise InputError(
            f"'{spec.name}' keeps every token (memory.length null): give memory_length to stay in "
            "constant memory"
        )
    batch = 1
    if isinstance(tokens, Tensor | list | tuple) or hasattr(tokens, "__array__"):
        tokens = read_ids("tokens", tokens, network.device)
        if tokens.dim() == 1:
            tokens = tokens[None]
        if tokens.dim() != 2 or not tokens.numel():
            raise InputError(
                f"tokens has shape {tuple(tokens.shape)}, expected (batch, length) and not empty"
            )
        batch = len(tokens)
    elif not isinstance(tokens, Iterable):
        raise InputError(
            f"tokens is a {type(tokens).__name__}, expected ids (b n), or a source of ids"
        )
    check_given_memory(spec, memory, batch)
    return _segments(network, tokens, memory, options)


def _segments(
    network: MemoryMethods,
    tokens: Tensor | Iterable[int],
    given: Memory | None,
    options: SegmentOptions,
) -> Iterator[Segment]:
    start, memory = 0, given
    for part in _parts(tokens, options.segment, network.device):
        with torch.no_grad():
            if start == 0:
                memory = begin_with(network, given, len(part))
            segment = _run(network, start, part, memory, options)
        yield segment
        memory = segment.memory
        start += part.shape[1]
        if options.on_progress is not None:
            options.on_progress(start)


def _run(
    network: MemoryMethods,
    start: int,
    tokens: Tensor,
    memory: Memory | None,
    options: SegmentOptions,
) -> Segment:
    """One segment (b i) that begins at token `start`."""
    mask = None
    if network.spec.attention.infer_padding != "none":
        # Else the newest tokens of a segment could be taken for padding by their ids.
        mask = torch.ones_like(tokens, dtype=torch.bool)
    out = network.body(Inputs(tokens, attention_mask=mask, memory=memory, use_memory=True))
    states, after, logits = out.states, out.memory, None
    assert after is not None  # a recurrent network with use_memory leaves one
    if options.memory_length is not None:
        after = after.last(options.memory_length)
    if options.predictions:
        logits = output_layer(network)(states)
    return Segment(start, tokens, states, logits, after)


def _parts(tokens: Tensor | Iterable[int], size: int, device: torch.device) -> Iterator[Tensor]:
    if isinstance(tokens, Tensor):
        yield from tokens.split(size, dim=1)
        return
    source = iter(tokens)
    while part := list(islice(source, size)):
        yield read_ids("tokens", [part], device)

"""Rules of an encoder, but for what its own spec breaks."""

from collections.abc import Iterator

from engine.spec.intact import Problem
from engine.spec.sections import Sections


def encoder(spec: Sections) -> Iterator[Problem]:
    axis = spec.encoder
    if axis is None:
        if spec.tokens.decoder_start is not None:
            yield "tokens.decoder_start", "a text begins with it beside an encoder only"
        return
    if not spec.attention.cross:
        yield "attention.cross", "blocks attend to the encoder: say cross true"
    if spec.two_streams:
        yield "encoder", "a network of two streams (attention.mask permutation) takes no encoder"
    if axis.said("attention", "cross"):
        yield "encoder.attention.cross", "an encoder has no encoder to attend to: say cross false"
    if "permutation" in (axis.said("attention", "mask") or ()):
        yield "encoder.attention.mask", "an encoder has one stream: leave permutation out"

"""Rules of the output layer and of ids with a meaning."""

from collections.abc import Iterator

from engine.spec.intact import Problem
from engine.spec.rules.embeddings import ascending, narrowing
from engine.spec.sections import Sections


def output(spec: Sections) -> Iterator[Problem]:
    output, tokens = spec.heads.output, spec.embeddings.tables.tokens
    cutoffs = output.cutoffs if output.cutoffs is not None else tokens.cutoffs
    if output.kind != "adaptive":
        if output.cutoffs is not None or output.divisor is not None:
            yield "heads.output.cutoffs", "cutoffs and divisor belong to heads.output.kind adaptive"
        yield from _tied_projection(spec)
        if output.tied and tokens.divisor > 1:
            yield (
                "heads.output.tied",
                "a plain output layer cannot share an adaptive table: set tied false",
            )
    else:
        yield from ascending("heads.output.cutoffs", cutoffs, spec.dims.vocab)
        divisor = output.divisor or tokens.divisor
        if (divisor, cutoffs) != (tokens.divisor, tokens.cutoffs):
            yield from narrowing(spec, "heads.output.divisor", divisor, cutoffs)
        if output.tied and (divisor, cutoffs if divisor > 1 else ()) != (
            tokens.divisor,
            tokens.cutoffs if divisor > 1 else (),
        ):
            yield (
                "heads.output.tied",
                "tied clusters need the cutoffs and divisor of the token table",
            )
        if (
            isinstance(output.tied_projections, tuple)
            and len(output.tied_projections) != len(cutoffs) + 1
        ):
            yield (
                "heads.output.tied_projections",
                f"{len(cutoffs) + 1} clusters need as many entries, found {len(output.tied_projections)}",
            )
    tied = output.tied_projections
    if spec.embedding_width != spec.dims.model and (
        tied is True or (isinstance(tied, tuple) and any(tied))
    ):
        yield (
            "heads.output.tied_projections",
            f"projections from embeddings.width {spec.embedding_width} are not those from dims.model {spec.dims.model}: "
            "set tied_projections false",
        )
    if output.samples is not None and output.kind != "linear":
        yield "heads.output.samples", "a sampled softmax needs heads.output.kind linear"
    elif output.samples is not None and output.samples >= spec.dims.vocab:
        yield (
            "heads.output.samples",
            f"{output.samples} of {spec.dims.vocab} tokens are all of them: leave it out",
        )
    if not output.dense_bias and output.kind != "transform":
        yield "heads.output.dense_bias", "only heads.output.kind transform has a dense layer"
    yield from _numbers(spec)


def _numbers(spec: Sections) -> Iterator[Problem]:
    output = spec.heads.output
    for name, default in (("scale", "none"), ("softcap", None)):
        if output.kind == "adaptive" and getattr(output, name) != default:
            yield f"heads.output.{name}", "clusters have none: use heads.output.kind linear"
    if output.samples is not None and output.softcap is not None:
        yield "heads.output.softcap", "drawn tokens have none: leave samples out"


def _tied_projection(spec: Sections) -> Iterator[Problem]:
    output = spec.heads.output
    tied = output.tied_projections
    width = spec.embeddings.tables.tokens.width or spec.embedding_width
    if tied in (False, (False,)):
        return
    if output.kind != "linear" or width == spec.dims.model:
        yield (
            "heads.output.tied_projections",
            f"an output layer of kind {output.kind} has no projection to share where tokens are as wide as the model: "
            "set it false",
        )
    elif tied not in (True, (True,)):
        yield (
            "heads.output.tied_projections",
            "a plain output layer has one projection: set it true or false",
        )


def tokens(spec: Sections) -> Iterator[Problem]:
    for name, value in spec.tokens.model_dump().items():
        ids = value if isinstance(value, tuple) else (value,)
        for one in ids:
            if isinstance(one, int) and one >= spec.dims.vocab:
                yield f"tokens.{name}", f"id {one} is outside the vocabulary of {spec.dims.vocab}"

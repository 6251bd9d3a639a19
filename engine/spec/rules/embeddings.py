"""Rules of the tables at the bottom."""

from collections.abc import Iterator

from engine.spec.intact import Problem
from engine.spec.sections import Sections


def embeddings(spec: Sections) -> Iterator[Problem]:
    tables, vocab = spec.embeddings.tables, spec.dims.vocab
    if tables.tokens.padding is not None and tables.tokens.padding >= vocab:
        yield (
            "embeddings.tables.tokens.padding",
            f"id {tables.tokens.padding} is outside the vocabulary of {vocab}",
        )
    yield from ascending("embeddings.tables.tokens.cutoffs", tables.tokens.cutoffs, vocab)
    yield from narrowing(
        spec, "embeddings.tables.tokens.divisor", tables.tokens.divisor, tables.tokens.cutoffs
    )
    if (
        tables.tokens.projection_bias
        and tables.tokens.divisor == 1
        and tables.tokens.width in (None, spec.dims.model)
    ):
        yield (
            "embeddings.tables.tokens.projection_bias",
            "a table as wide as the model is not projected: nothing to bias",
        )
    if tables.segments and tables.segments.source == "table" and tables.segments.count is None:
        yield "embeddings.tables.segments.count", "a segment table needs a count"
    if tables.segments and tables.segments.source == "tokens" and tables.segments.count is not None:
        yield (
            "embeddings.tables.segments.count",
            "segments read from the token table have no count of their own",
        )


def ascending(path: str, cutoffs: tuple[int, ...], vocab: int) -> Iterator[Problem]:
    if list(cutoffs) != sorted(set(cutoffs)) or (cutoffs and cutoffs[-1] >= vocab):
        yield path, f"cutoffs {list(cutoffs)} must ascend and stay below dims.vocab {vocab}"


def narrowing(
    spec: Sections, path: str, divisor: int, cutoffs: tuple[int, ...]
) -> Iterator[Problem]:
    """Clusters whose width, that of the table divided once more in each, comes to nothing."""
    width = spec.embeddings.tables.tokens.width or spec.embedding_width
    if divisor > 1 and (len(cutoffs) > width.bit_length() or width < divisor ** len(cutoffs)):
        yield path, "the last cluster would have no width: lower divisor or cutoffs"

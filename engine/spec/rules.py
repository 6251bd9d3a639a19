"""Rules that tie one axis to another, each as (path, what is wrong and what would be right)."""

from collections.abc import Callable, Iterator

from engine.spec import axes
from engine.spec.intact import Intact, Problem, told_by
from engine.spec.sections import Sections


def broken_rules(spec: Sections | Intact) -> list[Problem]:
    """Every cross-axis rule that a spec breaks, in the order of the axes, before the defaults of
    `dims` are filled in.
    """
    return told_by(RULES, spec)


def _heads(spec: Sections) -> Iterator[Problem]:
    dims = spec.dims
    if dims.head is None and dims.model % dims.heads:
        yield (
            "dims.heads",
            f"dims.model {dims.model} is not a multiple of dims.heads {dims.heads}: say dims.head",
        )
    if dims.kv_heads and dims.heads % dims.kv_heads:
        yield (
            "dims.kv_heads",
            f"dims.heads {dims.heads} is not a multiple of dims.kv_heads {dims.kv_heads}",
        )


def _tables(spec: Sections) -> Iterator[Problem]:
    tables, vocab = spec.embeddings.tables, spec.dims.vocab
    if tables.tokens.padding is not None and tables.tokens.padding >= vocab:
        yield (
            "embeddings.tables.tokens.padding",
            f"id {tables.tokens.padding} is outside the vocabulary of {vocab}",
        )
    yield from _ascending("embeddings.tables.tokens.cutoffs", tables.tokens.cutoffs, vocab)
    yield from _narrowing(
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


def _ascending(path: str, cutoffs: tuple[int, ...], vocab: int) -> Iterator[Problem]:
    if list(cutoffs) != sorted(set(cutoffs)) or (cutoffs and cutoffs[-1] >= vocab):
        yield path, f"cutoffs {list(cutoffs)} must ascend and stay below dims.vocab {vocab}"


def _narrowing(
    spec: Sections, path: str, divisor: int, cutoffs: tuple[int, ...]
) -> Iterator[Problem]:
    """Clusters whose width, that of the table divided once more in each, comes to nothing."""
    width = spec.embeddings.tables.tokens.width or spec.embedding_width
    if divisor > 1 and (len(cutoffs) > width.bit_length() or width < divisor ** len(cutoffs)):
        yield path, "the last cluster would have no width: lower divisor or cutoffs"


def _position(spec: Sections) -> Iterator[Problem]:
    position, score = spec.position, spec.attention.score
    if "position" in score and position.kind not in axes.DISTANCE_KINDS:
        yield (
            "attention.score",
            f"position.kind {position.kind} has no distances for the score term 'position': leave "
            "the term out, it follows from position.kind",
        )
    if "content" not in score:
        yield "attention.score", "the score term 'content' is always needed"
    if len(set(score)) != len(score):
        yield "attention.score", f"each score term stands once, found {list(score)}"
    if position.kind == "learned" and position.start == "after_padding":
        if spec.embeddings.tables.tokens.padding is None:
            yield "position.start", "after_padding needs embeddings.tables.tokens.padding"
        elif spec.embeddings.tables.tokens.padding + 1 >= position.size:
            yield "position.size", f"{position.size} rows leave none behind that of the padding id"
    elif isinstance(position, axes.LearnedPosition) and int(position.start) >= position.size:
        yield (
            "position.start",
            f"positions start at {position.start} but the table has {position.size} rows",
        )
    if position.kind == "sinusoid" and position.stored and position.size is None:
        yield "position.size", "a stored sinusoid table needs a size"
    bottom = "embeddings.width" if spec.embeddings.width else "dims.model"
    width = spec.embeddings.width or spec.dims.model
    if position.kind == "sinusoid" and width % 2:
        yield bottom, f"sinusoid positions need an even {bottom}"
    if position.kind == "sinusoid" and position.basis == "tensor2tensor" and width < 4:
        yield bottom, f"position.basis tensor2tensor needs at least 4 as {bottom}"
    if position.kind == "relative" and spec.dims.model % 2:
        yield "dims.model", "relative positions need an even dims.model"
    if position.kind == "from_end" and position.table == "learned" and position.size is None:
        yield "position.size", "a learned table needs a size"
    if position.kind == "from_end" and spec.memory.kind == "keys_values":
        yield (
            "memory.kind",
            "positions counted from the end change at each step: use memory.kind recurrent or none",
        )
    if position.kind == "from_end" and position.table == "sinusoid" and width != spec.dims.model:
        yield (
            "embeddings.width",
            "sinusoids from the end are added to tokens and to remembered states: leave width out",
        )
    if position.kind == "from_end" and position.table == "sinusoid" and spec.dims.model % 2:
        yield "dims.model", "sinusoid positions need an even dims.model"
    if position.kind == "rotary":
        head = spec.dims.head or spec.dims.model // spec.dims.heads
        width = position.width or int(head * position.fraction)
        if position.width and position.fraction != 1.0:
            yield "position.width", "say position.width or position.fraction, not both"
        elif width % 2 or not 0 < width <= head:
            where = "position.width" if position.width else "position.fraction"
            yield where, f"rotary positions need an even width, found {width} of head {head}"
    if (
        position.kind in ("learned", "sinusoid")
        and position.count in ("real", "ids")
        and spec.embeddings.tables.tokens.padding is None
    ):
        yield "position.count", "counting real tokens needs embeddings.tables.tokens.padding"


def _attention(spec: Sections) -> Iterator[Problem]:
    attention = spec.attention
    if len(set(attention.mask)) != len(attention.mask):
        yield "attention.mask", f"each rule stands once, found {list(attention.mask)}"
    if "window" in attention.mask and attention.window is None:
        yield (
            "attention.window",
            "the mask has the rule 'window', which needs a number here: or leave the rule out",
        )
    if "same_length" in attention.mask:
        if "causal" not in attention.mask:
            yield "attention.mask", "same_length needs the rule causal"
        if spec.memory.kind != "recurrent":
            yield (
                "attention.mask",
                "same_length looks as far back as memory: it needs memory.kind recurrent",
            )
        elif attention.same_length == "memory" and not spec.memory.length:
            yield "memory.length", "same_length: memory needs a memory.length of at least 1"
    if attention.query_bias != "none" and "segment" not in attention.score:
        if spec.position.kind not in axes.DISTANCE_KINDS:
            yield "attention.query_bias", "query_bias needs a score term besides content"
    if "segment" in attention.score and spec.embeddings.tables.segments:
        yield (
            "embeddings.tables.segments",
            "token types are either embedded or a score term, not both",
        )
    if attention.infer_padding != "none" and spec.embeddings.tables.tokens.padding is None:
        yield "attention.infer_padding", "inferring padding needs embeddings.tables.tokens.padding"
    elif (
        attention.infer_padding != "none"
        and "padding" not in attention.mask
        and not spec.block.zero_padding
    ):
        yield (
            "attention.infer_padding",
            "inferred padding needs the mask rule padding or block.zero_padding",
        )
    if spec.memory.kind == "keys_values" and "causal" not in attention.mask:
        yield "memory.kind", "keys and values stay valid only under the mask rule causal"


def _streams(spec: Sections) -> Iterator[Problem]:
    two = "permutation" in spec.attention.mask
    if two and spec.position.kind not in ("relative", "rotary"):
        yield (
            "position.kind",
            "the mask rule permutation needs positions that attention sees: relative or rotary",
        )
    if spec.streams is not None and two != (spec.streams.kind == "two"):
        wrong = "has" if two else "lacks"
        yield (
            "streams.kind",
            f"{spec.streams.kind} contradicts attention.mask, which {wrong} the rule permutation: "
            "leave streams out, the mask decides",
        )


def _block(spec: Sections) -> Iterator[Problem]:
    if spec.block.order == "parallel" and spec.norm.placement == "post":
        yield "norm.placement", "a parallel residual needs norm.placement pre"
    if spec.block.shared_norm and spec.block.order != "parallel":
        yield "block.shared_norm", "one norm for both halves needs block.order parallel"
    if spec.block.order == "parallel" and spec.attention.cross:
        yield "attention.cross", "cross-attention needs block.order sequential"
    if not spec.norm.query and spec.norm.placement == "post":
        yield "norm.query", "unnormed queries need norm.placement pre"
    if spec.norm.kind == "rms" and spec.norm.bias:
        yield "norm.bias", "an rms norm has no bias: set norm.bias false"


def _output(spec: Sections) -> Iterator[Problem]:
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
        yield from _ascending("heads.output.cutoffs", cutoffs, spec.dims.vocab)
        divisor = output.divisor or tokens.divisor
        if (divisor, cutoffs) != (tokens.divisor, tokens.cutoffs):
            yield from _narrowing(spec, "heads.output.divisor", divisor, cutoffs)
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
    if output.scaled and output.kind != "linear":
        yield "heads.output.scaled", "scaled token vectors need heads.output.kind linear"


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


def _tokens(spec: Sections) -> Iterator[Problem]:
    for name, value in spec.tokens.model_dump().items():
        ids = value if isinstance(value, tuple) else (value,)
        for one in ids:
            if one is not None and one >= spec.dims.vocab:
                yield f"tokens.{name}", f"id {one} is outside the vocabulary of {spec.dims.vocab}"


RULES: tuple[Callable[[Sections], Iterator[Problem]], ...] = (
    _heads,
    _tables,
    _position,
    _attention,
    _streams,
    _block,
    _output,
    _tokens,
)

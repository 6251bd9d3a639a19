"""Rules that hold between a recipe and the network that it trains, each as (path, what is wrong and
what would be right).
"""

from collections.abc import Iterator

from engine.spec import Spec
from engine.spec.intact import Problem
from engine.training.recipe import sections
from engine.training.recipe.model import Recipe
from engine.training.recipe.parts import ObjectivePart, parts_of

HEADS = {
    "causal": ("causal_lm",),
    "recurrent": ("causal_lm",),
    "masked": ("masked_lm",),
    "translation": ("masked_lm",),
    "permutation": ("permutation_lm",),
    "classification": ("sequence_classification",),
    "pairs": ("sequence_classification",),
    "choices": ("multiple_choice",),
    "tokens": ("token_classification",),
    "question_answering": ("question_answering", "beam_question_answering"),
}
"""The heads that an objective or a task trains, by its kind; the first where none is said."""
LEFT_TO_RIGHT = ("causal", "recurrent")
BOTH_WAYS = ("masked", "translation")


def _head(recipe: Recipe, spec: Spec) -> Iterator[Problem]:
    head = recipe.model.head
    predicted = [part.objective for part in parts_of(recipe)]
    for one in [recipe.task] if recipe.task else predicted:
        fitting = HEADS[one.kind]
        if head is not None and head not in fitting:
            yield "model.head", f"{one.kind} trains the head {' or '.join(fitting)}, found {head}"


def _encoder(recipe: Recipe, spec: Spec) -> Iterator[Problem]:
    """Sources with texts are rows that no recipe makes yet."""
    if spec.encoder is not None:
        text = f"{spec.name} has an encoder, which recipes do not train: call model(…, labels=…)"
        yield "model", f"{text} in a loop of your own"


def _masks(recipe: Recipe, spec: Spec) -> Iterator[Problem]:
    """Which way the network looks."""
    said = f"attention.mask of {spec.name} is {list(spec.attention.mask)}"
    wanted = [(part.path, part.objective.kind) for part in parts_of(recipe)]
    if recipe.task is not None and recipe.task.kind == "causal":
        wanted.append(("task", "causal"))
    for path, kind in wanted:
        if kind in LEFT_TO_RIGHT and not spec.has_rule("causal"):
            yield f"{path}.kind", f"{kind} needs the mask rule causal: {said}"
        if kind in BOTH_WAYS and spec.has_rule("causal"):
            yield f"{path}.kind", f"{kind} needs a network that looks both ways: {said}"
        if kind == "permutation" and not spec.two_streams:
            yield f"{path}.kind", f"permutation needs the mask rule permutation: {said}"
        if kind in BOTH_WAYS and spec.two_streams:
            yield f"{path}.kind", f"two streams, as {spec.name} has, are for permutation"


def _mask_tokens(recipe: Recipe, spec: Spec) -> Iterator[Problem]:
    tokenizer = spec.tokenizer
    named = tokenizer is not None and tokenizer.special_tokens.mask is not None
    if spec.tokens.mask is not None or named or recipe.tokenizer.load is not None:
        return
    for part in parts_of(recipe):
        if part.objective.kind in BOTH_WAYS:
            text = f"{part.objective.kind} needs a mask token, and {spec.name} names none"
            yield f"{part.path}.kind", f"{text} (tokens.mask)"


def _languages(recipe: Recipe, spec: Spec) -> Iterator[Problem]:
    table = spec.embeddings.tables.languages
    if table is None:
        return
    for part in parts_of(recipe):
        if part.objective.kind == "translation" and table.count < 2:
            text = "translation needs at least two languages: embeddings.tables.languages.count of"
            yield f"{part.path}.kind", f"{text} {spec.name} is {table.count}"


def _streams(recipe: Recipe, spec: Spec) -> Iterator[Problem]:
    """Streams carry memory from segment to segment."""
    for part in parts_of(recipe):
        layout, memory = part.data.layout, spec.memory
        if layout.kind != "stream":
            continue
        where = f"{part.data_path}.layout.kind"
        if memory.kind != "recurrent":
            text = f"a stream carries memory: memory.kind of {spec.name} is {memory.kind}"
            yield where, f"{text}, which should be recurrent"
        elif not memory.length:
            text = f"a stream carries memory: memory.length of {spec.name} is {memory.length}"
            yield where, f"{text}, which should be a number of tokens (model.overrides)"
        elif memory.reuse is not None and memory.reuse > layout.length:
            text = f"segments of {layout.length} have no {memory.reuse} tokens for memory.reuse"
            yield f"{part.data_path}.layout.length", text
        elif memory.reuse is not None and part.objective.kind == "recurrent":
            text = "recurrent asks every token of a segment, so all of them enter the memory:"
            yield f"{part.path}.kind", f"{text} memory.reuse of {spec.name} is {memory.reuse}"


def _permutation(recipe: Recipe, spec: Spec) -> Iterator[Problem]:
    for part in parts_of(recipe):
        objective = part.objective
        if not isinstance(objective, sections.PermutationObjective):
            continue
        told = "segment" in spec.attention.score or spec.embeddings.tables.segments is not None
        if objective.segments.pairs and not told:
            yield f"{part.path}.segments.pairs", f"{spec.name} does not tell segments apart"
        if spec.position.kind != "relative":
            continue
        if objective.both_directions != spec.position.reversed_half:
            text = "rows that are read backward need mirrored distances: both_directions and"
            yield (
                f"{part.path}.both_directions",
                f"{text} position.reversed_half of {spec.name} go together",
            )


def _lengths(recipe: Recipe, spec: Spec) -> Iterator[Problem]:
    """Rows are no longer than the positions that the network knows."""
    most = spec.position_limit
    if most is None:
        return
    lengths = [
        (f"{part.data_path}.layout.length", part.data.layout.length)
        for part in parts_of(recipe)
        if not _counts_anew(part)
    ]
    if recipe.task is not None:
        lengths.append(("task.length", recipe.task.length))
        lengths.append(("data.layout.length", recipe.data.layout.length))
    for path, length in dict(lengths).items():
        if length is not None and length > most:
            text = f"{length} tokens are more than the {most} positions of {spec.name}"
            yield path, f"{text} (position.size)"


def _counts_anew(part: ObjectivePart) -> bool:
    """Whether the second text of a pair is counted from 0 again."""
    objective = part.objective
    return isinstance(objective, sections.TranslationObjective) and objective.reset_positions


def _tensor(recipe: Recipe, spec: Spec) -> Iterator[Problem]:
    tensor = recipe.devices.tensor
    if tensor > 1 and recipe.adapter is not None:
        yield "devices.tensor", "layers that have an adapter are not cut: set it to 1"
    sizes = {
        "dims.heads": spec.dims.heads,
        "dims.kv_heads": spec.dims.kv_heads,
        "dims.inner": spec.dims.inner,
    }
    for name, size in sizes.items():
        if size is not None and size % tensor:
            text = f"{name} {size} of {spec.name} cannot be shared by {tensor} processes"
            yield "devices.tensor", text


def ids(recipe: Recipe, spec: Spec, vocabulary: int) -> Iterator[Problem]:
    """The tokenizer's ids have rows in the network's table."""
    if vocabulary <= spec.dims.vocab:
        return
    path = "tokenizer"
    if recipe.tokenizer.train is not None and recipe.tokenizer.train.vocab is not None:
        path = "tokenizer.train.vocab"
    elif recipe.tokenizer.load is not None:
        path = "tokenizer.load"
    text = f"{vocabulary} ids are more than dims.vocab {spec.dims.vocab} of {spec.name}"
    yield path, f"{text} (model.overrides)"


RULES = (
    _head,
    _encoder,
    _masks,
    _mask_tokens,
    _languages,
    _streams,
    _permutation,
    _lengths,
    _tensor,
)

"""One family of the demonstration: a vocabulary, a network, a short training, and what it can do
then.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from engine.build import build_model, load_spec
from engine.checkpoint import save_model
from engine.demo.causal import CausalLesson, StreamLesson
from engine.demo.corpus import Corpus
from engine.demo.lesson import Finding, Lesson
from engine.demo.masked import MaskedLesson, TranslationLesson
from engine.demo.permuted import PermutationLesson
from engine.spec import Spec
from engine.training import TrainingOptions, train
from tokenization import train_tokenizer

# Called at every step with the family, how many steps are done, of how many, and the loss.
Advance = Callable[[str, int, int, float], None]


@dataclass(frozen=True)
class Taught:
    """A trained network, summed up."""

    family: str
    purpose: str
    parameters: int
    vocabulary: str
    losses: list[float]
    finding: Finding
    seconds: float


def lesson_for(spec: Spec) -> type[Lesson]:
    """The lesson that fits a spec, told by its axes."""
    languages = spec.embeddings.tables.languages
    if spec.two_streams:
        return PermutationLesson
    if spec.has_rule("causal"):
        return StreamLesson if spec.memory.kind == "recurrent" else CausalLesson
    return TranslationLesson if languages is not None and languages.count > 1 else MaskedLesson


def teach(
    family: str,
    corpus: Corpus,
    *,
    seed: int = 0,
    quick: bool = False,
    steps: int | None = None,
    folder: Path | None = None,
    advance: Advance | None = None,
) -> Taught:
    """Train the tiny network of a family and see what it can do; with `folder`, leave it there with
    its tokenizer.

    `steps` are as many as the lesson asks for unless given; `quick` takes an eighth of those.
    """
    begun = time.perf_counter()
    spec = load_spec(f"tiny/{family}")
    if spec.tokenizer is None:
        raise ValueError(f"{spec.name} has no tokenizer section")
    kind = lesson_for(spec)
    texts = list(kind.texts(corpus, seed))
    tokenizer = train_tokenizer(
        spec.tokenizer,
        [text for text, _ in texts],
        spec.dims.vocab,
        languages=[locale for _, locale in texts],
    )
    model = build_model(spec, seed=seed)
    lesson = kind(model, tokenizer, corpus, seed)
    count = steps or (kind.steps // 8 if quick else kind.steps)
    losses = train(
        model,
        lesson.batches(),
        count,
        TrainingOptions(learning_rate=kind.learning_rate, seed=seed),
        carry_memory=kind.carry_memory,
        progress=None
        if advance is None
        else lambda step, loss: advance(family, step + 1, count, loss),
    )
    finding = lesson.show()
    if folder is not None:
        save_model(model, folder / family)
        tokenizer.save(folder / family)
    return Taught(
        family=family,
        purpose=kind.purpose,
        parameters=sum(weight.numel() for weight in model.parameters()),
        vocabulary=f"{len(tokenizer):,} tokens ({spec.tokenizer.algorithm}; {', '.join(kind.locales)})",
        losses=losses,
        finding=finding,
        seconds=time.perf_counter() - begun,
    )

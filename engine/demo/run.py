"""The demonstration: for each family a vocabulary, a network, a short training, and what it can do then."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from engine.build import build_model, load_spec
from engine.checkpoint import save_model
from engine.demo.causal import CausalLesson, StreamLesson
from engine.demo.corpus import LOCALES, Corpus, make_corpus, sentence
from engine.demo.lesson import Finding, Lesson
from engine.demo.masked import MaskedLesson, TranslationLesson
from engine.demo.permuted import PermutationLesson
from engine.spec import Spec
from engine.training import TrainingOptions, train
from tokenization import train_tokenizer

FAMILIES = ("xlnet", "xlm", "xlm-roberta-xl", "transformer-xl", "xglm")
SPARKS = "▁▂▃▄▅▆▇█"


def lesson_for(spec: Spec) -> type[Lesson]:
    """The lesson that fits a spec, told by its axes."""
    languages = spec.embeddings.tables.languages
    if spec.streams.kind == "two":
        return PermutationLesson
    if spec.has_rule("causal"):
        return StreamLesson if spec.memory.kind == "recurrent" else CausalLesson
    return TranslationLesson if languages is not None and languages.count > 1 else MaskedLesson


def run(families: Sequence[str] = FAMILIES, *, seed: int = 0, quick: bool = False, folder: Path | None = None) -> None:
    """Train and show the tiny network of each family; with `folder`, leave it there with its tokenizer."""
    console = Console(highlight=False)
    begun = time.perf_counter()
    corpus = make_corpus(seed)
    console.print(
        f"{len(corpus.train)} facts in {len(LOCALES)} languages from CLDR, {len(corpus.held_out)} held out. One of them:"
    )
    for locale in ("en", "el", "tr"):
        console.print(f"  [dim]{locale}[/dim] {sentence(corpus.held_out[0], locale)}")
    for family in families:
        teach(family, corpus, console, seed=seed, quick=quick, folder=folder)
    console.print(f"\n{time.perf_counter() - begun:.0f} s in all.")
    if folder is not None:
        console.print(f"The networks are in {folder}/: try [bold]engine describe {folder / families[-1]}[/bold]")


def teach(
    family: str, corpus: Corpus, console: Console, *, seed: int = 0, quick: bool = False, folder: Path | None = None
) -> tuple[list[float], Finding]:
    """One family: vocabulary, network, training, findings; returns the losses and what was found."""
    begun = time.perf_counter()
    spec = load_spec(f"tiny/{family}")
    if spec.tokenizer is None:
        raise ValueError(f"{spec.name} has no tokenizer section")
    kind = lesson_for(spec)
    texts = list(kind.texts(corpus, seed))
    tokenizer = train_tokenizer(
        spec.tokenizer, [text for text, _ in texts], spec.dims.vocab, languages=[locale for _, locale in texts]
    )
    model = build_model(spec, seed=seed)
    lesson = kind(model, tokenizer, corpus, seed)
    count = sum(weight.numel() for weight in model.parameters())
    console.rule(f"[bold]{family}[/bold] {kind.purpose}")
    console.print(f"{count:,} parameters, {len(tokenizer):,} tokens ({spec.tokenizer.algorithm})")
    steps = kind.steps // 8 if quick else kind.steps
    options = TrainingOptions(learning_rate=kind.learning_rate, seed=seed)
    with ProgressBar(console, family, steps) as advance:
        losses = train(model, lesson.batches(), steps, options, carry_memory=kind.carry_memory, progress=advance)
    finding = lesson.show()
    first, last = mean(losses[:5]), mean(losses[-10:])
    console.print(f"loss {first:.2f} {sparkline(losses)} {last:.2f}   {time.perf_counter() - begun:.0f} s")
    console.print(f"[bold]{finding.headline}[/bold]")
    console.print(as_table(finding))
    if folder is not None:
        save_model(model, folder / family)
        tokenizer.save(folder / family)
    return losses, finding


class ProgressBar:
    """A bar while output is a terminal, nothing otherwise; entered, it gives the function that moves it."""

    def __init__(self, console: Console, name: str, steps: int) -> None:
        columns = (
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("loss {task.fields[loss]:.2f}"),
            TimeElapsedColumn(),
        )  # fmt: skip
        self.progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self.task = self.progress.add_task(name, total=steps, loss=0.0)

    def __enter__(self) -> Callable[[int, float], None]:
        self.progress.start()
        return lambda step, loss: self.progress.update(self.task, completed=step + 1, loss=loss)

    def __exit__(self, *_: object) -> None:
        self.progress.stop()


def sparkline(values: Sequence[float], width: int = 40) -> str:
    """The values drawn in one line, from the smallest to the largest of their means over `width` stretches."""
    width = min(width, len(values))
    means = [mean(values[len(values) * i // width : len(values) * (i + 1) // width]) for i in range(width)]
    low, span = min(means), max(means) - min(means) or 1.0
    return "".join(SPARKS[int((value - low) / span * (len(SPARKS) - 1))] for value in means)


def mean(values: Sequence[float]) -> float:
    """The arithmetic mean."""
    return sum(values) / len(values)


def as_table(finding: Finding) -> Table:
    """The examples of a finding, without frames."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in finding.columns:
        table.add_column(column, overflow="fold")
    for example in finding.examples:
        table.add_row(*example)
    return table

"""The demonstration: what each family is for, shown by the networks that travel with the project,
and one of them trained before one's eyes.
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from engine.checkpoint import save_model
from engine.demo.corpus import LOCALES, Corpus, make_corpus, sentence
from engine.demo.networks import Network, bundled, trained, untrained
from engine.demo.showing import Finding

FAMILIES = ("xlnet", "xlm", "xlm-roberta-xl", "transformer-xl", "xglm")
SPARKS = "▁▂▃▄▅▆▇█"
STEPS = 150
"""Of the training that is watched: some seconds on two cores."""


def run(
    families: Sequence[str] = FAMILIES,
    *,
    train: str | None = None,
    steps: int = STEPS,
    seed: int = 0,
    folder: Path | None = None,
) -> None:
    """Show the trained network of each family, then `train` one from random weights (None: none);
    with `folder`, leave all of them there with their tokenizers.
    """
    console = Console(highlight=False)
    corpus = make_corpus(0)
    console.print(
        f"{len(corpus.train)} facts, {len(corpus.held_out)} held out, said in {len(LOCALES)} languages as CLDR has it:"
    )
    for locale in ("en", "el", "tr"):
        console.print(f"  [dim]{locale}[/dim] {sentence(corpus.held_out[0], locale)}")
    for family in families:
        network = bundled(family)
        show(network, corpus, console)
        keep(network, folder, family)
    if train is not None:
        keep(watch(train, corpus, console, steps=steps, seed=seed), folder, f"{train}-new")
    if folder is not None:
        console.print(
            f"\nThe networks are in {folder}: try [bold]engine describe {folder / families[-1]}[/bold]"
        )


def show(network: Network, corpus: Corpus, console: Console) -> None:
    """What a trained network of a family does with text that it has not seen."""
    showing = network.showing(corpus)
    finding = showing.show()
    parameters = sum(weight.numel() for weight in network.model.parameters())
    console.rule(f"[bold]{network.family}[/bold] {showing.purpose}")
    console.print(f"{parameters:,} parameters, {len(network.tokenizer):,} tokens")
    console.print(f"[bold]{finding.headline}[/bold]")
    console.print(as_table(finding))


def watch(family: str, corpus: Corpus, console: Console, *, steps: int, seed: int) -> Network:
    """Train a family from random weights: what it does before, the losses, what it does after."""
    console.rule(f"[bold]{family}[/bold] trained anew: {steps} steps of recipes/demo/{family}.yaml")
    before = untrained(family, seed).showing(corpus).show()
    console.print(f"before: [bold]{before.headline}[/bold]")
    console.print(as_table(replace(before, examples=before.examples[:2])))
    begun = time.perf_counter()
    network = trained(family, corpus, steps=steps, seed=seed)
    seconds = time.perf_counter() - begun
    losses = network.losses
    first, last = mean(losses[:5]), mean(losses[-10:])
    console.print(f"loss {first:.2f} {sparkline(losses)} {last:.2f}   {seconds:.0f} s")
    after = network.showing(corpus).show()
    console.print(f"after: [bold]{after.headline}[/bold]")
    console.print(as_table(after))
    return network


def keep(network: Network, folder: Path | None, name: str) -> None:
    """Leave a network with its tokenizer in a folder below `folder`."""
    if folder is not None:
        save_model(network.model, folder / name)
        network.tokenizer.save(folder / name)


def sparkline(values: Sequence[float], width: int = 40) -> str:
    """The values drawn in one line, from the smallest to the largest of their means over `width`
    stretches.
    """
    width = min(width, len(values))
    means = [
        mean(values[len(values) * i // width : len(values) * (i + 1) // width])
        for i in range(width)
    ]
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

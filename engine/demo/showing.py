"""What one kind of network is for, shown on held-out text."""

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from engine.demo.corpus import LOCALES, Corpus, Fact, Part, Purchase, Run, part, sentence
from engine.model import Model
from tokenization import Tokenizer


@dataclass(frozen=True)
class Finding:
    """What a trained network shows: a `headline`, `examples` as rows of a table under `columns`,
    and what was measured.
    """

    headline: str
    columns: tuple[str, ...]
    examples: Sequence[tuple[str, ...]]
    numbers: dict[str, float]


@dataclass
class Showing(ABC):
    """A network, its tokenizer and the corpus; `evaluated` held-out gaps are asked."""

    model: Model
    tokenizer: Tokenizer
    corpus: Corpus

    purpose: ClassVar[str]
    locales: ClassVar[tuple[str, ...]] = LOCALES
    parts: ClassVar[tuple[Part, ...]] = ("territory", "language")
    evaluated: ClassVar[int] = 60

    @abstractmethod
    def show(self) -> Finding:
        """What the network does with held-out text."""

    def gaps(self) -> "list[Gap]":
        """Held-out sentences in turn through languages and parts, that part of each hidden."""
        runs = [fact for fact in self.corpus.held_out if isinstance(fact, Run)]
        purchases = [fact for fact in self.corpus.held_out if isinstance(fact, Purchase)]
        kinds: tuple[Part, ...] = ("middle", *self.parts)
        found = []
        for number in range(self.evaluated):
            turn, language = divmod(number, len(self.locales))
            which = kinds[turn % len(kinds)]
            facts: Sequence[Fact] = runs if which == "middle" else purchases
            found.append(
                make_gap(self.tokenizer, facts[number % len(facts)], self.locales[language], which)
            )
        return found

    def shown(self, number: int) -> bool:
        """Whether the gap of that number is an example: a few, of other languages and parts each
        time.
        """
        turn, rest = divmod(number, len(self.locales) + 1)
        return rest == 0 and turn < 6


@dataclass(frozen=True)
class Gap:
    """A sentence of a language with a phrase hidden that begins at `start`: `places` are its tokens
    among `ids` (1 i).
    """

    fact: Fact
    locale: str
    text: str
    phrase: str
    start: int
    ids: Tensor
    places: list[int]

    @property
    def drawn(self) -> str:
        """The sentence with a line for the phrase."""
        return f"{self.text[: self.start]}_____{self.text[self.start + len(self.phrase) :]}"


def make_gap(tokenizer: Tokenizer, fact: Fact, locale: str, which: Part) -> Gap:
    """Hide the words of a part in the sentence of a fact."""
    text, phrase = sentence(fact, locale), part(fact, locale, which)
    found = re.search(rf"\b{re.escape(phrase)}\b", text)
    assert found is not None
    start, stop = found.span()
    encoding = tokenizer(
        text, return_offsets_mapping=True, lang=locale if tokenizer.options.languages else None
    )
    places = [
        place
        for place, (first, last) in enumerate(encoding.offset_mapping)
        if first < stop and last > start < last
    ]
    return Gap(fact, locale, text, phrase, start, torch.tensor([encoding.input_ids]), places)


def share(right: int, total: int) -> str:
    """A share in per cent."""
    return f"{100 * right / total:.0f} %"

"""A lesson: what one kind of network is trained on, and how it shows what it learned."""

import random
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from engine.demo.corpus import LOCALES, Corpus, Fact, Part, Purchase, Run, part, sentence
from engine.model import Model
from engine.training import frequency_weights
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
class Lesson(ABC):
    """A network, its tokenizer and the corpus; `rows` sentences a batch, `steps` batches,
    `evaluated` held-out gaps.
    """

    model: Model
    tokenizer: Tokenizer
    corpus: Corpus
    seed: int = 0
    chance: random.Random = field(init=False)
    generator: torch.Generator = field(init=False)

    purpose: ClassVar[str]
    locales: ClassVar[tuple[str, ...]] = LOCALES
    parts: ClassVar[tuple[Part, ...]] = ("territory", "language")
    steps: ClassVar[int] = 250
    rows: ClassVar[int] = 24
    evaluated: ClassVar[int] = 120
    learning_rate: ClassVar[float] = 3e-3
    carry_memory: ClassVar[bool] = False

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.generator = torch.Generator().manual_seed(self.seed)

    @classmethod
    def texts(cls, corpus: Corpus, seed: int) -> Iterator[tuple[str, str]]:
        """Texts with their language, to make a vocabulary of."""
        for fact in corpus.train[::3]:
            for locale in cls.locales:
                yield sentence(fact, locale), locale

    @abstractmethod
    def batches(self) -> Iterator[Mapping[str, Any]]:
        """Endless batches: keyword arguments of the model, labels among them."""

    @abstractmethod
    def show(self) -> Finding:
        """What the trained network does with held-out text."""

    def draw(self) -> list[tuple[Fact, str]]:
        """Facts to learn from, each with a language, for one batch."""
        return [
            (self.chance.choice(self.corpus.train), self.chance.choice(self.locales))
            for _ in range(self.rows)
        ]

    def plain(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """True for tokens (b i) of the text itself: neither padding nor special."""
        special = torch.tensor(sorted(set(self.tokenizer.added.special_texts.values())))
        return (attention_mask > 0) & ~torch.isin(input_ids, special)

    def rarity(self) -> Tensor:
        """How much rather a rare token is asked than a common one, (v)."""
        texts, languages = zip(*self.texts(self.corpus, self.seed))
        rows = self.tokenizer(
            list(texts), lang=list(languages) if self.tokenizer.options.languages else None
        ).input_ids
        ids = torch.tensor([index for row in rows for index in row])
        return frequency_weights(torch.bincount(ids, minlength=len(self.tokenizer)))

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

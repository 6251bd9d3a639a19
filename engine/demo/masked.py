"""Lessons in masked words: one language alone, and with the translation beside it."""

from collections.abc import Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor

from engine.demo.corpus import sentence
from engine.demo.lesson import Finding, Gap, Lesson, share
from engine.training import mask_tokens, reset_positions


class MaskedLesson(Lesson):
    """Masked language modelling over sentences of all languages."""

    purpose = "fills a masked word, whatever the language"
    steps = 800
    rows = 32
    locales: ClassVar[tuple[str, ...]] = ("el", "en", "fr", "ru", "tr")
    probability = 0.3

    def __post_init__(self) -> None:
        super().__post_init__()
        self.weights = self.rarity()

    def batches(self) -> Iterator[dict[str, Any]]:
        while True:
            texts = [sentence(fact, locale) for fact, locale in self.draw()]
            encoding = self.tokenizer(texts, padding=True, return_tensors="pt")
            yield {
                **self.masked(encoding.input_ids, encoding.attention_mask),
                "attention_mask": encoding.attention_mask,
            }

    def masked(self, input_ids: Tensor, attention_mask: Tensor) -> dict[str, Tensor]:
        """Ids (b i) with some hidden, and their labels."""
        ids, labels = mask_tokens(
            input_ids,
            self.plain(input_ids, attention_mask),
            mask_id=self.tokenizer.mask_id,
            vocab=len(self.tokenizer),
            generator=self.generator,
            probability=self.probability,
            weights=self.weights,
        )
        return {"input_ids": ids, "labels": labels}

    @torch.no_grad()
    def show(self) -> Finding:
        right, examples = 0, []
        gaps = self.gaps()
        for number, gap in enumerate(gaps):
            filled = self.fill(gap)
            right += filled == gap.phrase
            if self.shown(number):
                examples.append((gap.locale, gap.drawn, filled, gap.phrase))
        headline = (
            f"{share(right, len(gaps))} of hidden words and names are filled in exactly right"
        )
        return Finding(
            headline, ("", "sentence", "filled in", "was"), examples, {"right": right / len(gaps)}
        )

    def fill(self, gap: Gap) -> str:
        """The likeliest tokens for the places of a gap, as text."""
        ids = gap.ids.clone()
        ids[0, gap.places] = self.tokenizer.mask_id
        guessed = self.model(ids).logits[0, gap.places].argmax(-1)
        return self.tokenizer.decode(guessed).strip()


class TranslationLesson(MaskedLesson):
    """Translation language modelling: a word hidden in one language is read off the other."""

    purpose = "predicts a masked word from the same sentence in another language"
    rows = 24
    locales = ("de", "en", "es")
    parts = ("weekday", "month", "price")

    def batches(self) -> Iterator[dict[str, Any]]:
        step = 0
        while True:
            facts = [fact for fact, _ in self.draw()]
            pairs = [self.chance.sample(self.locales, 2) for _ in facts]
            first = [sentence(fact, locale) for fact, (locale, _) in zip(facts, pairs, strict=True)]
            second = [
                sentence(fact, locale) for fact, (_, locale) in zip(facts, pairs, strict=True)
            ]
            # Now and then one sentence stands alone, so that the network knows both cases.
            if step % 6 == 5:
                encoding = self.tokenizer(
                    first, padding=True, return_tensors="pt", lang=[one for one, _ in pairs]
                )
            else:
                lang = [(one, two) for one, two in pairs]
                encoding = self.tokenizer(
                    first, second, padding=True, return_tensors="pt", lang=lang
                )
            step += 1
            yield {
                **self.masked(encoding.input_ids, encoding.attention_mask),
                "attention_mask": encoding.attention_mask,
                "langs": encoding.langs,
                "position_ids": reset_positions(encoding.token_type_ids),
            }

    @torch.no_grad()
    def show(self) -> Finding:
        helped, alone, examples = 0, 0, []
        gaps = self.gaps()
        for number, gap in enumerate(gaps):
            others = [locale for locale in self.locales if locale != gap.locale]
            other = others[number % len(others)]
            without, having = self.fill_from(gap, None), self.fill_from(gap, other)
            helped, alone = helped + (having == gap.phrase), alone + (without == gap.phrase)
            if self.shown(number):
                examples.append((gap.locale, gap.drawn, sentence(gap.fact, other), having, without))
        headline = (
            f"with the translation in view {share(helped, len(gaps))} of hidden words are exactly right, "
            f"without it {share(alone, len(gaps))}"
        )
        columns = ("", "sentence", "translation", "with it", "without it")
        return Finding(
            headline, columns, examples, {"right": helped / len(gaps), "alone": alone / len(gaps)}
        )

    def fill_from(self, gap: Gap, other: str | None) -> str:
        """The likeliest tokens for a gap, beside the sentence in another language or alone."""
        if other is None:
            encoding = self.tokenizer([gap.text], return_tensors="pt", lang=[gap.locale])
        else:
            pair = ([gap.text], [sentence(gap.fact, other)])
            encoding = self.tokenizer(*pair, return_tensors="pt", lang=[(gap.locale, other)])
        ids = encoding.input_ids.clone()
        ids[0, gap.places] = self.tokenizer.mask_id
        out = self.model(
            ids, langs=encoding.langs, position_ids=reset_positions(encoding.token_type_ids)
        )
        return self.tokenizer.decode(out.logits[0, gap.places].argmax(-1)).strip()

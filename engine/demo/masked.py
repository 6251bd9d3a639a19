"""Masked words: in one language alone, and with the translation beside it."""

import torch

from engine.demo.corpus import sentence
from engine.demo.showing import Finding, Gap, Showing, share
from engine.training import reset_positions


class Masked(Showing):
    """Hidden words filled in, whatever the language."""

    purpose = "fills a masked word, whatever the language"
    locales = ("el", "en", "fr", "ru", "tr")

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


class Translated(Showing):
    """A word hidden in one language is read off the other."""

    purpose = "predicts a masked word from the same sentence in another language"
    locales = ("de", "en", "es")
    parts = ("weekday", "month", "price")

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

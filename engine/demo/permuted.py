"""A lesson in permutation language modelling: a gap is filled through the query stream, which sees
both sides.
"""

from collections.abc import Iterator
from typing import Any

import torch

from engine.demo.corpus import sentence
from engine.demo.lesson import Finding, Gap, Lesson, share
from engine.training import (
    Factorization,
    draw_factorization,
    permutation_mask,
    permutation_targets,
    target_mapping,
)

LAST = 10**6


class PermutationLesson(Lesson):
    """Permutation language modelling over sentences of all languages."""

    purpose = "fills a gap through its query stream, which sees both sides and never the gap"
    steps = 400
    rows = 32
    learning_rate = 5e-3
    locales = ("de", "en", "es", "fr")

    def batches(self) -> Iterator[dict[str, Any]]:
        while True:
            texts = [sentence(fact, locale) for fact, locale in self.draw()]
            encoding = self.tokenizer(texts, padding=True, return_tensors="pt")
            order = draw_factorization(
                self.plain(encoding.input_ids, encoding.attention_mask), self.generator, context=2
            )
            yield {**encoding, **permutation_targets(encoding.input_ids, order)}

    @torch.no_grad()
    def show(self) -> Finding:
        both, left, examples = 0, 0, []
        gaps = self.gaps()
        for number, gap in enumerate(gaps):
            filled, guessed = self.fill(gap, sides="both"), self.fill(gap, sides="left")
            both, left = both + (filled == gap.phrase), left + (guessed == gap.phrase)
            if self.shown(number):
                examples.append((gap.drawn, filled, guessed, gap.phrase))
        headline = (
            f"seeing both sides {share(both, len(gaps))} of gaps are filled exactly right, "
            f"seeing the left side only {share(left, len(gaps))}"
        )
        columns = ("sentence", "both sides", "left side", "was")
        return Finding(
            headline, columns, examples, {"right": both / len(gaps), "left": left / len(gaps)}
        )

    def fill(self, gap: Gap, sides: str) -> str:
        """The gap filled token by token, each seeing the context and the tokens filled in before
        it.
        """
        ids = gap.ids.clone()
        # What stands in the gap is of no account: nobody sees a place before it is filled.
        ids[0, gap.places] = self.tokenizer.unk_id
        rank, targets = torch.zeros_like(ids), torch.zeros_like(ids, dtype=torch.bool)
        if sides == "left":
            rank[0, gap.places[-1] + 1 :] = LAST
        rank[0, gap.places] = torch.arange(1, len(gap.places) + 1)
        targets[0, gap.places] = True
        mask = permutation_mask(Factorization(rank, targets))
        for index in range(len(gap.places)):
            asked = target_mapping(targets)[:, index : index + 1]
            out = self.model(ids, perm_mask=mask, target_mapping=asked, use_memory=False)
            ids[0, gap.places[index]] = out.logits[0, 0].argmax()
        return self.tokenizer.decode(ids[0, gap.places]).strip()

"""Permutation language modelling: a gap is filled through the query stream, which sees both sides."""

import torch

from engine.demo.showing import Finding, Gap, Showing, share
from engine.training import Factorization, permutation_mask, target_mapping

LAST = 10**6


class Permuted(Showing):
    """A gap filled from both sides, and from the left alone."""

    purpose = "fills a gap through its query stream, which sees both sides and never the gap"
    locales = ("de", "en", "es", "fr")

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

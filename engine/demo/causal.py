"""The next token: a sentence continued, and a stream whose past is remembered."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from engine.demo.corpus import LOCALES, Run, diary, sentence
from engine.demo.showing import Finding, Showing
from engine.kernels.losses import IGNORED
from engine.training import stream

PROMPTS = 8
HELD_OUT = 10**6  # the first seed of diaries that are held out


class Continued(Showing):
    """Sentences begun and continued."""

    purpose = "continues a sentence"

    @torch.no_grad()
    def show(self) -> Finding:
        total, count = 0.0, 0
        examples: list[tuple[str, ...]] = []
        for number, fact in enumerate(self.corpus.held_out[-self.evaluated :]):
            locale = LOCALES[number * 7 % len(LOCALES)]
            text = sentence(fact, locale)
            ids = self.tokenizer([text + self.tokenizer.eos_token], return_tensors="pt").input_ids
            out = self.model(ids, labels=ids)
            total, count = total + float(out.losses.sum()), count + out.losses.numel()
            if isinstance(fact, Run) or len(examples) < PROMPTS // 2:
                begun = text[: text.index("," if isinstance(fact, Run) else ":") + 1]
                examples.append((locale, begun, self.proceed(begun)))
        headline = f"perplexity of held-out sentences: {math.exp(total / count):.2f} a token"
        columns = ("", "begun", "continued")
        return Finding(
            headline, columns, examples[:PROMPTS], {"perplexity": math.exp(total / count)}
        )

    def proceed(self, text: str, longest: int = 40) -> str:
        """The likeliest continuation, token by token."""
        ids = self.tokenizer([text], return_tensors="pt").input_ids
        whole = self.model.generate(ids, max_new_tokens=longest)
        assert isinstance(whole, Tensor)
        return self.tokenizer.decode(whole[0], skip_special_tokens=True)[len(text) :]


class Remembered(Showing):
    """Long texts, cut into segments that hand on their memory."""

    purpose = "remembers: perplexity of the same held-out text with and without its memory"
    locales = ("de", "el", "en", "tr")
    segment = 24
    days = 24

    @torch.no_grad()
    def show(self) -> Finding:
        sums = torch.zeros(3)
        examples: list[tuple[str, ...]] = []
        for locale in self.locales:
            parts = self.losses(self.encode(" ".join(diary(HELD_OUT, locale, self.days))))
            with_memory, without = ((parts[:2] / parts[2]).exp()).tolist()
            examples.append((locale, f"{with_memory:.2f}", f"{without:.2f}"))
            sums += parts
        remembered, forgotten = ((sums[:2] / sums[2]).exp()).tolist()
        headline = (
            f"perplexity with memory {remembered:.2f}, without {forgotten:.2f} (held-out diaries)"
        )
        numbers = {"with": remembered, "without": forgotten}
        return Finding(headline, ("language", "with memory", "without"), examples, numbers)

    def losses(self, ids: Tensor) -> Tensor:
        """Sums (3) over the tokens of a text: losses with its memory, without it, and their count."""
        memory, sums = None, torch.zeros(3)
        for segment, following in self.segments(ids):
            asked = {"input_ids": segment, "shift_labels": following}
            remembering = self.model(**asked, memory=memory, use_memory=True)
            memory = remembering.memory
            forgetting = self.model(**asked)
            count = int((following != IGNORED).sum())
            sums += torch.tensor(
                [float(remembering.losses.sum()), float(forgetting.losses.sum()), count]
            )
        return sums

    def segments(self, ids: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Segments (1 i) of a text, and the token after each of theirs, over the end of a segment
        too.
        """
        following = torch.cat([ids[1:], torch.tensor([IGNORED])])
        pairs = (stream(part, 1, self.segment) for part in (ids, following))
        yield from zip(*pairs, strict=True)

    def encode(self, text: str) -> Tensor:
        """The ids (n) of a text, the end token last."""
        return torch.tensor([*self.tokenizer([text]).input_ids[0], self.tokenizer.eos_id])

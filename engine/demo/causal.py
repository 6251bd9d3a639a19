"""Lessons in the next token: a sentence continued, and a stream whose past is remembered."""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from engine.demo.corpus import LOCALES, Corpus, Run, diary, sentence
from engine.demo.lesson import Finding, Lesson
from engine.kernels.losses import IGNORED
from engine.training import causal_labels, stream

PROMPTS = 8


class CausalLesson(Lesson):
    """Causal language modelling over sentences of all languages."""

    purpose = "continues a sentence"
    steps = 400
    rows = 16
    learning_rate = 4e-3

    def batches(self) -> Iterator[dict[str, Any]]:
        while True:
            texts = [
                sentence(fact, locale) + self.tokenizer.eos_token for fact, locale in self.draw()
            ]
            encoding = self.tokenizer(texts, padding=True, return_tensors="pt")
            labels = causal_labels(encoding.input_ids, encoding.attention_mask)
            yield {**encoding, "labels": labels, "use_memory": False}

    @torch.no_grad()
    def show(self) -> Finding:
        total, count = 0.0, 0
        examples: list[tuple[str, ...]] = []
        for number, fact in enumerate(self.corpus.held_out):
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


class StreamLesson(Lesson):
    """Causal language modelling over long texts, cut into segments that hand on their memory."""

    purpose = "remembers: perplexity of the same held-out text with and without its memory"
    steps = 300
    rows = 16
    learning_rate = 5e-3
    carry_memory = True
    segment = 24
    days = 24

    @classmethod
    def texts(cls, corpus: Corpus, seed: int) -> Iterator[tuple[str, str]]:
        for number in range(40 * len(LOCALES)):
            locale = LOCALES[number % len(LOCALES)]
            yield " ".join(diary(seed + number, locale, cls.days)), locale

    def batches(self) -> Iterator[dict[str, Any]]:
        ids = self.encode(self.texts(self.corpus, self.seed))
        while True:
            for segment, following in self.segments(ids, self.rows):
                yield {"input_ids": segment, "shift_labels": following}

    def segments(self, ids: Tensor, rows: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Segments of a text, and the token after each of theirs, over the end of a segment too."""
        following = torch.cat([ids[1:], torch.tensor([IGNORED])])
        pairs = (stream(part, rows, self.segment) for part in (ids, following))
        yield from zip(*pairs, strict=True)

    def encode(self, texts: Iterator[tuple[str, str]]) -> Tensor:
        """One long row of ids (n), each text closed by the end token."""
        rows = self.tokenizer([text for text, _ in texts]).input_ids
        return torch.tensor([index for row in rows for index in (*row, self.tokenizer.eos_id)])

    @torch.no_grad()
    def show(self) -> Finding:
        sums = torch.zeros(3)
        examples: list[tuple[str, ...]] = []
        for locale in LOCALES:
            ids = self.encode(
                iter([(" ".join(diary(10**6 + self.seed, locale, self.days)), locale)])
            )
            memory, parts = None, torch.zeros(3)
            for segment, following in self.segments(ids, 1):
                asked = {"input_ids": segment, "shift_labels": following}
                remembering = self.model(**asked, memory=memory, use_memory=True)
                memory = remembering.memory
                forgetting = self.model(**asked)
                count = int((following != IGNORED).sum())
                parts += torch.tensor(
                    [float(remembering.losses.sum()), float(forgetting.losses.sum()), count]
                )
            examples.append(
                (locale, *(f"{float((parts[index] / parts[2]).exp()):.2f}" for index in (0, 1)))
            )
            sums += parts
        remembered, forgotten = (float((sums[index] / sums[2]).exp()) for index in (0, 1))
        headline = (
            f"perplexity with memory {remembered:.2f}, without {forgotten:.2f} (held-out diaries)"
        )
        numbers = {"with": remembered, "without": forgotten}
        return Finding(headline, ("language", "with memory", "without"), examples[:4], numbers)

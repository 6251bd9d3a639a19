"""Logits processors: they change the scores of the next token before one is chosen.

b texts, n tokens, v vocabulary.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.errors import InputError
from engine.generation.options import GenerationOptions
from engine.spec import Spec


@dataclass(frozen=True)
class History:
    """What stands before a choice."""

    texts: Tensor
    """(b n)."""
    mask: Tensor | None
    """(b n): True for real tokens; None where all are."""
    new: int
    """How many tokens of each text follow its prompt."""
    prompts: list[int]
    """The number of each text's prompt."""

    def real(self) -> list[Tensor]:
        """Each text without its padding, (n)."""
        if self.mask is None:
            return list(self.texts)
        return [text[keep] for text, keep in zip(self.texts, self.mask, strict=True)]


LogitsProcessor = Callable[[Tensor, History], Tensor]


def build_processors(options: GenerationOptions, spec: Spec) -> list[LogitsProcessor]:
    """The processors that the options name, each a map of scores (b v) and history to scores; the
    caller's own come last.
    """
    processors: list[LogitsProcessor] = []
    if options.repetition_penalty != 1.0:
        processors.append(_repetition(options.repetition_penalty))
    if options.no_repeat_ngram_size:
        processors.append(_ngrams(options.no_repeat_ngram_size))
    if options.bad_words_ids:
        processors.append(_bad_words(options.bad_words_ids))
    ends = options.ends(spec)
    if options.min_new_tokens and ends:
        processors.append(_banned_below(options.min_new_tokens, ends))
    if options.suppress_tokens:
        processors.append(_banned_below(options.max_new_tokens, options.suppress_tokens))
    if options.begin_suppress_tokens:
        processors.append(_banned_below(1, options.begin_suppress_tokens))
    if options.prefix_allowed_tokens_fn is not None:
        processors.append(_allowed(options.prefix_allowed_tokens_fn, spec.dims.vocab))
    for place, processor in enumerate(options.logits_processor):
        processors.append(_given(processor, f"logits_processor[{place}]"))
    return processors


def _repetition(penalty: float) -> LogitsProcessor:
    """Scores of tokens already in the text move towards worse (Keskar et al. 2019, 4.1)."""

    def apply(scores: Tensor, history: History) -> Tensor:
        texts, mask = history.texts, history.mask
        ids = texts
        if mask is not None:
            ids = torch.where(mask, texts, texts[:, -1:])
        chosen = scores.gather(1, ids)
        return scores.scatter(1, ids, torch.where(chosen < 0, chosen * penalty, chosen / penalty))

    return apply


def _ngrams(size: int) -> LogitsProcessor:
    """No run of `size` tokens stands twice in a text."""

    def apply(scores: Tensor, history: History) -> Tensor:
        scores = scores.clone()
        for row, text in enumerate(history.real()):
            ids = text.tolist()
            start = tuple(ids[len(ids) - size + 1 :])
            banned = [
                ids[at + size - 1]
                for at in range(len(ids) - size + 1)
                if tuple(ids[at : at + size - 1]) == start
            ]
            scores[row, banned] = -torch.inf
        return scores

    return apply


def _bad_words(words: tuple[tuple[int, ...], ...]) -> LogitsProcessor:
    """No text ever holds one of these sequences of tokens."""

    def apply(scores: Tensor, history: History) -> Tensor:
        scores = scores.clone()
        for row, text in enumerate(history.real()):
            ids = text.tolist()
            for *start, last in words:
                if len(start) <= len(ids) and ids[len(ids) - len(start) :] == start:
                    scores[row, last] = -torch.inf
        return scores

    return apply


def _banned_below(length: int, tokens: tuple[int, ...]) -> LogitsProcessor:
    """None of these tokens comes before a text has `length` new ones."""

    def apply(scores: Tensor, history: History) -> Tensor:
        if history.new >= length:
            return scores
        return scores.index_fill(1, torch.tensor(tokens, device=scores.device), -torch.inf)

    return apply


def _allowed(choose: Callable[[int, Tensor], Iterable[int]], vocabulary: int) -> LogitsProcessor:
    """Only the tokens that `choose` names for a prompt's number and its text (n) so far (Cao et al.
    2021, 3.2).
    """

    def apply(scores: Tensor, history: History) -> Tensor:
        banned = torch.ones_like(scores, dtype=torch.bool)
        for row, (prompt, text) in enumerate(zip(history.prompts, history.real(), strict=True)):
            banned[row, _ids(choose(prompt, text), vocabulary)] = False
        return scores.masked_fill(banned, -torch.inf)

    return apply


def _ids(chosen: Iterable[int], vocabulary: int) -> list[int]:
    name = "prefix_allowed_tokens_fn"
    try:
        ids = [int(token) for token in chosen]
    except (TypeError, ValueError):
        raise InputError(
            f"{name} gave a {type(chosen).__name__}, expected the ids of the tokens allowed"
        ) from None
    for token in ids:
        if not 0 <= token < vocabulary:
            raise InputError(
                f"{name} allows {token}, outside 0 … {vocabulary - 1} (dims.vocab is {vocabulary})"
            )
    return ids


def _given(processor: Callable[[Tensor, Tensor], Tensor], name: str) -> LogitsProcessor:
    """The caller's own: a map of texts (b n) and scores (b v) to scores, as in transformers."""

    def apply(scores: Tensor, history: History) -> Tensor:
        changed = processor(history.texts, scores)
        if not isinstance(changed, Tensor) or changed.shape != scores.shape:
            found = type(changed).__name__
            if isinstance(changed, Tensor):
                found = str(tuple(changed.shape))
            raise InputError(f"{name} gave {found}, expected scores of shape {tuple(scores.shape)}")
        return changed.to(scores)

    return apply

"""Rules that change the scores of the next token before one is chosen."""

from collections.abc import Callable

import torch
from torch import Tensor

from engine.generation.options import GenerationOptions
from engine.spec import Spec

Rule = Callable[[Tensor, Tensor, Tensor | None, int], Tensor]


def rules_of(options: GenerationOptions, spec: Spec) -> list[Rule]:
    """What the options ask for, each a map of scores (b v), texts (b n), their mask and the new tokens so far."""
    rules: list[Rule] = []
    if options.repetition_penalty != 1.0:
        rules.append(_repetition(options.repetition_penalty))
    if options.no_repeat_ngram_size:
        rules.append(_ngrams(options.no_repeat_ngram_size))
    if options.bad_words_ids:
        rules.append(_bad_words(options.bad_words_ids))
    ends = options.ends(spec)
    if options.min_new_tokens and ends:
        rules.append(_minimum(options.min_new_tokens, ends))
    return rules


def _repetition(penalty: float) -> Rule:
    """Scores of tokens already in the text move towards worse (Keskar et al. 2019, 4.1)."""

    def apply(scores: Tensor, texts: Tensor, mask: Tensor | None, new: int) -> Tensor:
        ids = texts if mask is None else torch.where(mask, texts, texts[:, -1:])
        chosen = scores.gather(1, ids)
        return scores.scatter(1, ids, torch.where(chosen < 0, chosen * penalty, chosen / penalty))

    return apply


def _ngrams(size: int) -> Rule:
    """No run of `size` tokens stands twice in a text."""

    def apply(scores: Tensor, texts: Tensor, mask: Tensor | None, new: int) -> Tensor:
        scores = scores.clone()
        for row, ids in enumerate(_texts(texts, mask)):
            start = tuple(ids[len(ids) - size + 1 :])
            banned = [
                ids[at + size - 1] for at in range(len(ids) - size + 1) if tuple(ids[at : at + size - 1]) == start
            ]
            scores[row, banned] = -torch.inf
        return scores

    return apply


def _bad_words(words: tuple[tuple[int, ...], ...]) -> Rule:
    """No text ever holds one of these runs of tokens."""

    def apply(scores: Tensor, texts: Tensor, mask: Tensor | None, new: int) -> Tensor:
        scores = scores.clone()
        for row, ids in enumerate(_texts(texts, mask)):
            for *start, last in words:
                if len(start) <= len(ids) and ids[len(ids) - len(start) :] == start:
                    scores[row, last] = -torch.inf
        return scores

    return apply


def _minimum(length: int, ends: tuple[int, ...]) -> Rule:
    """No text ends before it has `length` new tokens."""

    def apply(scores: Tensor, texts: Tensor, mask: Tensor | None, new: int) -> Tensor:
        if new >= length:
            return scores
        return scores.index_fill(1, torch.tensor(ends, device=scores.device), -torch.inf)

    return apply


def _texts(texts: Tensor, mask: Tensor | None) -> list[list[int]]:
    if mask is None:
        return texts.tolist()
    return [row[keep].tolist() for row, keep in zip(texts, mask, strict=True)]

"""Rules that change the scores of the next token before one is chosen: logits processors."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.errors import InputError
from engine.generation.options import GenerationOptions
from engine.spec import Spec


@dataclass(frozen=True)
class Before:
    """What stands before a choice: texts (b n), whose `mask` (b n) is True for real tokens, and
    their prompts' numbers.

    `new` of the tokens of each text follow its prompt.
    """

    texts: Tensor
    mask: Tensor | None
    new: int
    prompts: list[int]

    def real(self) -> list[Tensor]:
        """Each text without its padding, (n)."""
        if self.mask is None:
            return list(self.texts)
        return [text[keep] for text, keep in zip(self.texts, self.mask, strict=True)]


Rule = Callable[[Tensor, Before], Tensor]


def rules_of(options: GenerationOptions, spec: Spec) -> list[Rule]:
    """What the options ask for, each a map of scores (b v) and what stands before them; the
    caller's own come last.
    """
    rules: list[Rule] = []
    if options.repetition_penalty != 1.0:
        rules.append(_repetition(options.repetition_penalty))
    if options.no_repeat_ngram_size:
        rules.append(_ngrams(options.no_repeat_ngram_size))
    if options.bad_words_ids:
        rules.append(_bad_words(options.bad_words_ids))
    ends = options.ends(spec)
    if options.min_new_tokens and ends:
        rules.append(_banned_below(options.min_new_tokens, ends))
    if options.suppress_tokens:
        rules.append(_banned_below(options.max_new_tokens, options.suppress_tokens))
    if options.begin_suppress_tokens:
        rules.append(_banned_below(1, options.begin_suppress_tokens))
    if options.prefix_allowed_tokens_fn is not None:
        rules.append(_allowed(options.prefix_allowed_tokens_fn, spec.dims.vocab))
    for place, processor in enumerate(options.logits_processor):
        rules.append(_processor(processor, f"logits_processor[{place}]"))
    return rules


def _repetition(penalty: float) -> Rule:
    """Scores of tokens already in the text move towards worse (Keskar et al. 2019, 4.1)."""

    def apply(scores: Tensor, before: Before) -> Tensor:
        texts, mask = before.texts, before.mask
        ids = texts if mask is None else torch.where(mask, texts, texts[:, -1:])
        chosen = scores.gather(1, ids)
        return scores.scatter(1, ids, torch.where(chosen < 0, chosen * penalty, chosen / penalty))

    return apply


def _ngrams(size: int) -> Rule:
    """No run of `size` tokens stands twice in a text."""

    def apply(scores: Tensor, before: Before) -> Tensor:
        scores = scores.clone()
        for row, text in enumerate(before.real()):
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


def _bad_words(words: tuple[tuple[int, ...], ...]) -> Rule:
    """No text ever holds one of these runs of tokens."""

    def apply(scores: Tensor, before: Before) -> Tensor:
        scores = scores.clone()
        for row, text in enumerate(before.real()):
            ids = text.tolist()
            for *start, last in words:
                if len(start) <= len(ids) and ids[len(ids) - len(start) :] == start:
                    scores[row, last] = -torch.inf
        return scores

    return apply


def _banned_below(length: int, tokens: tuple[int, ...]) -> Rule:
    """None of these tokens comes before a text has `length` new ones."""

    def apply(scores: Tensor, before: Before) -> Tensor:
        if before.new >= length:
            return scores
        return scores.index_fill(1, torch.tensor(tokens, device=scores.device), -torch.inf)

    return apply


def _allowed(choose: Callable[[int, Tensor], Iterable[int]], vocabulary: int) -> Rule:
    """Only the tokens that `choose` names for a prompt's number and its text (n) so far (Cao et al.
    2021, 3.2).
    """

    def apply(scores: Tensor, before: Before) -> Tensor:
        banned = torch.ones_like(scores, dtype=torch.bool)
        for row, (prompt, text) in enumerate(zip(before.prompts, before.real(), strict=True)):
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


def _processor(processor: Callable[[Tensor, Tensor], Tensor], name: str) -> Rule:
    """A rule of the caller's: a map of texts (b n) and scores (b v) to scores, as transformers
    calls it.
    """

    def apply(scores: Tensor, before: Before) -> Tensor:
        changed = processor(before.texts, scores)
        if not isinstance(changed, Tensor) or changed.shape != scores.shape:
            found = tuple(changed.shape) if isinstance(changed, Tensor) else type(changed).__name__
            raise InputError(f"{name} gave {found}, expected scores of shape {tuple(scores.shape)}")
        return changed.to(scores)

    return apply


def check_choice(best: Tensor, prompts: Sequence[int], ruled: bool) -> None:
    """Raise InputError where the best score (b) of a row is not a number, or rules leave it no
    token.
    """
    # A sum tells it in one step of the usual kind; one that overflows is looked at again.
    if math.isfinite(float(best.sum())) or bool(best.isfinite().all()):
        return
    row = int((~best.isfinite()).nonzero()[0])
    prompt, found = prompts[row], float(best[row])
    if ruled and found == -torch.inf:
        raise InputError(
            f"the rules leave no token to choose behind prompt {prompt}: every score is -inf"
        )
    raise InputError(
        f"the scores of the token behind prompt {prompt} are not finite: the best one is {found}"
    )

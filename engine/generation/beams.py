"""Beam search with a length penalty, several best texts and a choice of when to stop."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from engine.generation.candidates import best_tokens, log_probabilities
from engine.generation.options import GenerationOptions
from engine.generation.rules import Rule, check_choice
from engine.generation.steps import Continuation
from engine.network.output_layer import AdaptiveOutput, LinearOutput

WORST = -1e9  # added to the score of a text that cannot be taken any further
DEAD = WORST / 2


@dataclass(frozen=True)
class Text:
    """New tokens with their score, and, where they are asked for, the scores (v) that each was
    chosen by.
    """

    score: float = 0.0
    tokens: tuple[int, ...] = ()
    steps: tuple[Tensor, ...] = ()

    @property
    def lives(self) -> bool:
        """Whether every token of it could be chosen."""
        return self.score > DEAD


@dataclass
class Search:
    """The beams of one prompt: running texts with their summed log-probabilities, and finished
    ones, best first.

    `best` is the best sum that any continuation of this step reached.
    """

    texts: list[Text]
    best: float = 0.0
    finished: list[Text] = field(default_factory=list)

    def finish(self, score: float, text: Text, limit: int) -> None:
        """Keep a finished text, judged by a score, if it is among the `limit` best."""
        self.finished.append(replace(text, score=score))
        self.finished.sort(key=lambda entry: -entry.score)
        del self.finished[limit:]


class BeamSearch:
    """Beams of a batch of prompts; prompts that are done leave the batch.

    `prompt` is the width of the padded prompts, which counts where beams are judged by the whole
    text.
    """

    def __init__(
        self,
        output: LinearOutput | AdaptiveOutput,
        rules: list[Rule],
        options: GenerationOptions,
        ends: tuple[int, ...],
        stops: "Stops",
        prompt: int,
    ) -> None:
        self.output, self.rules, self.options, self.ends, self.stops = (
            output,
            rules,
            options,
            ends,
            stops,
        )
        self.whole = options.beam_lengths == "whole_text"
        self.before = prompt if self.whole else 0

    def run(
        self, continuation: Continuation, states: Tensor, prompts: list[int]
    ) -> list[list[Text]]:
        """The finished texts of each prompt, best first, from the states (b d) that follow the
        prompts.
        """
        options, beams = self.options, self.options.num_beams
        searches = [Search([Text()]) for _ in range(len(states))]
        active = list(range(len(states)))
        width = 1
        for step in range(1, options.max_new_tokens + 1):
            numbers = [prompts[index] for index in active for _ in range(width)]
            scores, tokens, steps = self._candidates(continuation, states, numbers)
            sources: list[int] = []
            for place, index in enumerate(active):
                rows = slice(place * width, (place + 1) * width)
                chosen = self._advance(
                    searches[index], scores[rows], tokens[rows], steps[rows], step
                )
                sources += [place * width + beam for beam in chosen]
            kept = [
                place
                for place, index in enumerate(active)
                if not self._is_done(searches[index], step)
            ]
            active = [active[place] for place in kept]
            if not kept or step == options.max_new_tokens:
                break
            rows_kept = [sources[place * beams + beam] for place in kept for beam in range(beams)]
            width = beams
            if rows_kept != list(range(len(states))):
                continuation.select(torch.tensor(rows_kept, device=states.device))
            newest = [
                searches[index].texts[beam].tokens[-1] for index in active for beam in range(beams)
            ]
            states = continuation.feed(torch.tensor(newest, device=states.device)[:, None])
        if self.whole:
            for index in active:
                for text in searches[index].texts:
                    if text.lives:
                        searches[index].finish(
                            self._judged(text.score, options.max_new_tokens), text, beams
                        )
        return [search.finished for search in searches]

    def _judged(self, score: float, length: int) -> float:
        return score / float(self.before + length) ** self.options.length_penalty

    def _is_done(self, search: Search, step: int) -> bool:
        """Whether no running beam can become better than the worst finished one, by the rule of
        `early_stopping`.
        """
        options = self.options
        if not search.texts[0].lives:
            return True
        if len(search.finished) < options.num_beams:
            return False
        if options.early_stopping is True:
            return True
        longest = options.early_stopping == "never" and options.length_penalty > 0.0
        best = search.best if self.whole else search.texts[0].score
        return (
            self._judged(best, options.max_new_tokens if longest else step)
            <= search.finished[-1].score
        )

    def _candidates(
        self, continuation: Continuation, states: Tensor, prompts: list[int]
    ) -> tuple[Tensor, Tensor, Sequence[Tensor | None]]:
        """The best continuations of every beam: log-probabilities and ids (b*beams c), and all
        scores (v) of each beam.

        The last are None where nobody asks for them.
        """
        count = min(max(2, 1 + len(self.ends)) * self.options.num_beams, self.output_size(states))
        if not self.rules and not self.options.output_scores:
            best, ids = best_tokens(self.output, states, count)
            check_choice(best[:, 0], prompts, ruled=False)
            return best, ids, [None] * len(best)
        scores = log_probabilities(self.output, states)
        check_choice(scores.amax(-1), prompts, ruled=False)
        for rule in self.rules:
            scores = rule(scores, continuation.before(prompts))
        best, ids = scores.topk(count, dim=-1)
        self._check_any(best[:, 0], prompts)
        return best, ids, scores.unbind(0) if self.options.output_scores else [None] * len(best)

    def _check_any(self, best: Tensor, prompts: list[int]) -> None:
        """Raise InputError where no beam of a prompt has a token left; a single beam may end so."""
        together = best.view(-1, len(prompts) // len(set(prompts)))
        check_choice(
            together.nan_to_num(nan=torch.inf, neginf=-torch.inf).amax(-1),
            sorted(set(prompts)),
            ruled=True,
        )

    def output_size(self, states: Tensor) -> int:
        """How many tokens there are to choose from."""
        if isinstance(self.output, AdaptiveOutput):
            return self.output.cutoffs[-1]
        return len(self.output.weight)

    def _advance(
        self,
        search: Search,
        scores: Tensor,
        tokens: Tensor,
        steps: Sequence[Tensor | None],
        step: int,
    ) -> list[int]:
        """Take the best continuations of one prompt: some finish, `num_beams` run on; returns the
        beams they come from.
        """
        options, beams = self.options, self.options.num_beams
        before = [text.score for text in search.texts]
        totals = scores + torch.tensor(before, dtype=scores.dtype, device=scores.device)[:, None]
        count = min(max(2, 1 + len(self.ends)) * beams, totals.numel())
        best, places = totals.flatten().topk(count)
        search.best = float(best[0])
        running: list[tuple[int, Text]] = []
        ended: list[tuple[int, Text]] = []
        for rank, (score, place) in enumerate(zip(best.tolist(), places.tolist(), strict=True)):
            if score == -math.inf:
                break
            beam = place // tokens.shape[1]
            source, made = search.texts[beam], steps[beam]
            all_steps = source.steps if made is None else (*source.steps, made)
            token = int(tokens[beam, place % tokens.shape[1]])
            text = Text(score, (*source.tokens, token), all_steps)
            ends = token in self.ends or self.stops.ends(list(text.tokens))
            if ends or (step == options.max_new_tokens and not self.whole):
                if rank < beams and text.lives:
                    search.finish(
                        self._judged(score, step - 1 if self.whole else step), text, beams
                    )
                ended.append((beam, replace(text, score=score + WORST)))
            else:
                running.append((beam, text))
        running = (running + ended)[:beams]
        beam, last = running[-1]
        # Fewer continuations than beams: the last one again, as a text that nothing follows.
        running += [(beam, replace(last, score=last.score + WORST))] * (beams - len(running))
        search.texts = [text for _, text in running]
        return [beam for beam, _ in running]


class Stops:
    """Stop strings, looked for in the decoded new tokens."""

    def __init__(self, strings: tuple[str, ...], tokenizer: object) -> None:
        self.strings, self.tokenizer = strings, tokenizer

    def ends(self, text: list[int]) -> bool:
        """Whether new tokens spell out one of the strings."""
        if not self.strings:
            return False
        decoded = self.tokenizer.decode(text)  # type: ignore[attr-defined]
        return any(string in decoded for string in self.strings)

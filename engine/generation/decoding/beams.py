"""Beam search with a length penalty, several best texts and a choice of when to stop."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from engine.generation.decoding.processors import LogitsProcessor
from engine.generation.decoding.state import DecodingState
from engine.generation.decoding.stopping import StoppingCriteria
from engine.generation.options import GenerationOptions
from engine.generation.predictions import (
    OutputLayer,
    best_tokens,
    check_choice,
    log_probabilities,
)
from engine.network.output_layer import AdaptiveOutput

PENALTY = -1e9  # added to the score of a hypothesis that cannot be continued
IMPOSSIBLE = PENALTY / 2


@dataclass(frozen=True)
class Hypothesis:
    """New tokens with their score."""

    score: float = 0.0
    tokens: tuple[int, ...] = ()
    step_scores: tuple[Tensor, ...] = ()
    """The scores (v) that each token was chosen by, where the options say `output_scores`."""

    @property
    def possible(self) -> bool:
        """Whether every token of it could be chosen."""
        return self.score > IMPOSSIBLE


@dataclass
class PromptBeams:
    """The beams of one prompt."""

    running: list[Hypothesis]
    """With summed log-probabilities, best first."""
    best_sum: float = 0.0
    """The best sum that any candidate of this step reached."""
    finished: list[Hypothesis] = field(default_factory=list)
    """Best first."""

    def finish(self, score: float, hypothesis: Hypothesis, limit: int) -> None:
        """Keep a finished hypothesis with its final score if it is among the `limit` best."""
        self.finished.append(replace(hypothesis, score=score))
        self.finished.sort(key=lambda entry: -entry.score)
        del self.finished[limit:]


@dataclass(frozen=True)
class Candidates:
    """What may continue the beams (b) of a step, c for each."""

    scores: Tensor
    """(b c): log-probabilities, best first."""
    tokens: Tensor
    """(b c)."""
    all_scores: Sequence[Tensor | None]
    """(v) of each beam; None where the options do not say `output_scores`."""

    def of(self, beams: slice) -> "Candidates":
        """Those of some beams."""
        return Candidates(self.scores[beams], self.tokens[beams], self.all_scores[beams])


class BeamSearch:
    """Beams of a batch of prompts; prompts that are done leave the batch.

    `prompt_width` is that of the padded prompts; it counts where beams are judged by the whole
    text.
    """

    def __init__(
        self,
        output: OutputLayer,
        processors: list[LogitsProcessor],
        options: GenerationOptions,
        stopping: StoppingCriteria,
        prompt_width: int,
    ) -> None:
        self.output, self.processors, self.options = output, processors, options
        self.stopping = stopping
        self.by_whole_text = options.beam_lengths == "whole_text"
        self.counted_before = 0
        if self.by_whole_text:
            self.counted_before = prompt_width
        # Even if the best candidates of all beams end their texts, num_beams others are left.
        self.candidates = max(2, 1 + len(stopping.ends)) * options.num_beams

    def run(
        self, state: DecodingState, states: Tensor, prompts: list[int]
    ) -> list[list[Hypothesis]]:
        """The finished texts of each prompt, best first, from the states (b d) that follow the
        prompts.
        """
        options, beams = self.options, self.options.num_beams
        searches = [PromptBeams([Hypothesis()]) for _ in range(len(states))]
        active = list(range(len(states)))
        width = 1
        for step in range(1, options.max_new_tokens + 1):
            numbers = [prompts[index] for index in active for _ in range(width)]
            candidates = self._candidates(state, states, numbers)
            sources: list[int] = []
            for place, index in enumerate(active):
                rows = slice(place * width, (place + 1) * width)
                chosen = self._advance(searches[index], candidates.of(rows), step)
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
                state.select(torch.tensor(rows_kept, device=states.device))
            newest = [text.tokens[-1] for index in active for text in searches[index].running]
            states = state.append(torch.tensor(newest, device=states.device)[:, None])
        if self.by_whole_text:
            for index in active:
                self._finish_running(searches[index])
        return [search.finished for search in searches]

    def _finish_running(self, search: PromptBeams) -> None:
        """Finish the beams that reached max_new_tokens."""
        for text in search.running:
            if text.possible:
                score = self._judged(text.score, self.options.max_new_tokens)
                search.finish(score, text, self.options.num_beams)

    def _judged(self, score: float, length: int) -> float:
        return score / float(self.counted_before + length) ** self.options.length_penalty

    def _is_done(self, search: PromptBeams, step: int) -> bool:
        """Whether no running beam can become better than the worst finished one, by the rule of
        `early_stopping`.
        """
        options = self.options
        if not search.running[0].possible:
            return True
        if len(search.finished) < options.num_beams:
            return False
        if options.early_stopping is True:
            return True
        best, length = search.running[0].score, step
        if self.by_whole_text:
            best = search.best_sum
        if options.early_stopping == "never" and options.length_penalty > 0.0:
            length = options.max_new_tokens
        return self._judged(best, length) <= search.finished[-1].score

    def _candidates(self, state: DecodingState, states: Tensor, prompts: list[int]) -> Candidates:
        """The best candidates of every beam at states (b d)."""
        count = min(self.candidates, self._vocabulary())
        nothing: list[Tensor | None] = [None] * len(states)
        if not self.processors and not self.options.output_scores:
            best, ids = best_tokens(self.output, states, count)
            check_choice(best[:, 0], prompts, processed=False)
            return Candidates(best, ids, nothing)
        scores = log_probabilities(self.output, states)
        check_choice(scores.amax(-1), prompts, processed=False)
        for processor in self.processors:
            scores = processor(scores, state.history(prompts))
        best, ids = scores.topk(count, dim=-1)
        self._check_any(best[:, 0], prompts)
        if not self.options.output_scores:
            return Candidates(best, ids, nothing)
        return Candidates(best, ids, scores.unbind(0))

    def _check_any(self, best: Tensor, prompts: list[int]) -> None:
        """Raise InputError where no beam of a prompt has a token left; a single beam may end so."""
        each = sorted(set(prompts))
        of_prompts = best.view(-1, len(prompts) // len(each))
        best_of_prompts = of_prompts.nan_to_num(nan=torch.inf, neginf=-torch.inf).amax(-1)
        check_choice(best_of_prompts, each, processed=True)

    def _vocabulary(self) -> int:
        """How many tokens there are to choose from."""
        if isinstance(self.output, AdaptiveOutput):
            return self.output.cutoffs[-1]
        return len(self.output.weight)

    def _advance(self, search: PromptBeams, candidates: Candidates, step: int) -> list[int]:
        """Take the best candidates of one prompt: some finish, `num_beams` run on; returns the
        beams they come from.
        """
        options, beams = self.options, self.options.num_beams
        scores, tokens = candidates.scores, candidates.tokens
        sums = [text.score for text in search.running]
        totals = scores + torch.tensor(sums, dtype=scores.dtype, device=scores.device)[:, None]
        best, places = totals.flatten().topk(min(self.candidates, totals.numel()))
        search.best_sum = float(best[0])
        length = step
        if self.by_whole_text:
            length = step - 1  # before the end token
        running: list[tuple[int, Hypothesis]] = []
        ended: list[tuple[int, Hypothesis]] = []
        for rank, (score, place) in enumerate(zip(best.tolist(), places.tolist(), strict=True)):
            if score == -math.inf:
                break
            beam = place // tokens.shape[1]
            source, all_scores = search.running[beam], candidates.all_scores[beam]
            step_scores = source.step_scores
            if all_scores is not None:
                step_scores = (*step_scores, all_scores)
            token = int(tokens[beam, place % tokens.shape[1]])
            text = Hypothesis(score, (*source.tokens, token), step_scores)
            ends = self.stopping.are_met(text.tokens)
            last = step == options.max_new_tokens and not self.by_whole_text
            if not (ends or last):
                running.append((beam, text))
                continue
            if rank < beams and text.possible:
                search.finish(self._judged(score, length), text, beams)
            ended.append((beam, replace(text, score=score + PENALTY)))
        running = (running + ended)[:beams]
        beam, text = running[-1]
        # Fewer candidates than beams: the last one again, as a text that nothing follows.
        missing = beams - len(running)
        running += [(beam, replace(text, score=text.score + PENALTY))] * missing
        search.running = [text for _, text in running]
        return [beam for beam, _ in running]

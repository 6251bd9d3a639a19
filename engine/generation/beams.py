"""Beam search with a length penalty, several best texts and a choice of when to stop."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from engine.generation.candidates import best_tokens, log_probabilities
from engine.generation.options import GenerationOptions
from engine.generation.rules import Rule
from engine.generation.steps import Continuation
from engine.output_layer import AdaptiveOutput, LinearOutput

WORST = -1e9


@dataclass
class Search:
    """The beams of one prompt: running texts with their summed log-probabilities, and finished ones, best first.

    `best` is the best sum that any continuation of this step reached.
    """

    texts: list[list[int]]
    scores: list[float]
    best: float = 0.0
    finished: list[tuple[float, list[int]]] = field(default_factory=list)

    def finish(self, score: float, text: list[int], limit: int) -> None:
        """Keep a finished text if it is among the `limit` best."""
        self.finished.append((score, text))
        self.finished.sort(key=lambda entry: -entry[0])
        del self.finished[limit:]


class BeamSearch:
    """Beams of a batch of prompts; prompts that are done leave the batch.

    `prompt` is the width of the padded prompts, which counts where beams are judged by the whole text.
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
        self.output, self.rules, self.options, self.ends, self.stops = output, rules, options, ends, stops
        self.whole = options.beam_lengths == "whole_text"
        self.before = prompt if self.whole else 0

    def run(self, continuation: Continuation, states: Tensor) -> list[list[tuple[float, list[int]]]]:
        """The finished texts of each prompt, best first, from the states (b d) that follow the prompts."""
        options, beams = self.options, self.options.num_beams
        searches = [Search([[]], [0.0]) for _ in range(len(states))]
        active = list(range(len(states)))
        width = 1
        for step in range(1, options.max_new_tokens + 1):
            scores, tokens = self._candidates(continuation, states, step - 1)
            sources: list[int] = []
            for place, index in enumerate(active):
                rows = slice(place * width, (place + 1) * width)
                chosen = self._advance(searches[index], scores[rows], tokens[rows], step)
                sources += [place * width + beam for beam in chosen]
            kept = [place for place, index in enumerate(active) if not self._is_done(searches[index], step)]
            active = [active[place] for place in kept]
            if not kept or step == options.max_new_tokens:
                break
            rows_kept = [sources[place * beams + beam] for place in kept for beam in range(beams)]
            width = beams
            if rows_kept != list(range(len(states))):
                continuation.select(torch.tensor(rows_kept, device=states.device))
            newest = [searches[index].texts[beam][-1] for index in active for beam in range(beams)]
            states = continuation.feed(torch.tensor(newest, device=states.device)[:, None])
        if self.whole:
            for index in active:
                for score, text in zip(searches[index].scores, searches[index].texts, strict=True):
                    searches[index].finish(self._judged(score, options.max_new_tokens), text, beams)
        return [search.finished for search in searches]

    def _judged(self, score: float, length: int) -> float:
        return score / float(self.before + length) ** self.options.length_penalty

    def _is_done(self, search: Search, step: int) -> bool:
        """Whether no running beam can become better than the worst finished one, by the rule of `early_stopping`."""
        options = self.options
        if len(search.finished) < options.num_beams:
            return False
        if options.early_stopping is True:
            return True
        longest = options.early_stopping == "never" and options.length_penalty > 0.0
        best = search.best if self.whole else search.scores[0]
        return self._judged(best, options.max_new_tokens if longest else step) <= search.finished[-1][0]

    def _candidates(self, continuation: Continuation, states: Tensor, new: int) -> tuple[Tensor, Tensor]:
        """The best continuations of every beam: log-probabilities and ids (b*beams c)."""
        count = min(max(2, 1 + len(self.ends)) * self.options.num_beams, self.output_size(states))
        if not self.rules:
            return best_tokens(self.output, states, count)
        scores = log_probabilities(self.output, states)
        for rule in self.rules:
            scores = rule(scores, continuation.tokens, continuation.mask, new)
        return scores.topk(count, dim=-1)

    def output_size(self, states: Tensor) -> int:
        """How many tokens there are to choose from."""
        if isinstance(self.output, AdaptiveOutput):
            return self.output.cutoffs[-1]
        return len(self.output.weight)

    def _advance(self, search: Search, scores: Tensor, tokens: Tensor, step: int) -> list[int]:
        """Take the best continuations of one prompt: some finish, `num_beams` run on; returns the beams they come from."""
        options, beams = self.options, self.options.num_beams
        totals = scores + torch.tensor(search.scores, dtype=scores.dtype, device=scores.device)[:, None]
        count = min(max(2, 1 + len(self.ends)) * beams, totals.numel())
        best, places = totals.flatten().topk(count)
        search.best = float(best[0])
        running: list[tuple[float, int, list[int]]] = []
        ended: list[tuple[float, int, list[int]]] = []
        for rank, (score, place) in enumerate(zip(best.tolist(), places.tolist(), strict=True)):
            beam = place // tokens.shape[1]
            text = [*search.texts[beam], int(tokens[beam, place % tokens.shape[1]])]
            ends = text[-1] in self.ends or self.stops.ends(text)
            if ends or (step == options.max_new_tokens and not self.whole):
                if rank < beams and score > WORST / 2:
                    search.finish(self._judged(score, step - 1 if self.whole else step), text, beams)
                ended.append((score + WORST, beam, text))
            else:
                running.append((score, beam, text))
        running = (running + ended)[:beams]
        running += [running[-1]] * (beams - len(running))
        search.scores, search.texts = [entry[0] for entry in running], [entry[2] for entry in running]
        return [entry[1] for entry in running]


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

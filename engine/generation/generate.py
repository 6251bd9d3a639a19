"""Texts from prompts: greedy, sampled, or by beam search."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from engine.arguments import check_callable
from engine.errors import InputError
from engine.generation.decoding.beams import BeamSearch, Hypothesis
from engine.generation.decoding.processors import build_processors
from engine.generation.decoding.prompts import (
    GivenPrompts,
    Prompts,
    check_positions,
    groups,
    read_prompts,
)
from engine.generation.decoding.sampling import Sampler, apply_temperature, filter_candidates
from engine.generation.decoding.state import DecodingState
from engine.generation.decoding.stopping import StoppingCriteria
from engine.generation.guards import check_text_method
from engine.generation.options import GenerationOptions, read_options
from engine.generation.predictions import best_token, best_tokens, check_choice, output_layer
from engine.generation.start import MemoryMethods


@dataclass(frozen=True)
class NewTokens:
    """One step of the texts that are not complete."""

    texts: list[int]
    """The numbers of the texts that grew."""
    tokens: list[int]
    """Their new tokens."""
    complete: list[bool]
    """Which of them are now complete."""


@dataclass(frozen=True)
class Generation:
    """Finished texts."""

    sequences: Tensor
    """(n t): each prompt with padding before it, its new tokens, and padding after their end.

    Prompts given as vectors alone are not part of it.
    """
    new_tokens: list[list[int]]
    """The same without prompt and padding."""
    scores: Tensor | None = None
    """(n), of beam search: the sum of log-probabilities over the new tokens, divided by their
    number to the power of `length_penalty`.
    """
    step_scores: list[Tensor] | None = None
    """(t v) for each text where the options say `output_scores`: what each of its tokens was chosen
    by, after logits processors, temperature and sampling bounds, -inf for tokens left out.
    """


class Generator:
    """One call to generate, checked and ready to run."""

    def __init__(
        self,
        network: MemoryMethods,
        given: GivenPrompts,
        options: GenerationOptions | None,
        settings: dict[str, Any],
        tokenizer: object | None,
    ) -> None:
        spec = network.spec
        check_text_method(network, "generate")
        self.network, self.output = network, output_layer(network)
        self.prompts = read_prompts(network, given)
        self.options = read_options(options, settings, spec, self.prompts.tokens.shape[1])
        if self.options.stop_strings and tokenizer is None:
            raise InputError(
                "stop_strings needs the tokenizer that decodes: generate(..., tokenizer=tokenizer)"
            )
        check_positions(spec, self.prompts, self.options.max_new_tokens)
        self.processors = build_processors(self.options, spec)
        self.stopping = StoppingCriteria(
            self.options.ends(spec), self.options.stop_strings, tokenizer
        )
        self.step_scores: dict[int, list[Tensor]] = {}

    def result(self, on_tokens: Callable[[NewTokens], None] | None = None) -> Generation:
        """Run to the end; `on_tokens` is called with every step."""
        check_callable("on_tokens", on_tokens)
        if self.options.num_beams > 1:
            if on_tokens is not None:
                raise InputError(
                    "beam search knows its tokens only at the end: on_tokens needs num_beams 1"
                )
            return self._beams()
        count = self.options.num_return_sequences
        texts: list[list[int]] = [[] for _ in range(len(self.prompts.tokens) * count)]
        for step in self.steps():
            for text, token in zip(step.texts, step.tokens, strict=True):
                texts[text].append(token)
            if on_tokens is not None:
                on_tokens(step)
        kept = None
        if self.step_scores:
            kept = [torch.stack(self.step_scores[text]) for text in range(len(texts))]
        return Generation(self._sequences(texts), texts, step_scores=kept)

    @torch.no_grad()
    def steps(self) -> Iterator[NewTokens]:
        """New tokens as they come; a text that is complete leaves the batch."""
        if self.options.num_beams > 1:
            raise InputError(
                "beam search knows its tokens only at the end: use generate(), or num_beams 1"
            )
        texts = len(self.prompts.tokens) * self.options.num_return_sequences
        sampler = Sampler(self.options.seed, texts, self.options.texts_before)
        for rows, prompts in groups(self.network, self.prompts):
            yield from self._group(rows, prompts, sampler)

    def _group(self, rows: Tensor, prompts: Prompts, sampler: Sampler) -> Iterator[NewTokens]:
        count, most = self.options.num_return_sequences, self.options.max_new_tokens
        state = DecodingState(self.network, prompts, self.options.decoding)
        states = state.append(prompts.tokens)
        texts = [int(row) * count + sample for row in rows for sample in range(count)]
        if count > 1:
            repeated = torch.arange(len(rows), device=states.device).repeat_interleave(count)
            state.select(repeated)
            states = states[repeated]
        written: dict[int, list[int]] = {text: [] for text in texts}
        for step in range(1, most + 1):
            tokens = self._choose(state, states, texts, sampler)
            listed = tokens.tolist()
            complete = []
            for text, token in zip(texts, listed, strict=True):
                written[text].append(token)
                complete.append(step == most or self.stopping.are_met(written[text]))
            yield NewTokens(texts, listed, complete)
            kept = [place for place, done in enumerate(complete) if not done]
            if not kept:
                return
            if len(kept) < len(texts):
                chosen = torch.tensor(kept, device=tokens.device)
                state.select(chosen)
                tokens, texts = tokens[chosen], [texts[place] for place in kept]
            states = state.append(tokens[:, None])

    def _choose(
        self, state: DecodingState, states: Tensor, texts: list[int], sampler: Sampler
    ) -> Tensor:
        """The next token (b) of texts, at states (b d)."""
        options = self.options
        prompts = [text // options.num_return_sequences for text in texts]
        # Without processors and scores to return, the best candidates are enough.
        only_best = not (self.processors or options.output_scores)
        if only_best and not options.do_sample:
            return best_token(self.output, states, prompts)
        if only_best and options.top_k:
            count = min(options.top_k, self.network.spec.dims.vocab)
            scores, ids = best_tokens(self.output, states, count)
            check_choice(scores[:, 0], prompts, processed=False)
            return self._sample(scores, ids, texts, sampler)
        scores = self.output(states).float()
        for processor in self.processors:
            scores = processor(scores, state.history(prompts))
        check_choice(scores.amax(-1), prompts, processed=bool(self.processors))
        if not options.do_sample:
            self._keep(texts, scores)
            return scores.argmax(-1)
        if options.top_k:
            scores, ids = scores.topk(min(options.top_k, scores.shape[1]), dim=-1)
        else:
            ids = torch.arange(scores.shape[1], device=scores.device).expand(len(scores), -1)
        return self._sample(scores, ids, texts, sampler)

    def _sample(self, scores: Tensor, ids: Tensor, texts: list[int], sampler: Sampler) -> Tensor:
        """A token (b) of each text, drawn from candidates with scores and ids (b c)."""
        scores = filter_candidates(
            apply_temperature(scores, self.options.temperature), self.options
        )
        if self.options.output_scores:
            vocabulary = self.network.spec.dims.vocab
            whole = scores.new_full((len(scores), vocabulary), -torch.inf)
            self._keep(texts, whole.scatter(1, ids, scores))
        return ids.gather(1, sampler.draw(scores, texts)[:, None]).squeeze(1)

    def _keep(self, texts: list[int], scores: Tensor) -> None:
        """Keep the scores (b v) behind a choice where the options say so."""
        if self.options.output_scores:
            for text, row in zip(texts, scores, strict=True):
                self.step_scores.setdefault(text, []).append(row)

    @torch.no_grad()
    def _beams(self) -> Generation:
        options = self.options
        count = options.num_return_sequences
        found = [Hypothesis()] * (len(self.prompts.tokens) * count)
        width = self.prompts.tokens.shape[1]
        search = BeamSearch(self.output, self.processors, options, self.stopping, width)
        for rows, prompts in groups(self.network, self.prompts):
            state = DecodingState(self.network, prompts, options.decoding)
            best = search.run(state, state.append(prompts.tokens), rows.tolist())
            for row, texts in zip(rows.tolist(), best, strict=True):
                if len(texts) < count:
                    raise InputError(
                        f"beam search finished {len(texts)} texts behind prompt {row}, "
                        f"num_return_sequences asks for {count}: the rules leave too few"
                    )
                found[row * count : (row + 1) * count] = texts[:count]
        written = [list(text.tokens) for text in found]
        kept = None
        if options.output_scores:
            kept = [torch.stack(text.step_scores) for text in found]
        scores = torch.tensor([text.score for text in found])
        return Generation(self._sequences(written), written, scores, kept)

    def _sequences(self, texts: list[list[int]]) -> Tensor:
        """Prompts and the new tokens of texts, padded behind, (n t)."""
        padding, mask = self.options.padding_id(self.network.spec), self.prompts.mask
        prompts = self.prompts.tokens
        if not self.prompts.has_ids:
            prompts = prompts[:, :0]
        elif mask is not None:
            prompts = torch.where(mask, prompts, padding)
        longest = max(map(len, texts))
        padded = [text + [padding] * (longest - len(text)) for text in texts]
        repeated = prompts.repeat_interleave(self.options.num_return_sequences, 0)
        return torch.cat((repeated, torch.tensor(padded, device=prompts.device)), dim=1)

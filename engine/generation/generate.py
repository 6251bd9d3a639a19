"""Texts from prompts: greedy, sampled, or by beam search."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from engine.arguments import check_callable
from engine.errors import InputError
from engine.generation.beams import BeamSearch, Stops, Text
from engine.generation.candidates import best_token, best_tokens
from engine.generation.guards import check_text_method
from engine.generation.options import GenerationOptions, read_options
from engine.generation.prompts import Prompts, check_room, groups, output_layer, read_prompts
from engine.generation.rules import check_choice, rules_of
from engine.generation.sampling import Dice, narrowed, warmed
from engine.generation.steps import Continuation
from engine.kernels.linear import make_contiguous

if TYPE_CHECKING:
    from engine.model import Model

WORTH_LAYING_OUT = (
    16  # new tokens: measured, the copy costs as much as it saves in thirty steps, once for a model
)


@dataclass(frozen=True)
class NewTokens:
    """One step: the numbers of the texts that grew, their new tokens (n), and which of them are now
    complete (n).
    """

    texts: list[int]
    tokens: list[int]
    complete: list[bool]


@dataclass(frozen=True)
class Generation:
    """Finished texts (n t): each prompt with padding before it, its new tokens, and the fill id
    after their end.

    `new_tokens` are the same without prompt and fill; `scores` (n) are those of beam search: the
    sum of log-probabilities over the new tokens, divided by their number to the power of
    `length_penalty`. `step_scores`, where `output_scores` asks for them, holds (t v) for each text:
    what each of its tokens was chosen by, after rules, temperature and sampling bounds, with -inf
    for tokens that were left out. Prompts given as vectors alone are not part of `sequences`.
    """

    sequences: Tensor
    new_tokens: list[list[int]]
    scores: Tensor | None = None
    step_scores: list[Tensor] | None = None


class Generator:
    """One call to generate, checked and ready to run."""

    def __init__(
        self,
        model: "Model",
        input_ids: Tensor | None,
        attention_mask: Tensor | None,
        options: GenerationOptions | None,
        settings: dict[str, Any],
        tokenizer: object | None,
        **others: Any,
    ) -> None:
        check_text_method(model, "generate")
        self.model, self.output = model, output_layer(model)
        self.prompts = read_prompts(model, input_ids, attention_mask, **others)
        self.options = read_options(options, settings, model.spec, self.prompts.tokens.shape[1])
        if self.options.stop_strings and tokenizer is None:
            raise InputError(
                "stop_strings needs the tokenizer that decodes: generate(..., tokenizer=tokenizer)"
            )
        check_room(model.spec, self.prompts, self.options.max_new_tokens)
        self.ends = self.options.ends(model.spec)
        self.rules = rules_of(self.options, model.spec)
        self.stops = Stops(self.options.stop_strings, tokenizer)
        self.kept: dict[int, list[Tensor]] = {}
        if self.options.max_new_tokens >= WORTH_LAYING_OUT:
            make_contiguous(model)

    def result(self, on_tokens: Callable[[NewTokens], None] | None = None) -> Generation:
        """Run to the end; `on_tokens` hears of every step."""
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
        kept = [torch.stack(self.kept[text]) for text in range(len(texts))] if self.kept else None
        return Generation(self._sequences(texts, count), texts, step_scores=kept)

    @torch.no_grad()
    def steps(self) -> Iterator[NewTokens]:
        """New tokens as they come; a text that is complete leaves the batch."""
        if self.options.num_beams > 1:
            raise InputError(
                "beam search knows its tokens only at the end: use generate(), or num_beams 1"
            )
        dice = Dice(self.options.seed, len(self.prompts.tokens) * self.options.num_return_sequences)
        for rows, prompts in groups(self.model.spec, self.prompts):
            yield from self._group(rows, prompts, dice)

    def _group(self, rows: Tensor, prompts: Prompts, dice: Dice) -> Iterator[NewTokens]:
        count = self.options.num_return_sequences
        continuation = Continuation(self.model, prompts, self.options.decoding)
        states = continuation.feed(prompts.tokens)
        texts = [int(row) * count + sample for row in rows for sample in range(count)]
        if count > 1:
            repeated = torch.arange(len(rows), device=states.device).repeat_interleave(count)
            continuation.select(repeated)
            states = states[repeated]
        written: dict[int, list[int]] = {text: [] for text in texts}
        for step in range(self.options.max_new_tokens):
            tokens = self._choose(continuation, states, step, texts, dice)
            listed = tokens.tolist()
            complete = []
            for text, token in zip(texts, listed, strict=True):
                written[text].append(token)
                last = step + 1 == self.options.max_new_tokens or token in self.ends
                complete.append(last or self.stops.ends(written[text]))
            yield NewTokens(texts, listed, complete)
            kept = [place for place, done in enumerate(complete) if not done]
            if not kept:
                return
            if len(kept) < len(texts):
                chosen = torch.tensor(kept, device=tokens.device)
                continuation.select(chosen)
                tokens, texts = tokens[chosen], [texts[place] for place in kept]
            states = continuation.feed(tokens[:, None])

    def _choose(
        self, continuation: Continuation, states: Tensor, new: int, texts: list[int], dice: Dice
    ) -> Tensor:
        """The next token (b) at states (b d)."""
        options, everything = self.options, self.options.output_scores
        prompts = [text // options.num_return_sequences for text in texts]
        if not (self.rules or options.do_sample or everything):
            return best_token(self.output, states, prompts)
        if options.top_k and not (self.rules or everything):
            scores, ids = best_tokens(
                self.output, states, min(options.top_k, self.model.spec.dims.vocab)
            )
            check_choice(scores[:, 0], prompts, ruled=False)
        else:
            scores = self.output(states).float()
            for rule in self.rules:
                scores = rule(scores, continuation.before(prompts))
            check_choice(scores.amax(-1), prompts, ruled=bool(self.rules))
            if not options.do_sample:
                self._keep(texts, scores)
                return scores.argmax(-1)
            if options.top_k:
                scores, ids = scores.topk(min(options.top_k, scores.shape[1]), dim=-1)
            else:
                ids = torch.arange(scores.shape[1], device=scores.device).expand(len(scores), -1)
        scores = narrowed(warmed(scores, options.temperature), options)
        if everything:
            whole = scores.new_full((len(scores), self.model.spec.dims.vocab), -torch.inf)
            self._keep(texts, whole.scatter(1, ids, scores))
        return ids.gather(1, dice.draw(scores, texts)[:, None]).squeeze(1)

    def _keep(self, texts: list[int], scores: Tensor) -> None:
        """Keep the scores (b v) behind a choice where they are asked for."""
        if self.options.output_scores:
            for text, row in zip(texts, scores, strict=True):
                self.kept.setdefault(text, []).append(row)

    @torch.no_grad()
    def _beams(self) -> Generation:
        options = self.options
        count = options.num_return_sequences
        found = [Text()] * (len(self.prompts.tokens) * count)
        search = BeamSearch(
            self.output, self.rules, options, self.ends, self.stops, self.prompts.tokens.shape[1]
        )
        for rows, prompts in groups(self.model.spec, self.prompts):
            continuation = Continuation(self.model, prompts, options.decoding)
            best = search.run(continuation, continuation.feed(prompts.tokens), rows.tolist())
            for row, texts in zip(rows.tolist(), best, strict=True):
                if len(texts) < count:
                    raise InputError(
                        f"beam search finished {len(texts)} texts behind prompt {row}, num_return_sequences asks for "
                        f"{count}: the rules leave too few"
                    )
                found[row * count : (row + 1) * count] = texts[:count]
        written = [list(text.tokens) for text in found]
        kept = [torch.stack(text.steps) for text in found] if options.output_scores else None
        scores = torch.tensor([text.score for text in found])
        return Generation(self._sequences(written, count), written, scores, kept)

    def _sequences(self, texts: list[list[int]], count: int) -> Tensor:
        fill = self.options.fill(self.model.spec)
        prompts = self.prompts.tokens if self.prompts.named else self.prompts.tokens[:, :0]
        if self.prompts.mask is not None and self.prompts.named:
            prompts = torch.where(self.prompts.mask, prompts, fill)
        longest = max(map(len, texts))
        padded = [text + [fill] * (longest - len(text)) for text in texts]
        return torch.cat(
            (prompts.repeat_interleave(count, 0), torch.tensor(padded, device=prompts.device)),
            dim=1,
        )

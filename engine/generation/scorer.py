"""The work behind scores: texts that start at column 0, part by part."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, get_args

import torch
from torch import Tensor

from engine.arguments import check_count
from engine.errors import InputError
from engine.generation.candidates import best_token
from engine.generation.prompts import mask_token, output_layer, room_for
from engine.generation.start import remembers, start_memory
from engine.generation.texts import Texts
from engine.memory import Memory
from engine.network.inputs import Inputs

if TYPE_CHECKING:
    from engine.model import Model

Method = Literal["left_to_right", "pseudo", "orders"]
METHODS: tuple[str, ...] = get_args(Method)
AT_ONCE = 2**24  # scores of tokens


@dataclass(frozen=True)
class Scores:
    """Natural log-probabilities (b n) of the tokens of texts, 0 where `counted` (b n) is False.

    Not counted are padding, tokens that were not asked for, and the first token of a text or order,
    which has nothing to go by. `greedy` (b n), where it was asked for, is True for counted tokens
    that are the best at their place.
    """

    log_probs: Tensor
    counted: Tensor
    greedy: Tensor | None = None

    @property
    def is_greedy(self) -> Tensor:
        """Whether (b) every counted token of a text is the best at its place (raises InputError
        where nobody asked).
        """
        if self.greedy is None:
            raise InputError(
                "score(..., greedy=True) looks whether each token is the best at its place"
            )
        return (self.greedy | ~self.counted).all(1)

    @property
    def sums(self) -> Tensor:
        """Log-likelihood (b) of each text."""
        return self.log_probs.sum(1)

    @property
    def perplexities(self) -> Tensor:
        """Exponential of the mean negative log-probability of a token, (b)."""
        return torch.exp(-self.sums / self.counted.sum(1))

    @property
    def perplexity(self) -> float:
        """The same over all texts together."""
        return float(torch.exp(-self.log_probs.sum() / self.counted.sum()))


@dataclass(frozen=True)
class ScoringOptions:
    """How texts are scored; see `Model.score`."""

    method: Method | None = None
    orders: Tensor | None = None
    samples: int = 1
    seed: int = 0
    mask_token_id: int | None = None
    window: int | None = None
    stride: int | None = None
    carry: Literal["memory", "window"] | None = None
    batch_size: int = 16
    greedy: bool = False


class Scorer:
    """Texts that start at column 0, scored part by part."""

    def __init__(self, model: "Model", texts: Texts, options: ScoringOptions) -> None:
        self.model, self.texts, self.options = model, texts, options
        self.output = output_layer(model)
        self.real = texts.real()
        self.wanted = self.real if texts.targets is None else self.real & texts.targets
        self.log_probs = torch.zeros(texts.tokens.shape, device=texts.tokens.device)
        self.counted = torch.zeros_like(self.real)
        self.missed = torch.zeros_like(self.real)
        self.two = model.spec.streams.kind == "two"
        self._check()

    def _check(self) -> None:
        spec, length, options = self.model.spec, self.texts.tokens.shape[1], self.options
        if options.window is not None:
            check_count("window", options.window, least=2)
        size = room_for(spec)
        if size is not None and min(length, options.window or length) > size:
            raise InputError(
                f"the text has {length} tokens but '{spec.name}' has {size} positions: give window={size} or less"
            )
        if options.stride is not None:
            check_count("stride", options.stride)
        if options.stride is not None and not (
            options.window and 0 < options.stride < options.window
        ):
            raise InputError(
                f"stride is {options.stride}: it needs a window that is longer, found {options.window}"
            )
        carries = remembers(self.model)
        if options.carry == "memory" and not carries:
            raise InputError(
                f"carry='memory' needs a memory: '{spec.name}' has none, use carry='window'"
            )
        if self.texts.memory is not None and not carries:
            raise InputError("memory was given but this spec has memory.kind none")

    def run(self) -> Scores:
        method = self.options.method
        if method == "pseudo":
            self._pseudo()
        elif self._carries():
            self._with_memory()
        elif method == "orders":
            self._orders()
        else:
            for start, first, stop in self._windows():
                self._left_to_right(start, first, stop)
        greedy = self.counted & ~self.missed if self.options.greedy else None
        return Scores(self.log_probs, self.counted, greedy)

    def _carries(self) -> bool:
        if self.options.method == "orders":
            return False
        if self.texts.memory is not None or self.options.carry == "memory":
            return True
        return (
            self.options.window is not None
            and self.options.carry is None
            and self.model.spec.memory.kind == "recurrent"
        )

    def _windows(self) -> Iterator[tuple[int, int, int]]:
        """Parts of the text as (first token seen, first token scored, end): each token is scored
        once.
        """
        length = self.texts.tokens.shape[1]
        window = self.options.window or length
        stride = self.options.stride or max(1, window // 2)
        stop = min(window, length)
        yield 0, 0, stop
        while stop < length:
            first, stop = stop, min(stop + stride, length)
            yield stop - window, first, stop

    def _left_to_right(self, start: int, first: int, stop: int) -> None:
        columns = slice(start, stop)
        order = torch.arange(stop - start, device=self.texts.tokens.device)
        out = self.model.body(self._inputs(columns, order[None]))
        assert out.last_hidden_state is not None
        scored = slice(max(first, start + 1), stop)
        shift = 0 if self.two else 1
        states = out.last_hidden_state[:, scored.start - start - shift : stop - start - shift]
        self._add(states, scored)

    def _with_memory(self) -> None:
        """Segment by segment, each seeing what the ones before it left behind."""
        texts, length = self.texts, self.texts.tokens.shape[1]
        size = self.options.window or length
        memory = texts.memory
        memory = (
            self.model.project_memory(memory)
            if memory is not None
            else start_memory(self.model, len(texts.tokens))
        )
        filled = memory is not None and isinstance(texts.memory, Memory) and memory.length > 0
        for start in range(0, length, size):
            stop = min(start + size, length)
            order = torch.arange(stop - start, device=texts.tokens.device)
            out = self.model.body(self._inputs(slice(start, stop), order[None], memory))
            memory, states = out.memory, out.last_hidden_state
            assert states is not None
            if self.two:
                skipped = 0 if start or filled else 1
                self._add(states[:, skipped:], slice(start + skipped, stop))
            else:
                end = min(stop, length - 1)
                self._add(states[:, : end - start], slice(start + 1, end + 1))

    def _orders(self) -> None:
        """The mean over factorization orders of each token's log-probability, where it is not the
        first.
        """
        tokens = self.texts.tokens
        length = tokens.shape[1]
        times = torch.zeros_like(self.log_probs)
        for ranks in self._ranks(length):
            out = self.model.body(self._inputs(slice(0, length), ranks))
            assert out.last_hidden_state is not None
            wanted = self.wanted & (ranks > self._first_rank(ranks))
            self._add(out.last_hidden_state, slice(0, length), wanted)
            times += wanted
        self.log_probs /= times.clamp(min=1)

    def _first_rank(self, ranks: Tensor) -> Tensor:
        """The lowest rank (b 1) of a real token."""
        return torch.where(self.real, ranks, ranks.shape[1]).amin(1, keepdim=True)

    def _ranks(self, length: int) -> Iterator[Tensor]:
        """The rank (b n) of every token in each order."""
        batch, device = len(self.texts.tokens), self.texts.tokens.device
        given = self.options.orders
        if given is None:
            generator = torch.Generator().manual_seed(self.options.seed)
            for _ in range(self.options.samples):
                yield torch.randperm(length, generator=generator).to(device).expand(batch, -1)
            return
        if not 0 < given.dim() < 4:
            raise InputError(
                f"orders has shape {tuple(given.shape)}, expected (places), (k, places) or (k, b, places)"
            )
        given = given[None] if given.dim() == 1 else given
        given = given[:, None] if given.dim() == 2 else given
        places = torch.arange(length, device=device)
        if given.shape[-1] != length or not bool((given.sort(-1).values == places).all()):
            raise InputError(
                f"each of the orders names the places 0 … {length - 1} once, in the order of prediction"
            )
        for order in given.unbind(0):
            yield order.argsort(-1).expand(batch, -1)

    def _pseudo(self) -> None:
        """Each token given all others of its window: one pass a token."""
        for start, first, stop in self._windows():
            asked = self.wanted[:, first:stop].nonzero()
            for part in asked.split(self.options.batch_size):
                rows, places = part[:, 0], part[:, 1] + first - start
                states = self._without(rows, places, slice(start, stop))
                tokens = self.texts.tokens[rows, places + start]
                self.log_probs[rows, places + start] = self._log_probs(states, tokens, rows)
                self.counted[rows, places + start] = True
                if self.options.greedy:
                    self.missed[rows, places + start] = self._misses(states, tokens)

    def _without(self, rows: Tensor, places: Tensor, columns: slice) -> Tensor:
        """States (n d) that predict one place of each of these rows from all the others."""
        index = torch.arange(len(rows), device=rows.device)
        inputs = self.texts.select(rows).inputs(columns, self.model.spec)
        if self.two:
            length = inputs.shape[1]
            alone = torch.nn.functional.one_hot(places, length).float()[:, None]
            inputs = replace(
                inputs,
                perm_mask=alone.expand(-1, length, -1),
                target_mapping=alone,
                use_memory=False,
            )
            states = self.model.body(inputs).last_hidden_state
            assert states is not None
            return states[:, 0]
        hidden = mask_token(self.model, self.options.mask_token_id)
        if inputs.input_ids is not None:
            masked = inputs.input_ids.clone()
            masked[index, places] = hidden
            inputs = replace(inputs, input_ids=masked)
        elif inputs.inputs_embeds is not None:
            vectors = inputs.inputs_embeds.clone()
            vectors[index, places] = self.model.embeddings.embed(
                torch.full_like(places, hidden)[None]
            )[0]
            inputs = replace(inputs, inputs_embeds=vectors)
        states = self.model.body(inputs).last_hidden_state
        assert states is not None
        return states[index, places]

    def _inputs(self, columns: slice, ranks: Tensor, memory: Memory | None = None) -> Inputs:
        inputs = self.texts.inputs(columns, self.model.spec)
        if self.two:
            batch, length = len(self.texts.tokens), ranks.shape[1]
            unseen = (ranks[:, :, None] <= ranks[:, None, :]).float().expand(batch, -1, -1)
            targets = torch.eye(length, device=ranks.device).expand(batch, -1, -1)
            inputs = replace(inputs, perm_mask=unseen, target_mapping=targets)
        return replace(inputs, memory=memory, use_memory=memory is not None)

    def _add(self, states: Tensor, columns: slice, wanted: Tensor | None = None) -> None:
        wanted = (self.wanted if wanted is None else wanted)[:, columns]
        states, tokens = states[wanted], self.texts.tokens[:, columns][wanted]
        found = self._log_probs(states, tokens, wanted.nonzero()[:, 0])
        if self.options.greedy:
            missed = self._misses(states, tokens)
            self.missed[:, columns] |= torch.zeros_like(wanted).masked_scatter(wanted, missed)
        self.log_probs[:, columns] += torch.zeros_like(self.log_probs[:, columns]).masked_scatter(
            wanted, found
        )
        self.counted[:, columns] |= wanted

    def _log_probs(self, states: Tensor, tokens: Tensor, rows: Tensor) -> Tensor:
        """Log-probabilities (n) of tokens (n) of these rows (n) at states (n d)."""
        found = -self.output.losses(states, tokens).float()
        if bool(found.isnan().any()):
            row = int(rows[found.isnan()][0])
            raise InputError(
                f"the scores of text {row} are not numbers: the network's states are not finite"
            )
        return found

    def _misses(self, states: Tensor, tokens: Tensor) -> Tensor:
        """True (n) where a token (n) is not the best at its state (n d)."""
        each = max(1, AT_ONCE // self.model.spec.dims.vocab)
        best = (
            [best_token(self.output, part) for part in states.split(each)]
            if len(states)
            else [tokens]
        )
        return torch.cat(best) != tokens

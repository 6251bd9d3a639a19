"""The work behind scores: texts that start at column 0, window by window.

b batch, n tokens, d model width.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from engine.arguments import check_count
from engine.errors import InputError
from engine.generation.guards import (
    has_two_streams,
    is_recurrent,
    mask_token,
)
from engine.generation.predictions import best_token, output_layer
from engine.generation.scoring.scores import ScoreOptions, Scores
from engine.generation.start import MemoryMethods, begin_with
from engine.generation.texts import Texts
from engine.memory import Memory
from engine.network.inputs import Inputs

AT_ONCE = 2**24  # scores of tokens


@dataclass(frozen=True)
class Window:
    """A part of a text that one call runs."""

    start: int
    """The first column that is seen."""
    first: int
    """The first that is scored."""
    stop: int

    @property
    def columns(self) -> slice:
        """All that are seen."""
        return slice(self.start, self.stop)


class Scorer:
    """Texts that start at column 0, scored window by window."""

    def __init__(self, network: MemoryMethods, texts: Texts, options: ScoreOptions) -> None:
        self.network, self.texts, self.options = network, texts, options
        self.output = output_layer(network)
        self.real = texts.real()
        self.targets = self.real
        if texts.targets is not None:
            self.targets = self.real & texts.targets
        self.length, self.device = texts.tokens.shape[1], texts.tokens.device
        self.log_probs = torch.zeros(texts.tokens.shape, device=self.device)
        self.counted = torch.zeros_like(self.real)
        self.missed = torch.zeros_like(self.real)
        self.two_streams = has_two_streams(network.spec)
        self._check()

    def _check(self) -> None:
        """Raise InputError for options that these texts and this spec cannot have together."""
        spec, length, options = self.network.spec, self.length, self.options
        window, stride = options.window, options.stride
        if window is not None:
            check_count("window", window, least=2)
        size = spec.position_limit
        if size is not None and min(length, window or length) > size:
            raise InputError(
                f"the text has {length} tokens but '{spec.name}' has {size} positions: give "
                f"window={size} or less"
            )
        if stride is not None:
            check_count("stride", stride)
            if window is None or stride >= window:
                raise InputError(
                    f"stride is {stride}: it needs a window that is longer, found {window}"
                )
        remembers = self.network.memory_policy.remembers("segments")
        if options.carry == "memory" and not remembers:
            raise InputError(
                f"carry='memory' needs a memory: '{spec.name}' has none, use carry='window'"
            )
        if self.texts.memory is not None and not remembers:
            raise InputError("memory was given but this spec has memory.kind none")

    def run(self) -> Scores:
        """The scores of all texts."""
        method = self.options.method
        if method == "pseudo":
            self._pseudo()
        elif method == "orders":
            self._orders()
        elif self._carries_memory():
            self._with_memory()
        else:
            for window in self._windows():
                self._left_to_right(window)
        greedy = None
        if self.options.greedy:
            greedy = self.counted & ~self.missed
        return Scores(self.log_probs, self.counted, greedy)

    def _carries_memory(self) -> bool:
        """Whether windows stand one behind another with memory, and do not overlap."""
        options = self.options
        if self.texts.memory is not None or options.carry == "memory":
            return True
        if options.window is None or options.carry is not None:
            return False
        return is_recurrent(self.network.spec)

    def _windows(self) -> Iterator[Window]:
        """Overlapping parts of the text; each token is scored once."""
        window = self.options.window or self.length
        stride = self.options.stride or max(1, window // 2)
        stop = min(window, self.length)
        yield Window(0, 0, stop)
        while stop < self.length:
            first, stop = stop, min(stop + stride, self.length)
            yield Window(stop - window, first, stop)

    def _left_to_right(self, window: Window) -> None:
        order = torch.arange(window.stop - window.start, device=self.device)
        out = self.network.body(self._inputs(window.columns, order[None]))
        first, shift = max(window.first, window.start + 1), 1
        if self.two_streams:
            shift = 0
        states = out.states[:, first - window.start - shift : len(order) - shift]
        self._add(states, slice(first, window.stop))

    def _with_memory(self) -> None:
        """Segment by segment, each with the memory of those before it."""
        given, tokens = self.texts.memory, self.texts.tokens
        size = self.options.window or self.length
        memory = begin_with(self.network, given, len(tokens))
        follows = given is not None and given.length > 0
        for start in range(0, self.length, size):
            stop = min(start + size, self.length)
            order = torch.arange(stop - start, device=self.device)
            out = self.network.body(self._inputs(slice(start, stop), order[None], memory))
            memory, states = out.memory, out.states
            if not self.two_streams:
                end = min(stop, self.length - 1)
                self._add(states[:, : end - start], slice(start + 1, end + 1))
            elif start or follows:
                self._add(states, slice(start, stop))
            else:
                self._add(states[:, 1:], slice(1, stop))

    def _orders(self) -> None:
        """The mean over factorization orders of each token's log-probability, where it is not the
        first.
        """
        times = torch.zeros_like(self.log_probs)
        whole = slice(0, self.length)
        for ranks in self._ranks():
            out = self.network.body(self._inputs(whole, ranks))
            targets = self.targets & (ranks > self._first_rank(ranks))
            self._add(out.states, whole, targets)
            times += targets
        self.log_probs /= times.clamp(min=1)

    def _first_rank(self, ranks: Tensor) -> Tensor:
        """The lowest rank (b 1) of a real token."""
        return torch.where(self.real, ranks, self.length).amin(1, keepdim=True)

    def _ranks(self) -> Iterator[Tensor]:
        """The rank (b n) of every token in each order."""
        batch, length, given = len(self.texts.tokens), self.length, self.options.orders
        if given is None:
            generator = torch.Generator().manual_seed(self.options.seed)
            for _ in range(self.options.samples):
                order = torch.randperm(length, generator=generator)
                yield order.to(self.device).expand(batch, -1)
            return
        if not 0 < given.dim() < 4:
            raise InputError(
                f"orders has shape {tuple(given.shape)}, expected (places), (k, places) or "
                "(k, b, places)"
            )
        if given.dim() == 1:
            given = given[None]
        if given.dim() == 2:
            given = given[:, None]
        places = torch.arange(length, device=self.device)
        if given.shape[-1] != length or not bool((given.sort(-1).values == places).all()):
            raise InputError(
                f"each of the orders names the places 0 … {length - 1} once, in the order of "
                "prediction"
            )
        for order in given.unbind(0):
            yield order.argsort(-1).expand(batch, -1)

    def _pseudo(self) -> None:
        """Each token given all others of its window: one pass a token."""
        for window in self._windows():
            targets = self.targets[:, window.first : window.stop].nonzero()
            for part in targets.split(self.options.batch_size):
                rows, columns = part[:, 0], part[:, 1] + window.first
                states = self._without(rows, columns - window.start, window.columns)
                tokens = self.texts.tokens[rows, columns]
                self.log_probs[rows, columns] = self._log_probs(states, tokens, rows)
                self.counted[rows, columns] = True
                if self.options.greedy:
                    self.missed[rows, columns] = self._misses(states, tokens)

    def _without(self, rows: Tensor, places: Tensor, columns: slice) -> Tensor:
        """States (p d) that predict one place (p) of each of these rows (p) from all the others."""
        index = torch.arange(len(rows), device=rows.device)
        inputs = self.texts.select(rows).inputs(columns, self.network.spec)
        if self.two_streams:
            length = inputs.shape[1]
            alone = torch.nn.functional.one_hot(places, length).float()[:, None]
            inputs = replace(
                inputs,
                perm_mask=alone.expand(-1, length, -1),
                target_mapping=alone,
                use_memory=False,
            )
            return self.network.body(inputs).states[:, 0]
        mask_id = mask_token(self.network, self.options.mask_token_id)
        if inputs.input_ids is not None:
            ids = inputs.input_ids.clone()
            ids[index, places] = mask_id
            inputs = replace(inputs, input_ids=ids)
        elif inputs.inputs_embeds is not None:
            vectors = inputs.inputs_embeds.clone()
            masks = torch.full_like(places, mask_id)[None]
            vectors[index, places] = self.network.embeddings.embed(masks)[0]
            inputs = replace(inputs, inputs_embeds=vectors)
        return self.network.body(inputs).states[index, places]

    def _inputs(self, columns: slice, ranks: Tensor, memory: Memory | None = None) -> Inputs:
        """The arguments of a call in which a token sees those of lower rank (b n)."""
        inputs = self.texts.inputs(columns, self.network.spec)
        if self.two_streams:
            batch, length = len(self.texts.tokens), ranks.shape[1]
            unseen = (ranks[:, :, None] <= ranks[:, None, :]).float().expand(batch, -1, -1)
            targets = torch.eye(length, device=ranks.device).expand(batch, -1, -1)
            inputs = replace(inputs, perm_mask=unseen, target_mapping=targets)
        return replace(inputs, memory=memory, use_memory=memory is not None)

    def _add(self, states: Tensor, columns: slice, targets: Tensor | None = None) -> None:
        """Add the scores of the targets (b n) among these columns, from states (b i d)."""
        if targets is None:
            targets = self.targets
        targets = targets[:, columns]
        states, tokens = states[targets], self.texts.tokens[:, columns][targets]
        found = self._log_probs(states, tokens, targets.nonzero()[:, 0])
        if self.options.greedy:
            missed = self._misses(states, tokens)
            self.missed[:, columns] |= torch.zeros_like(targets).masked_scatter(targets, missed)
        nothing = torch.zeros_like(self.log_probs[:, columns])
        self.log_probs[:, columns] += nothing.masked_scatter(targets, found)
        self.counted[:, columns] |= targets

    def _log_probs(self, states: Tensor, tokens: Tensor, rows: Tensor) -> Tensor:
        """Log-probabilities (p) of tokens (p) of these rows (p) at states (p d)."""
        found = -self.output.losses(states, tokens).float()
        if bool(found.isnan().any()):
            row = int(rows[found.isnan()][0])
            raise InputError(
                f"the scores of text {row} are not numbers: the network's states are not finite"
            )
        return found

    def _misses(self, states: Tensor, tokens: Tensor) -> Tensor:
        """True (p) where a token (p) is not the best at its state (p d)."""
        if not len(states):
            return torch.zeros_like(tokens, dtype=torch.bool)
        each = max(1, AT_ONCE // self.network.spec.dims.vocab)
        best = [best_token(self.output, part) for part in states.split(each)]
        return torch.cat(best) != tokens

"""A text that grows: feeds tokens to a model and gives the states that predict the next ones."""

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from engine.generation.options import Decoding
from engine.generation.prompts import Prompts
from engine.generation.rules import Before
from engine.generation.start import remembers, start_memory
from engine.memory import Keeps, Memory
from engine.network.inputs import Inputs
from engine.spec import axes

if TYPE_CHECKING:
    from engine.model import Model


class Continuation:
    """The texts of a batch so far, and what the model remembers of them.

    Under one stream the newest token's state predicts the next one. Under two, the prompt sees
    itself both ways and each new token the prompt and the new ones before it, a legal factorization
    order (Yang et al. 2019, 2.2): the content stream is remembered, and a step is one content row
    and the query row of the next place. Decoding by `overlap` runs the newest two tokens at each
    step, which see each other. Without memory, or by `recompute`, every step runs the whole text.
    """

    def __init__(self, model: "Model", prompts: Prompts, decoding: Decoding = "cached") -> None:
        self.model, self.prompts = model, replace(prompts, memory=None)
        self.two_streams = model.spec.streams.kind == "two"
        keeps: Keeps = "all" if self.two_streams else "tokens"
        self.cached, self.overlap = (
            decoding != "recompute" and remembers(model, keeps),
            int(decoding == "overlap"),
        )
        self.tokens = prompts.tokens[:, :0]
        self.mask = prompts.mask
        self.prompt = prompts.tokens.shape[1]
        self.memory = None
        if prompts.memory is not None:
            self.memory = replace(model.project_memory(prompts.memory), keeps=keeps)
        elif self.cached:
            self.memory = start_memory(model, len(prompts.tokens), keeps)

    def feed(self, tokens: Tensor) -> Tensor:
        """States (b d) that predict what follows new tokens (b n)."""
        first = not self.tokens.shape[1]
        if not first and self.mask is not None:
            self.mask = torch.nn.functional.pad(self.mask, (0, tokens.shape[1]), value=True)
        self.tokens = torch.cat((self.tokens, tokens), dim=1)
        given = self.tokens[:, -self.overlap - tokens.shape[1] :] if self.cached else self.tokens
        vectors = self._vectors(given)
        batch, length = given.shape
        prompts, targets = self.prompts, None
        if self.two_streams:
            targets = torch.zeros(batch, 1, length + 1, device=given.device)
            targets[:, :, -1] = 1
        out = self.model.body(
            Inputs(
                given if vectors is None else None,
                vectors,
                attention_mask=self._attention_mask(length),
                langs=None if prompts.langs is None else prompts.langs[:, None].expand(-1, length),
                encoder_hidden_states=prompts.encoder_states if first or not self.cached else None,
                encoder_attention_mask=prompts.encoder_mask,
                target_mapping=targets,
                memory=self.memory,
                use_memory=self.cached,
            )
        )
        if self.cached:
            self.memory = None if out.memory is None else self._kept(out.memory)
        assert out.last_hidden_state is not None
        return out.last_hidden_state[:, -1]

    def before(self, prompts: list[int]) -> Before:
        """What stands before the next choice; `prompts` numbers the prompt of each row."""
        start = 0 if self.prompts.named else self.prompt
        mask = None if self.mask is None else self.mask[:, start:]
        return Before(self.tokens[:, start:], mask, self.tokens.shape[1] - self.prompt, prompts)

    def _vectors(self, given: Tensor) -> Tensor | None:
        """Vectors (b n d) of the newest tokens (b n), where a prompt that was given so is among
        them.
        """
        vectors = self.prompts.vectors
        start = self.tokens.shape[1] - given.shape[1]
        if vectors is None or start >= self.prompt:
            return None
        new = self.model.embeddings.embed(self.tokens[:, self.prompt :])
        return torch.cat((vectors[:, start:], new), dim=1)

    def _kept(self, memory: Memory) -> Memory:
        """What the next step remembers: all, or what transformers' XLNet keeps when it runs two
        tokens a step.
        """
        if not self.overlap:
            return memory
        limit = (
            self.model.spec.memory.length
            if isinstance(self.model.spec.memory, axes.Recurrent)
            else None
        )
        # The published memory also holds a row for the place to fill: its length counts one more.
        return (memory if limit is None else memory.last(limit - 1)).drop_newest(self.overlap)

    def _attention_mask(self, length: int) -> Tensor | None:
        if self.mask is not None:
            remembered = self.memory.length if self.memory is not None else 0
            return self.mask[:, -(remembered + length) :]
        if self.model.spec.attention.infer_padding == "none":
            return None
        return torch.ones(len(self.tokens), length, dtype=torch.bool, device=self.tokens.device)

    def select(self, rows: Tensor) -> None:
        """Go on with these rows (n), in this order."""
        self.tokens, self.prompts = self.tokens[rows], self.prompts.select(rows)
        mask = None if self.mask is None else self.mask[rows]
        if self.memory is not None:
            self.memory = self.memory.select(rows)
        if mask is not None and bool(mask.all()):
            mask = None
            self.memory = None if self.memory is None else replace(self.memory, mask=None)
        self.mask = mask

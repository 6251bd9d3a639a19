"""A text that grows: runs tokens through a network and gives the states that predict the next ones.

b batch, n new tokens, d model width.
"""

from dataclasses import replace

import torch
from torch import Tensor

from engine.generation.decoding.processors import History
from engine.generation.decoding.prompts import Prompts
from engine.generation.guards import has_two_streams
from engine.generation.options import Decoding
from engine.generation.start import MemoryMethods, start_memory
from engine.memory import Keeps, Memory
from engine.network.inputs import Inputs


class DecodingState:
    """The texts of a batch so far, and what the network remembers of them.

    Under one stream the newest token's state predicts the next one. Under two, the prompt sees
    itself both ways and each new token the prompt and the new ones before it, a legal factorization
    order (Yang et al. 2019, 2.2): the content stream is remembered, and a step is one content row
    and the query row of the next place. Decoding by `overlap` runs the newest two tokens at each
    step, which see each other. Without memory, or by `recompute`, every step runs the whole text.
    """

    def __init__(
        self, network: MemoryMethods, prompts: Prompts, decoding: Decoding = "cached"
    ) -> None:
        self.network, self.prompts = network, replace(prompts, memory=None)
        self.two_streams = has_two_streams(network.spec)
        self.infers_padding = network.spec.attention.infer_padding != "none"
        keeps: Keeps = "tokens"
        if self.two_streams:
            keeps = "all"
        self.keeps = keeps
        self.cached = decoding != "recompute" and network.memory_policy.remembers(keeps)
        self.overlap = int(decoding == "overlap")
        self.tokens = prompts.tokens[:, :0]
        self.mask = prompts.mask
        self.prompt_width = prompts.tokens.shape[1]
        self.memory = None
        if prompts.memory is not None:
            self.memory = replace(network.project_memory(prompts.memory), keeps=keeps)
        elif self.cached:
            self.memory = start_memory(network, len(prompts.tokens), keeps)

    def append(self, tokens: Tensor) -> Tensor:
        """States (b d) that predict what follows new tokens (b n)."""
        first = not self.tokens.shape[1]
        if not first and self.mask is not None:
            self.mask = torch.nn.functional.pad(self.mask, (0, tokens.shape[1]), value=True)
        self.tokens = torch.cat((self.tokens, tokens), dim=1)
        run, prompts = self.tokens, self.prompts
        if self.memory is not None and not first and self._outgrown(tokens.shape[1]):
            first, self.memory = True, start_memory(self.network, len(run), self.keeps)
        elif self.cached:
            run = run[:, -self.overlap - tokens.shape[1] :]
        batch, length = run.shape
        vectors, langs, targets, encoder_states = self._vectors(run), prompts.langs, None, None
        if langs is not None:
            langs = langs[:, None].expand(-1, length)
        if self.two_streams:
            targets = torch.zeros(batch, 1, length + 1, device=run.device)
            targets[:, :, -1] = 1
        if first or not self.cached:
            encoder_states = prompts.encoder_states
        ids: Tensor | None = run
        if vectors is not None:
            ids = None
        out = self.network.body(
            Inputs(
                ids,
                vectors,
                attention_mask=self._attention_mask(length),
                langs=langs,
                encoder_hidden_states=encoder_states,
                encoder_attention_mask=prompts.encoder_mask,
                target_mapping=targets,
                memory=self.memory,
                use_memory=self.cached,
            )
        )
        if self.cached:
            self.memory = self._kept(out.memory)
        return out.states[:, -1]

    def _outgrown(self, new: int) -> bool:
        """Whether the text is now too long for what is remembered, and all of it can be run again."""
        assert self.memory is not None
        seen, held = self.memory.seen, self.tokens.shape[1] - new
        return self.memory.length == held and self.network.position.outgrows(seen, seen + new)

    def history(self, prompts: list[int]) -> History:
        """What stands before the next choice; `prompts` numbers the prompt of each row."""
        start = self.prompt_width
        if self.prompts.has_ids:
            start = 0
        mask = self.mask
        if mask is not None:
            mask = mask[:, start:]
        new = self.tokens.shape[1] - self.prompt_width
        return History(self.tokens[:, start:], mask, new, prompts)

    def _vectors(self, run: Tensor) -> Tensor | None:
        """Vectors (b n d) of a step's tokens, where it reaches into a prompt of vectors; else None."""
        vectors = self.prompts.vectors
        start = self.tokens.shape[1] - run.shape[1]
        if vectors is None or start >= self.prompt_width:
            return None
        new = self.network.embeddings.embed(self.tokens[:, self.prompt_width :])
        return torch.cat((vectors[:, start:], new), dim=1)

    def _kept(self, memory: Memory | None) -> Memory | None:
        """What the next step remembers: all, or what transformers' XLNet keeps when it runs two
        tokens a step.
        """
        if memory is None or not self.overlap:
            return memory
        limit = self.network.memory_policy.longest("segments")
        if limit is not None:
            # The published memory also holds a row for the place to predict: its length counts it.
            memory = memory.last(limit - 1)
        return memory.drop_newest(self.overlap)

    def _attention_mask(self, length: int) -> Tensor | None:
        if self.mask is not None:
            if self.memory is not None:
                length += self.memory.length
            return self.mask[:, -length:]
        if not self.infers_padding:
            return None
        return torch.ones(len(self.tokens), length, dtype=torch.bool, device=self.tokens.device)

    def select(self, rows: Tensor) -> None:
        """Go on with these rows (n), in this order."""
        self.tokens, self.prompts = self.tokens[rows], self.prompts.select(rows)
        if self.memory is not None:
            self.memory = self.memory.select(rows)
        if self.mask is None:
            return
        self.mask = self.mask[rows]
        if bool(self.mask.all()):
            self.mask = None
            if self.memory is not None:
                self.memory = replace(self.memory, mask=None)

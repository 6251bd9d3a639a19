"""The network: embeddings, blocks, final norm. One forward pass for every spec.

b batch, i tokens of the call, m remembered tokens, p predictions, d model width.
"""

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from engine.errors import InputError
from engine.kernels.allocation import return_large_buffers
from engine.kernels.dropout import Dropout
from engine.memory import (
    Form,
    Keeps,
    LayerMemory,
    Memory,
    memory_after,
    memory_policy,
    remembered_mask,
)
from engine.network.attention import SharedInputs
from engine.network.block import Block, BlockResult
from engine.network.embeddings import Embeddings
from engine.network.experts import Load, load_balancing_loss
from engine.network.head import Head, Pooler
from engine.network.inputs import Inputs, Padding, check
from engine.network.kinds import (
    BlockKind,
    CallStates,
    block_kinds,
    encoder_mask,
    kind_numbers,
    padding_columns,
    position_of,
    share,
)
from engine.network.masks import Pairs
from engine.network.norms import build_norm
from engine.network.outputs import Output
from engine.network.positions import PositionInputs
from engine.parameters.offloading import computing_device
from engine.spec import Spec


@dataclass(frozen=True)
class Start:
    """What the blocks of a call start from."""

    states: Tensor
    """(b i+p d): the first states of tokens and prediction rows."""
    memory: Memory | None
    mask: Tensor | None
    """(b m+i): True for remembered and new tokens that are no padding."""
    seen: Tensor | int
    """How many positions have been given out, this call's included."""
    shared: tuple[SharedInputs, ...]
    """What the blocks of each kind share."""


@dataclass
class BlocksFound:
    """What the blocks of a call leave beside their states, in their order."""

    layers: list[LayerMemory] = field(default_factory=list)
    """What each is to remember, where the call gives a memory."""
    hidden: list[Tensor] = field(default_factory=list)
    """(b i d), under two streams (b p d) after each, where they are asked for."""
    attentions: list[Any] = field(default_factory=list)
    """(b h i j), under two streams a pair, likewise."""
    cross_attentions: list[Tensor] = field(default_factory=list)
    """(b h i s), likewise."""
    loads: list[Load] = field(default_factory=list)
    """How tokens were spread over experts, where training asks."""


class Network(nn.Module):
    """The modules of a spec and their forward pass, with a head or bare."""

    def __init__(self, spec: Spec, head: Head | None = None) -> None:
        super().__init__()
        self.spec = spec
        of_layers = spec.of_layers()
        self.kinds = block_kinds(spec, of_layers)
        self.kind_numbers = kind_numbers(self.kinds)
        self.position, self.memory_policy = position_of(spec, self.kinds), memory_policy(spec)
        self.embeddings = Embeddings(spec)
        self.from_end = self.position.block_tables()
        self.blocks = nn.ModuleList(Block(one) for one in of_layers)
        self.final_norm = (
            build_norm(spec.norm, spec.dims.model, "final") if spec.final_norm else None
        )
        self.dropout = Dropout(spec.dropout.output)
        self.pooler: Pooler | None = None
        if spec.pooler is not None and (head is None or head.needs_pooler):
            self.pooler = Pooler(spec.dims.model, spec.pooler.activation)
        self.head = head
        self.encoder: Network | None = None
        if (inner := spec.of_encoder()) is not None:
            self.encoder = Network(inner)
        self._recomputes = False

    @property
    def gradient_checkpointing(self) -> bool:
        """Whether training computes each block again in the backward pass instead of keeping it.

        To set it lets freed buffers go back to the system at once, for the rest of the process.
        """
        return self._recomputes

    @gradient_checkpointing.setter
    def gradient_checkpointing(self, recomputes: bool) -> None:
        if recomputes:
            return_large_buffers()
        self._recomputes = recomputes
        if self.encoder is not None:
            self.encoder.gradient_checkpointing = recomputes

    def tie(self) -> None:
        """Make every parameter that the spec shares one and the same object again, after a copy,
        load or resize.
        """
        shared = self.position.shared
        if self.spec.attention.query_bias == "shared":
            shared = (*shared, "content_bias", "position_bias", "segment_bias")
        if shared:
            scores = [block.attention.scores for block in self.blocks if isinstance(block, Block)]
            for name in shared:
                for layer in scores[1:]:
                    setattr(layer, name, getattr(scores[0], name))
        if self.head is not None:
            self.head.tie(self.embeddings.tokens)
        if self.encoder is not None:
            self.encoder.tie()
            if self.spec.encoder is not None and self.spec.encoder.shared_tokens:
                self.encoder.embeddings.tokens.share(self.embeddings.tokens)

    @property
    def device(self) -> torch.device:
        """Where the network computes: where its first parameter is, or is brought to."""
        first = next(self.parameters())
        return computing_device(self) if first.is_meta else first.device

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights, and of what is computed with them."""
        return next(self.parameters()).dtype

    def body(self, inputs: Inputs) -> Output:
        """Embeddings, blocks and final norm, without the head (raises InputError)."""
        check(self.spec, self.position, inputs, self.dtype)
        form, start = self._memory_form(inputs), self._start(inputs)
        states, found = self._run_blocks(inputs, start, form)
        pairs, memory = start.shared[0].scores.pairs, None
        if self.final_norm is not None:
            states = self.final_norm(states)
        if inputs.output_hidden_states:
            found.hidden += _by_stream(states, pairs, axis=1)
        if pairs.targets is not None:
            states = states[:, states.shape[1] - pairs.targets.shape[1] :]
        last = self.dropout(states)
        if form is not None:
            memory = memory_after(
                self.memory_policy,
                start.memory,
                tuple(found.layers),
                mask=start.mask,
                new=pairs.tokens,
                seen=start.seen,
            )
        return Output(
            last_hidden_state=last,
            pooler_output=None if self.pooler is None else self.pooler(last),
            memory=memory,
            hidden_states=tuple(found.hidden) or None,
            attentions=tuple(found.attentions) or None,
            cross_attentions=tuple(found.cross_attentions) or None,
            aux_loss=load_balancing_loss(found.loads) if found.loads else None,
        )

    def _run_blocks(
        self, inputs: Inputs, start: Start, form: Form | None
    ) -> tuple[Tensor, BlocksFound]:
        """The states after the last block, and what was found on the way."""
        states, memory = start.states, start.memory
        pairs, found = start.shared[0].scores.pairs, BlocksFound()
        keeps: Keeps = "segments" if memory is None else memory.keeps
        shown = inputs.output_hidden_states or inputs.output_attentions
        # Then nobody reads the states of tokens after the last block.
        predicts_only = pairs.targets is not None and not shown
        for index, block in enumerate(self.blocks):
            shared = start.shared[self.kind_numbers[index]]
            past = LayerMemory() if memory is None else memory.layers[index]
            if self.from_end is not None:
                states, past = self.from_end(index, states, past, start.mask)
            if inputs.output_hidden_states:
                found.hidden += _by_stream(states, pairs, axis=1)
            if predicts_only and index == len(self.blocks) - 1:
                shared = shared.only_predictions()
            if inputs.head_mask is not None or inputs.cross_head_mask is not None:
                shared = self._with_head_masks(shared, index, inputs)
            result = self._run(block, states, past, shared)
            if form is not None:
                entered = states[:, : pairs.tokens]
                kept = self.memory_policy.remember(past, entered, result.memory, form, keeps)
                found.layers.append(kept)
            states = result.states
            if result.weights is not None:
                parts = _by_stream(result.weights, pairs, axis=2)
                found.attentions.append(parts[0] if len(parts) == 1 else parts)
            if result.cross_weights is not None:
                found.cross_attentions.append(result.cross_weights)
            if result.load is not None:
                found.loads.append(result.load)
        return states, found

    def kind_of(self, index: int) -> BlockKind:
        """The kind of a block."""
        return self.kinds[self.kind_numbers[index]]

    def _memory_form(self, inputs: Inputs) -> Form | None:
        """The form of the memory that comes back, None for no memory (raises InputError)."""
        policy, past, asked = self.memory_policy, inputs.memory, inputs.use_memory
        if asked is False or not policy.remembers("segments" if past is None else past.keeps):
            return None
        learns = self.training or torch.is_grad_enabled()
        given = asked if isinstance(asked, str) else None
        form = policy.form(past, given, learns, self.position.keys_stay)
        reason = self._cannot_remember(form, inputs)
        if asked is not None:
            if reason is not None:
                raise InputError(reason)
            return form
        recomputed = self.training and self._recomputes and not policy.recomputed
        if reason is not None or recomputed or not policy.by_default(self.training):
            return None
        return form

    def _cannot_remember(self, form: Form, inputs: Inputs) -> str | None:
        """Why this call cannot leave a memory of this form."""
        if self.training and form == "keys_values" and self.spec.block.layer_drop > 0:
            return (
                "training drops whole blocks (block.layer_drop), and these would remember nothing: "
                "call eval()"
            )
        if form == "hidden_states" and self.position.rotates and inputs.position_ids is not None:
            return (
                "position_ids turn keys, which a memory of hidden states makes anew from counted "
                "places: ask for use_memory='keys_values', or start with model.start_memory, which "
                "holds keys"
            )
        return None

    def _start(self, inputs: Inputs) -> Start:
        """First states, and the masks, distances and counts that all blocks share."""
        padding = inputs.read_padding(self.spec)
        states = inputs.inputs_embeds
        if states is None:
            assert inputs.input_ids is not None  # one of the two is there
            states = self.embeddings.embed(inputs.input_ids)
        memory = self._memory(inputs, states, padding)
        mask = padding.real
        if memory is not None:
            mask = remembered_mask(memory, padding.real, states)
        targets = inputs.targets()
        counted = self._position_inputs(inputs, padding, memory, targets)
        positions = self.position.locate(counted)
        if self.from_end is not None:
            states = self.from_end.bottom(states, mask)
        token_types, langs = inputs.token_type_ids, inputs.langs
        states = self.embeddings(states, positions.rows, token_types, langs, padding.real)
        ahead = 0
        if targets is not None:
            ahead = inputs.ahead
            rows = self.embeddings.query_rows(states.shape[0], targets.shape[1])
            states = torch.cat((states, rows), dim=1)
        remembered = 0 if memory is None else memory.length
        pairs = Pairs(inputs.shape[1], remembered, targets, ahead)
        real = padding.real
        if real is not None:
            real = pairs.by_row(real[..., None], pairs.whole.rows).squeeze(-1)
        call = CallStates(
            inputs=inputs,
            states=states,
            memory=memory,
            pairs=pairs,
            columns=padding_columns(pairs, padding, mask, self.memory_policy),
            real=real,
            encoder_mask=encoder_mask(inputs.encoder_attention_mask, pairs, states.dtype),
            counted=counted,
            positions=positions,
            training=self.training,
            recompute=self._recomputes and self.training,
        )
        shared = tuple(share(kind, call) for kind in self.kinds)
        return Start(states, memory, mask, positions.seen, shared)

    def _memory(self, inputs: Inputs, states: Tensor, padding: Padding) -> Memory | None:
        """The memory of the call, or the one that the spec starts with."""
        memory = inputs.memory
        if memory is None:
            memory = self.memory_policy.start(states.shape[0], states)
        if memory is None:
            return None
        # Autocast casts the products of both, so that they may differ there.
        if memory.dtype != states.dtype and not torch.is_autocast_enabled(states.device.type):
            raise InputError(
                f"this memory holds {memory.dtype}, the network computes in {states.dtype}: "
                "memory.to(dtype) casts it"
            )
        if padding.remembered is not None:
            memory = replace(memory, mask=padding.remembered)
        return memory

    def _position_inputs(
        self, inputs: Inputs, padding: Padding, memory: Memory | None, targets: Tensor | None
    ) -> PositionInputs:
        """What the positions of the call are counted from."""
        length = inputs.shape[1]
        keeps: Keeps = "segments"
        seen: Tensor | int = 0
        if memory is not None:
            keeps, seen = memory.keeps, memory.seen
        # Ids tell padding from text even where no mask is given, as RoBERTa counts positions.
        tokens, filler = None, self.spec.embeddings.tables.tokens.padding
        if inputs.input_ids is not None and filler is not None:
            tokens = inputs.input_ids != filler
        return PositionInputs(
            length=length,
            entering=self.memory_policy.entering(length, keeps),
            device=inputs.device,
            real=padding.real,
            tokens=tokens,
            given=inputs.position_ids,
            targets=targets,
            memory=memory,
            seen=seen,
        )

    def _run(
        self, block: nn.Module, states: Tensor, past: LayerMemory, shared: SharedInputs
    ) -> BlockResult:
        """One block; skipped at random in training where the spec drops layers."""
        drop = self.spec.block.layer_drop
        if self.training and drop > 0 and float(torch.rand(())) < drop:
            return BlockResult(states, past)
        if self._recomputes and self.training:
            # The reentrant kind would give no gradients where no input of a block needs one.
            result: BlockResult = checkpoint(block, states, past, shared, use_reentrant=False)
            return result
        result = block(states, past, shared)
        return result

    def _with_head_masks(self, shared: SharedInputs, index: int, inputs: Inputs) -> SharedInputs:
        """What the blocks share, with the head masks of one of them."""
        mask = _of_layer(inputs.head_mask, index, self.dtype)
        cross = mask
        if self.spec.attention.cross_head_mask != "shared":
            cross = _of_layer(inputs.cross_head_mask, index, self.dtype)
        return replace(shared, head_mask=mask, cross_head_mask=cross)


def _by_stream(values: Tensor, pairs: Pairs, axis: int) -> tuple[Tensor, ...]:
    """Rows of tokens, and of predictions where there are any."""
    if pairs.targets is None:
        return (values,)
    return values.split([pairs.tokens, values.shape[axis] - pairs.tokens], dim=axis)


def _of_layer(mask: Tensor | None, index: int, dtype: torch.dtype) -> Tensor | None:
    """Head factors (h) of a block, from (h) or (layers h)."""
    if mask is None:
        return None
    return (mask if mask.dim() == 1 else mask[index]).to(dtype)

"""The network: embeddings, blocks, final norm, head. One forward pass for every spec."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from engine.config import Config
from engine.errors import InputError
from engine.generation.methods import TextMethods
from engine.kernels.allocation import return_large_buffers
from engine.kernels.dropout import Dropout
from engine.kernels.int8 import holds_int8
from engine.kernels.linear import check_reorderable, make_contiguous
from engine.kernels.reordered import forget, reorder
from engine.memory import Form, Keeps, LayerMemory, Memory, form_of, longest, memory_after, remember
from engine.network.begin import begin
from engine.network.block import Block, BlockResult
from engine.network.context import Context
from engine.network.embeddings import Embeddings
from engine.network.head import Head
from engine.network.inputs import Inputs, check, read_inputs, says_nothing, unknown
from engine.network.masks import Grid
from engine.network.norms import build_norm
from engine.network.output_layer import LinearOutput
from engine.network.outputs import Output
from engine.network.pooler import Pooler
from engine.network.positions import FromEndPositions
from engine.parameters.offloading import device_of
from engine.parameters.resize import resize_vocabulary
from engine.parameters.ties import copy_further_names, fit_state
from engine.spec import Spec, axes


class Model(TextMethods, nn.Module):
    """A network assembled from a spec, with a head or bare.

    `gradient_checkpointing` recomputes each block in the backward pass instead of keeping its
    activations, and in long texts each of its blocks of rows again, so that memory grows with the
    length and not with its square; freed memory then goes back to the system at once.
    """

    def __init__(self, spec: Spec, head: Head | None = None) -> None:
        super().__init__()
        self.spec = spec
        self.embeddings = Embeddings(spec)
        self.from_end = (
            FromEndPositions(spec) if isinstance(spec.position, axes.FromEndPosition) else None
        )
        self.blocks = nn.ModuleList(Block(spec) for _ in range(spec.dims.layers))
        self.final_norm = build_norm(spec.norm, spec.dims.model) if spec.final_norm else None
        self.dropout = Dropout(spec.dropout.output)
        pooled = spec.pooler is not None and (head is None or head.needs_pooler)
        self.pooler = (
            Pooler(spec.dims.model, spec.pooler.activation) if pooled and spec.pooler else None
        )
        self.head = head
        self.gradient_checkpointing = False
        self.load_report: object = None
        self.register_state_dict_post_hook(copy_further_names)
        self.register_load_state_dict_pre_hook(fit_state)
        self.register_load_state_dict_post_hook(_tie_again)
        self.tie()

    def tie(self) -> None:
        """Make every parameter that the spec shares one and the same object again, after a copy,
        load or resize.
        """
        if self.spec.attention.query_bias == "shared":
            scores = [block.attention.scores for block in self._typed_blocks()]
            for name in ("content_bias", "position_bias", "segment_bias"):
                for layer in scores[1:]:
                    setattr(layer, name, getattr(scores[0], name))
        if self.head is not None:
            self.head.tie(self.embeddings.tokens)

    def train(self, mode: bool = True) -> "Model":
        """Training or evaluation mode, as in PyTorch; InputError for training with 8-bit weights."""
        if mode and holds_int8(self):
            raise InputError(
                "8-bit weights take no training: load the model without weights='int8'"
            )
        if mode:
            forget(self.parameters())
            make_contiguous(self)  # optimizers and launchers of training expect contiguous weights
        return super().train(mode)

    def gradient_checkpointing_enable(
        self, every_n_layers: int = 1, offload: bool = False, **options: Any
    ) -> None:
        """`gradient_checkpointing = True`, as transformers' Trainer asks for it.

        Raises InputError for what the networks here do not offer: reentrant recomputing, blocks
        left out, offloading.
        """
        if (
            any((given or {}).get("use_reentrant") for given in options.values())
            or every_n_layers != 1
            or offload
        ):
            raise InputError(
                "gradient checkpointing recomputes every block here, without reentrance or offloading: leave "
                "use_reentrant, every_n_layers and offload as they are"
            )
        self.gradient_checkpointing = True

    def gradient_checkpointing_disable(self) -> None:
        """`gradient_checkpointing = False`."""
        self.gradient_checkpointing = False

    activation_checkpointing_enable = (
        gradient_checkpointing_enable  # the name from transformers 6 on
    )
    activation_checkpointing_disable = gradient_checkpointing_disable

    @property
    def device(self) -> torch.device:
        """Where the network computes."""
        return device_of(self)

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights, and of what is computed with them."""
        return next(self.parameters()).dtype

    @property
    def config(self) -> Config:
        """What other libraries look for under this name, read off the spec."""
        return Config(self.spec)

    @property
    def accepts_loss_kwargs(self) -> bool:
        """Whether a loss can be divided by the targets of a whole accumulated batch
        (`num_items_in_batch`).
        """
        return self.head is not None and "num_items_in_batch" in self.head.inputs

    def prepack(self) -> "Model":
        """Keep a second copy of the weights in the blocks that the processor's products read, until
        `train()`.

        For serving from float32 or bfloat16: calls without gradients take a few percent less time,
        decoding of several rows up to a quarter, and sums round in another order. Keys of relative
        distances that a call has projected are held for the next ones, at most
        `Tuning.kept_distances` a block. A weight that is loaded, cast or changed afterwards, or
        takes part in a call with gradients for it, is read plainly until the next `prepack()`,
        which begins anew; values written through `.data` or another library's view go unseen until
        then. Raises InputError where oneDNN does not multiply with such weights.
        """
        if self.training:
            raise InputError("prepack() is for inference: call eval() first")
        layers = [layer for layer in self.modules() if isinstance(layer, nn.Linear | LinearOutput)]
        for layer in layers:
            check_reorderable(layer.weight)
        make_contiguous(self)
        reorder(layer.weight for layer in layers)
        return self

    def resize_vocabulary(self, size: int) -> None:
        """Grow or shrink the vocabulary in place to `size` tokens; see
        `engine.parameters.resize.resize_vocabulary`.
        """
        resize_vocabulary(self, size)

    def forward(
        self,
        input_ids: Tensor | None = None,
        *,
        inputs_embeds: Tensor | None = None,
        attention_mask: Tensor | None = None,
        input_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        langs: Tensor | None = None,
        lengths: Tensor | None = None,
        perm_mask: Tensor | None = None,
        target_mapping: Tensor | None = None,
        head_mask: Tensor | None = None,
        cross_head_mask: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        encoder_attention_mask: Tensor | None = None,
        memory: Memory | None = None,
        use_memory: bool | Form | None = None,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
        labels: Tensor | None = None,
        start_positions: Tensor | None = None,
        end_positions: Tensor | None = None,
        is_impossible: Tensor | None = None,
        cls_index: Tensor | None = None,
        p_mask: Tensor | None = None,
        **head_inputs: Any,
    ) -> Output:
        """One pass over tokens (b i), or their vectors `inputs_embeds` (b i d).

        `attention_mask` (b i), with remembered tokens (b m+i), or by pair (b i m+i): 1 keeps, 0 is
        padding; `input_mask` is its inverse and `lengths` (b) its short form. `token_type_ids`,
        `position_ids` (from 0), `langs`: (b i). `perm_mask` (b i i): 1 where i may not see j;
        `target_mapping` (b p i), wider where it reaches past the tokens: one-hot rows of what to
        predict. `head_mask`, `cross_head_mask`: (h) or (layers, h), 0 silences a head.
        `encoder_hidden_states` (b s d). `use_memory` asks for `memory` in the result (None: as the
        spec says), or for one of a recurrent spec's two forms of it: "hidden_states", through which
        gradients reach the projections, or "keys_values", which no later call makes again. By
        default it holds keys and values in inference without gradients, else hidden states. The
        head takes what is left, from `labels` on, as its class says. Raises InputError for what the
        spec cannot honour.
        """
        inputs = Inputs(
            input_ids, inputs_embeds, attention_mask, input_mask, token_type_ids, position_ids, langs, lengths, perm_mask,
            target_mapping, head_mask, cross_head_mask, encoder_hidden_states, encoder_attention_mask, memory, use_memory,
            output_hidden_states, output_attentions,
        )  # fmt: skip
        published = {
            "labels": labels, "start_positions": start_positions, "end_positions": end_positions,
            "is_impossible": is_impossible, "cls_index": cls_index, "p_mask": p_mask,
        }  # fmt: skip
        head_inputs |= {name: value for name, value in published.items() if value is not None}
        inputs = read_inputs(inputs, self.device)
        taken = None if self.head is None else self.head.inputs
        for name in [name for name in head_inputs if taken is None or name not in taken]:
            if not says_nothing(name, head_inputs.pop(name)):
                raise unknown(name, taken, inputs)
        if self.head is None:
            return self.body(inputs)
        return self.head(self.body, inputs, **head_inputs)

    def body(self, inputs: Inputs) -> Output:
        """Embeddings, blocks and final norm, without the head."""
        check(self.spec, inputs, self.dtype)
        recompute = self.gradient_checkpointing and self.training
        if recompute:
            return_large_buffers()
        begun = begin(self.spec, self.embeddings, self.from_end, inputs, self.training, recompute)
        states, memory, context = begun.states, begun.memory, begun.context
        content, targets, form = (
            context.grid.content,
            context.grid.targets,
            self._keeps_memory(inputs),
        )
        shown = inputs.output_hidden_states or inputs.output_attentions
        silent = () if targets is None or shown else (len(self.blocks) - 1,)
        keeps: Keeps = "segments" if memory is None else memory.keeps
        layers: list[LayerMemory] = []
        hidden: list[Tensor] = []
        attentions: list[Any] = []
        crossed: list[Tensor] = []
        for index, block in enumerate(self.blocks):
            past = memory.layers[index] if memory is not None else LayerMemory()
            if self.from_end is not None:
                states, past = self.from_end(index, states, past, begun.mask)
            hidden += _streams(states, context.grid) if inputs.output_hidden_states else []
            entered = states[:, :content]
            shared = context.only_queries() if index in silent else context
            result = self._run(block, states, past, self._context_of(index, shared, inputs))
            states = result.states
            if form is not None:
                layers.append(remember(self.spec, past, entered, result.memory, form, keeps))
            if result.weights is not None:
                weights = result.weights
                attentions.append(
                    weights
                    if targets is None
                    else (weights[:, :, :content], weights[:, :, content:])
                )
            crossed += [] if result.cross_weights is None else [result.cross_weights]
        states = states if self.final_norm is None else self.final_norm(states)
        hidden += _streams(states, context.grid) if inputs.output_hidden_states else []
        last = self.dropout(
            states if targets is None else states[:, states.shape[1] - targets.shape[1] :]
        )
        after = None
        if form is not None:
            after = memory_after(self.spec, memory, tuple(layers), begun.mask, content, begun.seen)
        return Output(
            last_hidden_state=last,
            pooler_output=None if self.pooler is None else self.pooler(last),
            memory=after,
            hidden_states=tuple(hidden) or None,
            attentions=tuple(attentions) or None,
            cross_attentions=tuple(crossed) or None,
        )

    def _typed_blocks(self) -> list[Block]:
        return [block for block in self.blocks if isinstance(block, Block)]

    def _keeps_memory(self, inputs: Inputs) -> Form | None:
        """The form of the memory that comes back, None for no memory."""
        memory = self.spec.memory
        keeps = "segments" if inputs.memory is None else inputs.memory.keeps
        if memory.kind == "none" or longest(memory, keeps) == 0:
            return None
        asked = inputs.use_memory if isinstance(inputs.use_memory, str) else None
        form = form_of(self.spec, inputs.memory, asked, self.training or torch.is_grad_enabled())
        holes = self.training and form == "keys_values" and self.spec.block.layer_drop > 0
        if holes and inputs.use_memory:
            raise InputError(
                "training drops whole blocks (block.layer_drop), and these would remember nothing: call eval()"
            )
        turned_anew = form == "hidden_states" and inputs.turned(self.spec)
        if turned_anew and inputs.use_memory:
            raise InputError(
                "position_ids turn keys, which a memory of hidden states makes anew from counted places: ask for "
                "use_memory='keys_values', or start with model.start_memory, which holds keys"
            )
        if inputs.use_memory is not None:
            return form if inputs.use_memory else None
        if (
            turned_anew
            or holes
            or (self.training and self.gradient_checkpointing and memory.kind == "keys_values")
        ):
            return None
        return form if (memory.train if self.training else memory.eval) else None

    def _run(
        self, block: nn.Module, states: Tensor, past: LayerMemory, context: Context
    ) -> BlockResult:
        """One block; skipped at random in training where the spec drops layers, recomputed under
        checkpointing.
        """
        drop = self.spec.block.layer_drop
        if self.training and drop > 0 and float(torch.rand(())) < drop:
            return BlockResult(states, past)
        if self.gradient_checkpointing and self.training:
            return checkpoint(block, states, past, context, use_reentrant=False)
        return block(states, past, context)

    def _context_of(self, index: int, context: Context, inputs: Inputs) -> Context:
        """The shared context with this block's head masks."""
        if inputs.head_mask is None and inputs.cross_head_mask is None:
            return context
        kind = self.dtype
        mask, cross = (
            _layer_row(given, index, kind) for given in (inputs.head_mask, inputs.cross_head_mask)
        )
        return replace(
            context,
            head_mask=mask,
            cross_head_mask=mask if self.spec.attention.cross_head_mask == "shared" else cross,
        )


def _tie_again(model: Model, _: object) -> None:
    model.tie()


def _streams(states: Tensor, grid: Grid) -> list[Tensor]:
    """Content states, and query states where there are any."""
    return (
        [states] if grid.targets is None else [states[:, : grid.content], states[:, grid.content :]]
    )


def _layer_row(mask: Tensor | None, index: int, dtype: torch.dtype) -> Tensor | None:
    return None if mask is None else (mask if mask.dim() == 1 else mask[index]).to(dtype)

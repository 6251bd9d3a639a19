"""The front door to a network: calls, text methods, training set-up, weights in place."""

from typing import Any

from torch import Tensor, nn

from engine.config import Config
from engine.errors import InputError
from engine.generation.methods import TextMethods
from engine.kernels.int8 import holds_int8
from engine.kernels.linear import check_reorderable, make_contiguous
from engine.kernels.reordered import forget, reorder
from engine.memory import Form, Memory
from engine.network.head import Head
from engine.network.inputs import Inputs, read_inputs, says_nothing, unknown
from engine.network.output_layer import LinearOutput
from engine.network.outputs import Output
from engine.parameters.resize import resize_vocabulary
from engine.parameters.ties import copy_further_names, fit_state
from engine.spec import Spec


class Model(TextMethods):
    """A network assembled from a spec, with a head or bare.

    `gradient_checkpointing` recomputes each block in the backward pass instead of keeping its
    activations, and in long texts each of its blocks of rows again, so that memory grows with the
    length and not with its square; freed memory then goes back to the system at once.
    """

    def __init__(self, spec: Spec, head: Head | None = None) -> None:
        super().__init__(spec, head)
        self.load_report: Any = None
        self.register_state_dict_post_hook(copy_further_names)
        self.register_load_state_dict_pre_hook(fit_state)
        self.register_load_state_dict_post_hook(_tie_again)
        self.tie()

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
        reentrant = any((given or {}).get("use_reentrant") for given in options.values())
        if reentrant or offload or every_n_layers != 1:
            raise InputError(
                "gradient checkpointing recomputes every block here, without reentrance or "
                "offloading: leave use_reentrant, every_n_layers and offload as they are"
            )
        self.gradient_checkpointing = True

    def gradient_checkpointing_disable(self) -> None:
        """`gradient_checkpointing = False`."""
        self.gradient_checkpointing = False

    # The names from transformers 6 on.
    activation_checkpointing_enable = gradient_checkpointing_enable
    activation_checkpointing_disable = gradient_checkpointing_disable

    @property
    def config(self) -> Config:
        """What other libraries look for under this name, read off the spec."""
        return Config(self.spec, headed=self.head is not None)

    @property
    def accepts_loss_kwargs(self) -> bool:
        """Whether a loss can be divided by the targets of a whole accumulated batch
        (`num_items_in_batch`).
        """
        return self.head is not None and "num_items_in_batch" in self.head.inputs

    def prepare_for_inference(self) -> "Model":
        """Evaluation mode, with weights that lie transposed on the pages of their file copied into
        rows of their own, in place.

        Products of few rows then take up to a third less time, so that the copy pays from about
        thirty steps of decoding on, and sums round in another order. Who holds a parameter keeps
        it. Nothing else changes a network by itself: no call moves its weights.
        """
        make_contiguous(self)
        return self.eval()

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
        self.tie()

    def forward(  # noqa: PLR0913
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
                raise unknown(name, taken)
        if self.head is None:
            return self.body(inputs)
        result = self.body(self.head.prepare(inputs))
        result = self.head(result, inputs, **head_inputs)
        if result.loss is not None and result.aux_loss is not None:
            result.loss = result.loss + result.aux_loss
        return result


def _tie_again(model: Model, _: object) -> None:
    model.tie()

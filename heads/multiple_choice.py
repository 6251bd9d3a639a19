"""A head that chooses among texts."""

from dataclasses import replace

import torch
from torch import Tensor

from engine.arguments import expect, in_range, read_ids, readable
from engine.errors import InputError
from engine.kernels.losses import IGNORED
from engine.network.inputs import Inputs
from engine.network.outputs import Output
from engine.spec import Spec
from heads.losses import mean_cross_entropy, one_a_row
from heads.registry import register_head
from heads.summary import Summary, SummaryOptions

# Axes of each argument that has one entry a choice; with one axis fewer it is taken as flattened
# already.
CHOICE_AXES = {
    "input_ids": (3,), "inputs_embeds": (4,), "attention_mask": (3, 4), "input_mask": (3,), "token_type_ids": (3,),
    "position_ids": (3,), "langs": (3,), "lengths": (2,), "perm_mask": (4,), "target_mapping": (4,),
    "encoder_hidden_states": (4,), "encoder_attention_mask": (3, 4),
}  # fmt: skip


@register_head("multiple_choice")
class MultipleChoice(Summary):
    """Chooses among texts: every input has an axis of choices after the batch (b c i); `logits` (b
    c).

    `labels` (b) are numbers of choices, -100 for none; the mean `loss` is over the others.
    `cls_index` (b c) as for sequence_classification. A choice of whose tokens attention_mask,
    input_mask or lengths keep none is absent, so that rows may have unequal numbers of them: its
    logit is minus infinity. States and memory have one row a choice (b·c). Raises InputError for
    inputs without choices, and for a label that names an absent one.
    """

    Options = SummaryOptions
    inputs = frozenset({"labels", "cls_index"})

    def __init__(self, spec: Spec, options: SummaryOptions) -> None:
        super().__init__(spec, options, 1)

    def prepare(self, inputs: Inputs) -> Inputs:
        """Every choice as a row of its own."""
        _choices(inputs)
        changes = {
            name: value.flatten(0, 1)
            for name, axes in CHOICE_AXES.items()
            if (value := getattr(inputs, name)) is not None and value.dim() in axes
        }
        return replace(inputs, **changes)

    def forward(
        self,
        result: Output,
        inputs: Inputs,
        labels: Tensor | None = None,
        cls_index: Tensor | None = None,
    ) -> Output:
        rows, choices = _choices(inputs).shape[:2]
        flat = self.prepare(inputs)
        if cls_index is not None:
            cls_index = read_ids("cls_index", cls_index, inputs.device)
            expect("cls_index", cls_index, (rows, choices))
            cls_index = cls_index.flatten()
        result.logits = self.summarise(result, flat, cls_index).view(rows, choices)
        present = _present(flat, self.spec)
        if present is not None:
            present = present.view(rows, choices)
            result.logits = self._without_absent(result.logits, present)
        if labels is not None:
            labels = one_a_row("labels", labels, result.logits)
            in_range("labels", labels, choices, "the number of choices", ignored=IGNORED)
            _check_present(labels.long(), present)
            result.loss = mean_cross_entropy(result.logits, labels)
        return result

    def _without_absent(self, logits: Tensor, present: Tensor) -> Tensor:
        if readable(present) and not bool(present.any(1).all()):
            row = int((~present.any(1)).nonzero()[0])
            raise InputError(f"row {row} has no choice: its mask keeps no token of any")
        return logits.masked_fill(~present, -torch.inf)


def _choices(inputs: Inputs) -> Tensor:
    """The tokens, (b c i) or (b c i d); raises InputError where there is no axis of choices."""
    name = "inputs_embeds" if inputs.input_ids is None else "input_ids"
    given: Tensor | None = getattr(inputs, name)
    if given is None or given.dim() not in CHOICE_AXES[name]:
        found = "none" if given is None else f"{name} of shape {tuple(given.shape)}"
        raise InputError(
            f"multiple_choice takes one text a choice, (batch, choices, length …), found {found}"
        )
    return given


def _present(flat: Inputs, spec: Spec) -> Tensor | None:
    """True (b·c) for choices of which a mask keeps a token; None where no mask was given."""
    if flat.attention_mask is None and flat.input_mask is None and flat.lengths is None:
        return None
    mask = flat.padding(spec)
    if mask is None:
        return None
    return mask.flatten(1).any(1)


def _check_present(labels: Tensor, present: Tensor | None) -> None:
    if present is None or not readable(labels):
        return
    named = present.gather(1, labels.clamp(min=0)[:, None]).squeeze(1) | (labels == IGNORED)
    if not bool(named.all()):
        row = int((~named).nonzero()[0])
        raise InputError(
            f"labels names choice {int(labels[row])} of row {row}, of which the mask keeps no token"
        )

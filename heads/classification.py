"""Heads that choose among labels: for a text, and for each token."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.arguments import check_finite, expect, in_range, read_ids, read_tensor, readable
from engine.errors import InputError
from engine.kernels.losses import IGNORED
from engine.network.head import Head
from engine.network.inputs import Inputs
from engine.network.outputs import Output
from engine.spec import Spec
from engine.spec.axes import Probability
from heads.labels import LabelOptions
from heads.losses import mean_cross_entropy, one_a_row, scale_aux_loss, wide
from heads.pooling import masked_tokens
from heads.registry import register_head
from heads.summary import Summary, SummaryOptions, dropout_of

ProblemType = Literal["regression", "single_label_classification", "multi_label_classification"]


@register_head("sequence_classification")
class SequenceClassification(Summary):
    """One answer for the whole text: `logits` (b n), and the mean `loss` over labels that are not
    -100.

    `labels`: numbers (b) or (b n) for regression, label ids (b) for one label a text, zeros and
    ones (b n) for several. `problem_type` null is read off each call: one label means regression,
    integers one label a text, else several. `cls_index` (b): the place to pool at where
    pooling.kind is cls_index. Raises InputError for labels that do not fit.
    """

    class Options(SummaryOptions):
        """Of sequence_classification."""

        problem_type: ProblemType | None = None
        """Null reads it off each call: one label means regression, integers one label a text, else
        several."""

    inputs = frozenset({"labels", "cls_index"})

    def __init__(self, spec: Spec, options: Options) -> None:
        super().__init__(spec, options, options.num_labels)

    def forward(
        self,
        result: Output,
        inputs: Inputs,
        labels: Tensor | None = None,
        cls_index: Tensor | None = None,
    ) -> Output:
        result.logits = self.summarise(result, inputs, cls_index)
        if labels is not None:
            result.loss = self._loss(wide(result.logits), labels)
        return result

    def _loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        rows, count = logits.shape
        labels = read_tensor("labels", labels, logits.device)
        problem = self.options.problem_type or _problem(labels, count)
        if problem == "single_label_classification":
            labels = one_a_row(f"labels ({problem})", labels, logits)
            in_range("labels", labels, count, "num_labels", ignored=IGNORED)
            return mean_cross_entropy(logits, labels)
        shapes: list[tuple[int, ...]] = [(rows, count)]
        if count == 1:
            shapes.append((rows,))
        expect(f"labels ({problem})", labels, *shapes)
        wanted = labels.reshape(rows, count).to(logits.dtype)
        if problem == "regression":
            check_finite("labels (regression)", wanted)
            return functional.mse_loss(logits, wanted)
        if readable(wanted) and not bool(((wanted >= 0) & (wanted <= 1)).all()):
            raise InputError("labels (multi_label_classification) must lie between 0 and 1")
        return functional.binary_cross_entropy_with_logits(logits, wanted)


def _problem(labels: Tensor, count: int) -> ProblemType:
    if count == 1:
        return "regression"
    if labels.is_floating_point() or labels.dtype == torch.bool:
        return "multi_label_classification"
    return "single_label_classification"


@register_head("token_classification")
class TokenClassification(Head):
    """One label for each token: `logits` (b i n), and the mean `loss` over `labels` (b i) that are
    not -100.

    `num_items_in_batch` replaces their number where the gradients of several calls add up to one
    step. Raises InputError for labels of another shape or outside the label ids.
    """

    inputs = frozenset({"labels", "num_items_in_batch"})

    class Options(LabelOptions):
        """Of token_classification."""

        dropout: Probability | None = None
        """Dropout before the last layer; null: the spec's residual dropout."""
        ignore_padding: bool = True
        """Whether labels at masked tokens count as -100."""

    def __init__(self, spec: Spec, options: Options) -> None:
        super().__init__(spec, options)
        self.dropout = dropout_of(options.dropout, spec.dropout.residual)
        self.output = nn.Linear(spec.dims.model, options.num_labels)

    def forward(
        self,
        result: Output,
        inputs: Inputs,
        labels: Tensor | None = None,
        num_items_in_batch: int | Tensor | None = None,
    ) -> Output:
        result.logits = self.output(self.dropout(result.states))
        if labels is not None:
            labels = read_ids("labels", labels, result.logits.device)
            expect("labels", labels, tuple(result.logits.shape[:2]))
            in_range("labels", labels, self.options.num_labels, "num_labels", ignored=IGNORED)
            if self.options.ignore_padding:
                real = masked_tokens(self.spec, inputs)
                if real is not None:
                    labels = labels.masked_fill(~real, IGNORED)
            result.loss = mean_cross_entropy(
                result.logits.flatten(0, 1), labels.flatten(), count=num_items_in_batch
            )
            if num_items_in_batch is not None:
                scale_aux_loss(result, labels, num_items_in_batch)
        return result

"""Heads that choose among labels: for a text, for each token, among choices."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Literal

import torch
from pydantic import PositiveInt, field_validator, model_validator
from pydantic_core import PydanticCustomError
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import Self

from engine.arguments import check_finite, read_ids, read_tensor, readable
from engine.errors import InputError
from engine.kernels.losses import IGNORED
from engine.network.feed_forward import ACTIVATIONS
from engine.network.head import Head, HeadOptions
from engine.network.inputs import Inputs, expect, in_range
from engine.network.outputs import Output
from engine.spec import Spec
from engine.spec.axes import Activation, Probability
from heads.losses import mean_cross_entropy, one_a_row, wide
from heads.pooling import AnyPooling, Pooling, masked_tokens
from heads.registry import register_head


class LabelOptions(HeadOptions):
    """How many labels there are, and their names both ways, as config.json has them (default: as
    many as named, or 2).
    """

    num_labels: PositiveInt = 2
    id2label: dict[int, str] | None = None
    label2id: dict[str, int] | None = None

    @model_validator(mode="before")
    @classmethod
    def _counted(cls, data: Any) -> Any:
        if (
            isinstance(data, Mapping)
            and "num_labels" not in data
            and isinstance(data.get("id2label"), Mapping)
        ):
            return {**data, "num_labels": len(data["id2label"])}
        return data

    @field_validator("id2label", mode="before")
    @classmethod
    def _numbered(cls, names: Any) -> Any:
        if not isinstance(names, Mapping):
            return names
        # JSON has no numbers for keys, so that files carry them as text.
        return {int(key) if str(key).isdecimal() else key: name for key, name in names.items()}

    @model_validator(mode="after")
    def _named(self) -> Self:
        if self.id2label is not None and len(self.id2label) != self.num_labels:
            text = (
                f"id2label names {len(self.id2label)} labels, but num_labels is {self.num_labels}"
            )
            raise PydanticCustomError("rule", "{text}", {"text": text})
        if wrong := self._wrong_ids():
            raise PydanticCustomError("rule", "{text}", {"text": wrong})
        return self

    def _wrong_ids(self) -> str | None:
        """What is wrong with the ids of the two maps, or with the maps beside one another."""
        last = self.num_labels - 1
        numbered, named = self.id2label or {}, self.label2id or {}
        for name, ids in (("id2label", list(numbered)), ("label2id", list(named.values()))):
            if outside := [number for number in ids if not 0 <= number <= last]:
                return f"{name} has the id {outside[0]}, outside 0 … {last} (num_labels is {self.num_labels})"
        for label, number in named.items():
            if numbered.get(number, label) != label:
                return f"label2id gives '{label}' the id {number}, which id2label calls '{numbered[number]}'"
        return None

    @classmethod
    def combined(cls, options: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
        """A spec's options under those of a call; another number of labels, or other names, replace
        all of the old ones.
        """
        fresh = {"num_labels", "id2label"} & set(given)
        kept = {
            name: value
            for name, value in options.items()
            if not (
                fresh
                and name in ("num_labels", "id2label", "label2id")
                and given.get(name) != value
            )
        }
        return {**kept, **given}


class SummaryOptions(LabelOptions):
    """From one pooled vector to scores: dropout, projection, activation, dropout, output layer.

    `pooling` null takes the token that has seen the whole text. Dropouts of null are the spec's
    residual dropout. The projection is as wide as the model, or as many as there are labels;
    `output: false` leaves the last layer out, so that the projection has to give the labels (XLM).
    """

    pooling: AnyPooling | None = None
    first_dropout: Probability | None = None
    projection: bool = False
    projection_to_labels: bool = False
    activation: Activation | None = None
    last_dropout: Probability | None = 0.0
    output: bool = True
    output_bias: bool = True


class Summary(Head):
    """What heads over one pooled vector share: `summarise` gives scores (b n).

    Raises ValueError where no layer of the summary gives that many.
    """

    def __init__(self, spec: Spec, options: SummaryOptions, scores: int) -> None:
        super().__init__(spec, options)
        self.pooling = Pooling(spec, options.pooling)
        self.needs_pooler = self.pooling.options.kind == "pooler"
        model, residual = spec.dims.model, spec.dropout.residual
        width = model
        if options.projection and options.projection_to_labels:
            width = options.num_labels
        if not options.output and width != scores:
            raise ValueError(
                f"this summary ends {width} wide, but {scores} scores are wanted: set output true, or projection and "
                "projection_to_labels true"
            )
        self.first_dropout = dropout_of(options.first_dropout, residual)
        self.projection: nn.Linear | None = None
        if options.projection:
            self.projection = nn.Linear(model, width)
        self.activation: Callable[[Tensor], Tensor] | None = None
        if options.activation is not None:
            self.activation = ACTIVATIONS[options.activation]
        self.last_dropout = dropout_of(options.last_dropout, residual)
        self.output: nn.Linear | None = None
        if options.output:
            self.output = nn.Linear(width, scores, bias=options.output_bias)

    def summarise(self, result: Output, inputs: Inputs, cls_index: Tensor | None) -> Tensor:
        """Scores (b n) from the states of the body."""
        pooled = self.first_dropout(self.pooling(result, inputs, cls_index))
        if self.projection is not None:
            pooled = self.projection(pooled)
        if self.activation is not None:
            pooled = self.activation(pooled)
        pooled = self.last_dropout(pooled)
        if self.output is not None:
            pooled = self.output(pooled)
        return pooled


def dropout_of(rate: float | None, otherwise: float) -> nn.Dropout:
    """Dropout of a rate, or of another where none is given."""
    return nn.Dropout(otherwise if rate is None else rate)


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
        """Of token_classification.

        `dropout` null is the spec's residual dropout; `ignore_padding` takes labels at masked
        tokens as -100.
        """

        dropout: Probability | None = None
        ignore_padding: bool = True

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
        return result


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

"""What is predicted in fine-tuning, and what is trained in place of all weights."""

from typing import Annotated, Literal

from pydantic import Field

from engine.spec.axes import Index, Probability, Size
from engine.training.recipe.sections.base import Name, Weight
from tokenization.section import Section


class TaskBase(Section):
    """What all tasks share: which column is what, and the metrics that are told."""

    fields: dict[str, Name] = {}
    """The column of each role, by the role."""
    metrics: tuple[Name, ...] = ()
    """The metrics that are computed beside the loss; none: those of the task."""
    length: Size | None = None
    """The most tokens of a row; null: as many as the network has positions for."""


class ClassificationTask(TaskBase):
    """A label (or a number, or several labels) for one text."""

    kind: Literal["classification"]
    """Which of the kinds this is."""
    problem: Literal["single", "multiple", "regression"] = "single"
    """One label, several labels, or a number."""
    labels: Literal["from_data"] | tuple[Name, ...] = "from_data"
    """The labels in their order, or `from_data`: those of the training texts, sorted."""


class PairTask(TaskBase):
    """A label for two texts."""

    kind: Literal["pairs"]
    """Which of the kinds this is."""
    problem: Literal["single", "multiple", "regression"] = "single"
    """One label, several labels, or a number."""
    labels: Literal["from_data"] | tuple[Name, ...] = "from_data"
    """The labels in their order, or `from_data`: those of the training texts, sorted."""


class ChoiceTask(TaskBase):
    """Which of several continuations fits a text."""

    kind: Literal["choices"]
    """Which of the kinds this is."""


class TokenTask(TaskBase):
    """A label for each word, given to its first sub-token or to all of them."""

    kind: Literal["tokens"]
    """Which of the kinds this is."""
    labels: Literal["from_data"] | tuple[Name, ...] = "from_data"
    """The labels in their order, or `from_data`: those of the training texts, sorted."""
    label_on: Literal["first", "all"] = "first"
    """Which sub-tokens of a word have its label."""
    scheme: Literal["iob2", "none"] = "iob2"
    """How labels mark spans; none: each word for itself."""


class QuestionTask(TaskBase):
    """The span of a text that answers a question, over overlapping windows."""

    kind: Literal["question_answering"]
    """Which of the kinds this is."""
    length: Size = 384
    """The most tokens of a window, the question included."""
    stride: Index = 128
    """How many tokens two windows share."""
    best: Size = 20
    """How many starts and ends are compared."""
    longest_answer: Size = 30
    """The most tokens of an answer."""
    no_answer: bool = False
    """Whether a question may have no answer (SQuAD 2.0)."""


class CausalTask(TaskBase):
    """A continuation of a prompt: the prompt is read, only the answer is asked."""

    kind: Literal["causal"]
    """Which of the kinds this is."""


Task = Annotated[
    ClassificationTask | PairTask | ChoiceTask | TokenTask | QuestionTask | CausalTask,
    Field(discriminator="kind"),
]


class LoraAdapter(Section):
    """Low-rank updates beside frozen weights (Hu et al. 2021), by peft; checkpoints hold the plain
    network with its updates added, and, in the folder `adapter`, what peft opens.
    """

    kind: Literal["lora"]
    """Which of the kinds this is."""
    rank: Size = 8
    """The rank of the updates."""
    alpha: Weight = 16.0
    """Updates are multiplied by alpha / rank."""
    dropout: Probability = 0.0
    """The probability of dropout before the updates."""
    on: tuple[Name, ...] = ("query", "value")
    """The linear layers that have updates: ends of their names."""
    also: tuple[Name, ...] | None = None
    """Parts that train as they are, such as head; null: what the loaded network has no weights for."""

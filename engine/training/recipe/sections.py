"""The sections of a recipe, one closed pydantic model each, in the order in which a run reads them.

All counts are global: no number here depends on how many processes run the recipe.
"""

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from engine.spec.axes import Index, Probability, Size
from tokenization.section import Section

Name = Annotated[str, StringConstraints(min_length=1)]
Share = Annotated[float, Field(gt=0.0, le=1.0)]
Open = Annotated[float, Field(gt=0.0, lt=1.0)]
Weight = Annotated[float, Field(gt=0.0)]
Rate = Annotated[float, Field(gt=0.0, le=1e3)]
Beta = Annotated[float, Field(ge=0.0, lt=1.0)]


class ModelSource(Section):
    """The network: built from a `spec` with `overrides`, or loaded from a folder or hub name."""

    spec: Name | None = None
    load: Name | None = None
    overrides: dict[str, Any] = {}
    head: Name | None = None
    options: dict[str, Any] = {}


class TokenizerTraining(Section):
    """A tokenizer learned from the training texts by the spec's tokenizer section."""

    vocab: Size | None = None


class TokenizerSource(Section):
    """Where the tokenizer comes from: a folder or hub name, or trained; neither: beside the model."""

    load: Name | None = None
    train: TokenizerTraining | None = None


# --- data


class TextSource(Section):
    """Lines or whole files of plain text."""

    kind: Literal["text"]
    files: Name | tuple[Name, ...]
    text: Literal["line", "paragraph", "file"] = "line"
    language: Name | None = None


class TableSource(Section):
    """Rows of JSONL, CSV or parquet files; `fields` says which column is what."""

    kind: Literal["jsonl", "csv", "parquet"]
    files: Name | tuple[Name, ...]
    fields: dict[str, Name] = {}
    language: Name | None = None


class SquadSource(Section):
    """Questions and answers in the files of SQuAD 1.1 and 2.0."""

    kind: Literal["squad"]
    files: Name | tuple[Name, ...]
    language: Name | None = None


class HubSource(Section):
    """A dataset by its name on the hub."""

    kind: Literal["hub"]
    name: Name
    subset: Name | None = None
    split: Name = "train"
    fields: dict[str, Name] = {}
    language: Name | None = None


Source = Annotated[TextSource | TableSource | SquadSource | HubSource, Field(discriminator="kind")]


class HeldOutShare(Section):
    """A share of the training texts, drawn by the seed, that is kept for evaluation."""

    share: Open


class Mix(Section):
    """How often texts of each language are drawn: p^alpha (Lample and Conneau 2019, section 3.1)."""

    by: Literal["language"] = "language"
    alpha: Share = 1.0


class LineLayout(Section):
    """One row a text, cut at `length`; texts of like length share a batch."""

    kind: Literal["lines"]
    length: Size | None = None


class PackedLayout(Section):
    """Rows of exactly `length` tokens filled with texts one after the other; `apart` hides texts
    of a row from each other.
    """

    kind: Literal["packed"]
    length: Size
    documents: Literal["joined", "apart"] = "joined"


class StreamLayout(Section):
    """Each row of the batch is one long text read segment by segment (Dai et al. 2019, section
    3.2); memory begins anew with each text or each epoch.
    """

    kind: Literal["stream"]
    length: Size
    reset: Literal["text", "epoch"] = "epoch"


class PairLayout(Section):
    """One row a pair of texts, such as a sentence and its translation."""

    kind: Literal["pairs"]
    length: Size | None = None


class WindowLayout(Section):
    """Texts longer than `length` as windows that overlap by `stride` tokens."""

    kind: Literal["windows"]
    length: Size
    stride: Index = 0


Layout = Annotated[
    LineLayout | PackedLayout | StreamLayout | PairLayout | WindowLayout,
    Field(discriminator="kind"),
]


class Data(Section):
    """Texts to learn from, texts held out, and how they become rows."""

    train: tuple[Source, ...] = Field(min_length=1)
    held_out: HeldOutShare | tuple[Source, ...] | None = None
    mix: Mix | None = None
    layout: Layout = LineLayout(kind="lines")


# --- objectives


class CausalObjective(Section):
    """The next token at every place."""

    kind: Literal["causal"]


class MaskedObjective(Section):
    """Tokens hidden at random (Devlin et al. 2019, 3.1); `draw: batch` asks ceil(probability ·
    places) of a whole padded batch, as XLM's own code does, `row` a share of each row. `fates` are
    the shares of these that become the mask token, become a random one, and stay.
    """

    kind: Literal["masked"]
    probability: Open = 0.15
    fates: tuple[Probability, Probability, Probability] = (0.8, 0.1, 0.1)
    draw: Literal["row", "batch"] = "row"
    frequency_power: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
    whole_words: bool = False


class TranslationObjective(Section):
    """Masked language modelling over a sentence and its translation (Lample and Conneau 2019, 3.4)."""

    kind: Literal["translation"]
    probability: Open = 0.15
    fates: tuple[Probability, Probability, Probability] = (0.8, 0.1, 0.1)
    draw: Literal["row", "batch"] = "row"
    frequency_power: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
    whole_words: bool = False
    reset_positions: bool = True


class Spans(Section):
    """How long the predicted spans are and where they begin (Yang et al. 2019, A.4).

    `tail: published` leaves out a span that would reach the last token, as the authors' code does,
    so that the last tokens are asked less often; `even` cuts it off there.
    """

    longest: Size = 5
    weights: Literal["inverse", "uniform"] = "inverse"
    start: Literal["word", "token"] = "word"
    tail: Literal["published", "even"] = "published"


class Segments(Section):
    """Rows of two segments A and B; a share of the Bs comes from elsewhere (Yang et al. 2019, 2.5)."""

    pairs: bool = False
    random: Probability = 0.5


class PermutationObjective(Section):
    """Permutation language modelling (Yang et al. 2019); `predict` asks that many tokens a row,
    null as the spans fall. Special tokens are never asked; "ordered" ones have a rank in the order,
    as published, "context" is seen by all.
    """

    kind: Literal["permutation"]
    spans: Spans = Spans()
    context: Size = 6
    predict: Size | None = None
    special_tokens: Literal["ordered", "context"] = "ordered"
    segments: Segments = Segments()
    both_directions: bool = False


class RecurrentObjective(Section):
    """The next token of a stream whose memory is carried from segment to segment (Dai et al. 2019)."""

    kind: Literal["recurrent"]
    evaluation_memory: Size | None = None


Plain = Annotated[
    CausalObjective
    | MaskedObjective
    | TranslationObjective
    | PermutationObjective
    | RecurrentObjective,
    Field(discriminator="kind"),
]


class Part(Section):
    """One objective of a mix, drawn for `weight` of the steps, over its own data where given."""

    weight: Weight = 1.0
    objective: Plain
    data: Data | None = None


class MixObjective(Section):
    """Several objectives in turn, drawn a step by their weights."""

    kind: Literal["mix"]
    parts: tuple[Part, ...] = Field(min_length=2)


Objective = Annotated[
    CausalObjective
    | MaskedObjective
    | TranslationObjective
    | PermutationObjective
    | RecurrentObjective
    | MixObjective,
    Field(discriminator="kind"),
]


# --- tasks


class TaskBase(Section):
    """What all tasks share: which column is what, and the metrics that are told."""

    fields: dict[str, Name] = {}
    metrics: tuple[Name, ...] = ()
    length: Size | None = None


class ClassificationTask(TaskBase):
    """A label (or a number, or several labels) for one text."""

    kind: Literal["classification"]
    problem: Literal["single", "multiple", "regression"] = "single"
    labels: Literal["from_data"] | tuple[Name, ...] = "from_data"


class PairTask(TaskBase):
    """A label for two texts."""

    kind: Literal["pairs"]
    problem: Literal["single", "multiple", "regression"] = "single"
    labels: Literal["from_data"] | tuple[Name, ...] = "from_data"


class ChoiceTask(TaskBase):
    """Which of several continuations fits a text."""

    kind: Literal["choices"]


class TokenTask(TaskBase):
    """A label for each word, given to its first sub-token or to all of them."""

    kind: Literal["tokens"]
    labels: Literal["from_data"] | tuple[Name, ...] = "from_data"
    label_on: Literal["first", "all"] = "first"
    scheme: Literal["iob2", "none"] = "iob2"


class QuestionTask(TaskBase):
    """The span of a text that answers a question, over overlapping windows."""

    kind: Literal["question_answering"]
    length: Size = 384
    stride: Index = 128
    best: Size = 20
    longest_answer: Size = 30
    no_answer: bool = False


class CausalTask(TaskBase):
    """A continuation of a prompt: the prompt is read, only the answer is asked."""

    kind: Literal["causal"]


Task = Annotated[
    ClassificationTask | PairTask | ChoiceTask | TokenTask | QuestionTask | CausalTask,
    Field(discriminator="kind"),
]


class LoraAdapter(Section):
    """Low-rank updates beside frozen weights (Hu et al. 2021), by peft."""

    kind: Literal["lora"]
    rank: Size = 8
    alpha: Weight = 16.0
    dropout: Probability = 0.0
    on: tuple[Name, ...] = ("query", "value")


# --- the run


class Batch(Section):
    """The global batch of one step: so many rows, or rows until so many tokens; `split` rows a
    process are computed at a time, which changes memory and nothing else.
    """

    rows: Size | None = None
    tokens: Size | None = None
    split: Size | None = None


class Optimizer(Section):
    """AdamW (Loshchilov and Hutter 2019); `layer_decay` gives each layer the rate of the one above
    times it; `frozen` are patterns of parameter names that stay.
    """

    kind: Literal["adamw"] = "adamw"
    rate: Rate = 1e-3
    betas: tuple[Beta, Beta] = (0.9, 0.999)
    epsilon: Weight = 1e-8
    decay: Annotated[float, Field(ge=0.0, le=1.0)] = 0.01
    layer_decay: Share = 1.0
    clip: Weight | None = 1.0
    frozen: tuple[Name, ...] = ()


class Schedule(Section):
    """The rate over the steps: up over `warm_up` (steps, or a share below 1), then down to `floor`
    times the rate.
    """

    warm_up: Annotated[int, Field(ge=0)] | Annotated[float, Field(ge=0.0, lt=1.0)] = 0.1
    decay: Literal["linear", "cosine", "inverse_sqrt", "constant"] = "linear"
    floor: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0


class Length(Section):
    """How long a run is: steps, or epochs over the training rows."""

    steps: Size | None = None
    epochs: Size | None = None


class Evaluate(Section):
    """How often the held-out texts are scored (null: at the end), by what the best is told, and
    after how many evaluations without a better one the run ends.
    """

    every: Size | None = None
    best: Name = "loss"
    patience: Size | None = None
    rows: Size | None = None


class Save(Section):
    """How often the run is saved (null: at the end), and how many checkpoints beside last and best
    are kept.
    """

    every: Size | None = None
    keep: Size = 2


class Devices(Section):
    """How the processes share the work; the only section that may differ when a run goes on."""

    shard: Literal["all", "none"] = "none"
    tensor: Size = 1
    checkpoint_activations: bool = False
    compute: Literal["auto", "cpu", "cuda"] = "auto"

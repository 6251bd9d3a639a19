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
    """A spec file or a name such as tiny/xlnet; the weights are drawn anew."""
    load: Name | None = None
    """A folder or a name on the hub with a network's weights."""
    overrides: dict[str, Any] = {}
    """Changes to the network's spec, as dotted keys or as sections."""
    head: Name | None = None
    """The head that is trained; null: the one of the objective or task."""
    options: dict[str, Any] = {}
    """Options of the head."""


class TokenizerTraining(Section):
    """A tokenizer learned from the training texts by the spec's tokenizer section."""

    vocab: Size | None = None
    """How many ids are learned; null: as many as the network's table has rows."""


class TokenizerSource(Section):
    """Where the tokenizer comes from: a folder or hub name, or trained; neither: beside the
    model.
    """

    load: Name | None = None
    """A folder or a name on the hub with a tokenizer."""
    train: TokenizerTraining | None = None
    """A tokenizer is learned from the training texts."""


# --- data


class TextSource(Section):
    """Lines or whole files of plain text."""

    kind: Literal["text"]
    """Which of the kinds this is."""
    files: Name | tuple[Name, ...]
    """A path, a pattern such as "corpus/*.txt", or a list of them, from the folder of the run."""
    text: Literal["line", "paragraph", "file"] = "line"
    """What one text is: a line, a paragraph up to an empty line, or a file."""
    language: Name | None = None
    """The language of these texts; null: not named, or a column of each row."""


class TableSource(Section):
    """Rows of JSONL, CSV or parquet files; `fields` says which column is what."""

    kind: Literal["jsonl", "csv", "parquet"]
    """Which of the kinds this is."""
    files: Name | tuple[Name, ...]
    """A path, a pattern such as "corpus/*.txt", or a list of them, from the folder of the run."""
    fields: dict[str, Name] = {}
    """The column of each role, by the role; left out: columns have the names of their roles."""
    language: Name | None = None
    """The language of these texts; null: not named, or a column of each row."""


class SquadSource(Section):
    """Questions and answers in the files of SQuAD 1.1 and 2.0."""

    kind: Literal["squad"]
    """Which of the kinds this is."""
    files: Name | tuple[Name, ...]
    """A path, a pattern such as "corpus/*.txt", or a list of them, from the folder of the run."""
    language: Name | None = None
    """The language of these texts; null: not named, or a column of each row."""


class HubSource(Section):
    """A dataset by its name on the hub."""

    kind: Literal["hub"]
    """Which of the kinds this is."""
    name: Name
    """The name of the dataset."""
    subset: Name | None = None
    """The subset of the dataset, where it has several."""
    split: Name = "train"
    """The split of the dataset."""
    fields: dict[str, Name] = {}
    """The column of each role, by the role; left out: columns have the names of their roles."""
    language: Name | None = None
    """The language of these texts; null: not named, or a column of each row."""


Source = Annotated[TextSource | TableSource | SquadSource | HubSource, Field(discriminator="kind")]


class HeldOutShare(Section):
    """A share of the training texts, drawn by the seed, that is kept for evaluation."""

    share: Open
    """The share of the training texts that is held out."""


class Mix(Section):
    """How often texts of each language are drawn: p^alpha (Lample and Conneau 2019, section
    3.1).
    """

    by: Literal["language"] = "language"
    """What is mixed."""
    alpha: Share = 1.0
    """The exponent of the shares: 1 draws as many as there are, less draws more of the rare."""


class LineLayout(Section):
    """One row a text, cut at `length`; texts of like length share a batch."""

    kind: Literal["lines"]
    """Which of the kinds this is."""
    length: Size | None = None
    """The most tokens of a row; null: as many as the network has positions for."""


class PackedLayout(Section):
    """Rows of exactly `length` tokens filled with texts one after the other; `apart` hides texts
    of a row from each other.
    """

    kind: Literal["packed"]
    """Which of the kinds this is."""
    length: Size
    """The tokens of each row."""
    documents: Literal["joined", "apart"] = "joined"
    """Whether texts of one row see each other."""


class StreamLayout(Section):
    """Each row of the batch is one long text read segment by segment (Dai et al. 2019, section
    3.2); memory begins anew with each text or each epoch.
    """

    kind: Literal["stream"]
    """Which of the kinds this is."""
    length: Size
    """The tokens of a segment."""
    reset: Literal["text", "epoch"] = "epoch"
    """Where memory begins anew."""


class PairLayout(Section):
    """One row a pair of texts, such as a sentence and its translation."""

    kind: Literal["pairs"]
    """Which of the kinds this is."""
    length: Size | None = None
    """The most tokens of a row; null: as many as the network has positions for."""


class WindowLayout(Section):
    """Texts longer than `length` as windows that overlap by `stride` tokens."""

    kind: Literal["windows"]
    """Which of the kinds this is."""
    length: Size
    """The most tokens of a window."""
    stride: Index = 0
    """How many tokens two windows share."""


Layout = Annotated[
    LineLayout | PackedLayout | StreamLayout | PairLayout | WindowLayout,
    Field(discriminator="kind"),
]


class Data(Section):
    """Texts to learn from, texts held out, and how they become rows."""

    train: tuple[Source, ...] = Field(min_length=1)
    """The texts that are learned from."""
    held_out: HeldOutShare | tuple[Source, ...] | None = None
    """A share of the training texts or texts of their own, for evaluation; null: none."""
    mix: Mix | None = None
    """How often texts of each language are drawn; null: as many as there are."""
    layout: Layout = LineLayout(kind="lines")
    """How texts become rows."""


# --- objectives


class CausalObjective(Section):
    """The next token at every place."""

    kind: Literal["causal"]
    """Which of the kinds this is."""


class MaskedObjective(Section):
    """Tokens hidden at random (Devlin et al. 2019, 3.1); `draw: batch` asks ceil(probability ·
    places) of a whole padded batch, as XLM's own code does, `row` a share of each row. `fates` are
    the shares of these that become the mask token, become a random one, and stay.
    """

    kind: Literal["masked"]
    """Which of the kinds this is."""
    probability: Open = 0.15
    """The share of tokens that is predicted."""
    fates: tuple[Probability, Probability, Probability] = (0.8, 0.1, 0.1)
    """How often a predicted token is hidden, replaced by a random one, and kept."""
    draw: Literal["row", "batch"] = "row"
    """Whether tokens are drawn from a whole padded batch, or a share of each row."""
    frequency_power: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
    """Tokens are drawn with the weight count^-power: 0 draws all alike, 0.5 is XLM's."""
    whole_words: bool = False
    """Whether all tokens of a word are predicted together."""


class TranslationObjective(Section):
    """Masked language modelling over a sentence and its translation (Lample and Conneau 2019,
    3.4).
    """

    kind: Literal["translation"]
    """Which of the kinds this is."""
    probability: Open = 0.15
    """The share of tokens that is predicted."""
    fates: tuple[Probability, Probability, Probability] = (0.8, 0.1, 0.1)
    """How often a predicted token is hidden, replaced by a random one, and kept."""
    draw: Literal["row", "batch"] = "row"
    """Whether tokens are drawn from a whole padded batch, or a share of each row."""
    frequency_power: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
    """Tokens are drawn with the weight count^-power: 0 draws all alike, 0.5 is XLM's."""
    whole_words: bool = False
    """Whether all tokens of a word are predicted together."""
    reset_positions: bool = True
    """Whether positions of the second text are counted from 0 again."""


class Spans(Section):
    """How long the predicted spans are and where they begin (Yang et al. 2019, A.4).

    `tail: published` leaves out a span that would reach the last token, as the authors' code does,
    so that the last tokens are asked less often; `even` cuts it off there.
    """

    longest: Size = 5
    """The most tokens of a span."""
    weights: Literal["inverse", "uniform"] = "inverse"
    """How often each length is drawn: by 1 / length, or all alike."""
    start: Literal["word", "token"] = "word"
    """Where spans begin."""
    tail: Literal["published", "even"] = "published"
    """What becomes of a span that would reach the last token: left out, or cut off there."""


class Segments(Section):
    """Rows of two segments A and B; a share of the Bs comes from elsewhere (Yang et al. 2019,
    2.5).
    """

    pairs: bool = False
    """Whether rows hold two segments."""
    random: Probability = 0.5
    """The share of second segments that come from elsewhere."""


class PermutationObjective(Section):
    """Permutation language modelling (Yang et al. 2019); `predict` asks that many tokens a row,
    null as the spans fall. Special tokens are never asked; "ordered" ones have a rank in the order,
    as published, "context" is seen by all.
    """

    kind: Literal["permutation"]
    """Which of the kinds this is."""
    spans: Spans = Spans()
    """The spans that are predicted."""
    context: Size = 6
    """One token of so many is predicted (K in the paper)."""
    predict: Size | None = None
    """How many tokens of a row are predicted; null: as the spans fall."""
    special_tokens: Literal["ordered", "context"] = "ordered"
    """Whether special tokens have a rank in the order, or are seen by all."""
    segments: Segments = Segments()
    """Whether rows hold two segments."""
    both_directions: bool = False
    """Whether half of the rows are read backward."""


class RecurrentObjective(Section):
    """The next token of a stream whose memory is carried from segment to segment (Dai et al.
    2019).
    """

    kind: Literal["recurrent"]
    """Which of the kinds this is."""
    evaluation_memory: Size | None = None
    """Tokens of memory in evaluation; null: as many as in training."""


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
    """How often this objective is drawn, beside the others."""
    objective: Plain
    """The objective."""
    data: Data | None = None
    """Its own data; null: the recipe's."""


class MixObjective(Section):
    """Several objectives in turn, drawn a step by their weights."""

    kind: Literal["mix"]
    """Which of the kinds this is."""
    parts: tuple[Part, ...] = Field(min_length=2)
    """The objectives."""


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
    """Low-rank updates beside frozen weights (Hu et al. 2021), by peft."""

    kind: Literal["lora"]
    """Which of the kinds this is."""
    rank: Size = 8
    """The rank of the updates."""
    alpha: Weight = 16.0
    """Updates are multiplied by alpha / rank."""
    dropout: Probability = 0.0
    """The probability of dropout before the updates."""
    on: tuple[Name, ...] = ("query", "value")
    """The ends of the names of the layers that have updates."""


# --- the run


class Batch(Section):
    """The global batch of one step: so many rows, or rows until so many tokens; `split` rows a
    process are computed at a time, which changes memory and nothing else.
    """

    rows: Size | None = None
    """How many rows."""
    tokens: Size | None = None
    """How many tokens: rows are added until there are so many."""
    split: Size | None = None
    """How many rows a process computes at a time; null: all."""


class Optimizer(Section):
    """AdamW (Loshchilov and Hutter 2019); `layer_decay` gives each layer the rate of the one above
    times it; `frozen` are patterns of parameter names that stay.
    """

    kind: Literal["adamw"] = "adamw"
    """The algorithm."""
    rate: Rate = 1e-3
    """The highest learning rate."""
    betas: tuple[Beta, Beta] = (0.9, 0.999)
    """How slowly the two moments change."""
    epsilon: Weight = 1e-8
    """What is added to the root of the second moment."""
    decay: Annotated[float, Field(ge=0.0, le=1.0)] = 0.01
    """How much weights shrink in a step, times the rate; not biases and norms."""
    layer_decay: Share = 1.0
    """The rate of a layer is that of the layer above times this."""
    clip: Weight | None = 1.0
    """The longest gradient, over all weights; null: any."""
    frozen: tuple[Name, ...] = ()
    """Patterns of the names of weights that stay as they are."""


class Schedule(Section):
    """The rate over the steps: up over `warm_up` (steps, or a share below 1), then down to `floor`
    times the rate.
    """

    warm_up: Annotated[int, Field(ge=0)] | Annotated[float, Field(ge=0.0, lt=1.0)] = 0.1
    """How many steps the rate rises, or which share of all steps."""
    decay: Literal["linear", "cosine", "inverse_sqrt", "constant"] = "linear"
    """How the rate falls after that."""
    floor: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
    """The lowest rate after that, as a share of the highest."""


class Length(Section):
    """How long a run is: steps, or epochs over the training rows."""

    steps: Size | None = None
    """How many steps."""
    epochs: Size | None = None
    """How often every training row is read."""


class Evaluate(Section):
    """How often the held-out texts are scored (null: at the end), by what the best is told, and
    after how many evaluations without a better one the run ends.
    """

    every: Size | None = None
    """After how many steps; null: at the end."""
    best: Name = "loss"
    """The metric that says which checkpoint is best."""
    patience: Size | None = None
    """After how many evaluations without a better one the run ends; null: never."""
    rows: Size | None = None
    """How many held-out rows are scored; null: all."""


class Save(Section):
    """How often the run is saved (null: at the end), and how many checkpoints beside last and best
    are kept.
    """

    every: Size | None = None
    """After how many steps; null: at the end."""
    keep: Size = 2
    """How many checkpoints are kept beside last and best."""


class Devices(Section):
    """How the processes share the work; the only section that may differ when a run goes on."""

    shard: Literal["all", "none"] = "none"
    """Whether weights and moments are shared out among the processes."""
    tensor: Size = 1
    """How many processes share each layer."""
    checkpoint_activations: bool = False
    """Whether activations are computed again in the backward pass."""
    compute: Literal["auto", "cpu", "cuda"] = "auto"
    """Where is computed; auto: on a card where there is one."""

"""What is predicted in pretraining."""

from typing import Annotated, Literal

from pydantic import Field

from engine.spec.axes import Probability, Size
from engine.training.recipe.sections.base import Open, Weight
from engine.training.recipe.sections.data import Data
from tokenization.section import Section


class CausalObjective(Section):
    """The next token at every place."""

    kind: Literal["causal"]
    """Which of the kinds this is."""


class Masking(Section):
    """Which tokens masked objectives predict, and what stands in their places."""

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


class MaskedObjective(Masking):
    """Tokens hidden at random (Devlin et al. 2019, 3.1); `draw: batch` asks ceil(probability ·
    places) of a whole padded batch, as XLM's own code does, `row` a share of each row. `fates` are
    the shares of these that become the mask token, become a random one, and stay.
    """

    kind: Literal["masked"]
    """Which of the kinds this is."""


class TranslationObjective(Masking):
    """Masked language modelling over a sentence and its translation (Lample and Conneau 2019,
    3.4).
    """

    kind: Literal["translation"]
    """Which of the kinds this is."""
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

"""Texts to learn from, texts held out, and how they become rows."""

from typing import Annotated, Literal

from pydantic import Field

from engine.spec.axes import Index, Size
from engine.training.recipe.sections.base import Name, Open, Share
from tokenization.section import Section


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

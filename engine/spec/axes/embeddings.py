"""The bottom of the network: the tables whose rows are summed."""

from typing import Literal

from engine.spec.axes.base import Axis, Factor, Index, Size


class TokenTable(Axis):
    """The token table: plain, narrower than the model (projected up), or adaptive (Baevski and Auli
    2019).
    """

    padding: Index | None = None
    """The id of padding, whose row is zero and is not trained; null: every row is trained."""
    width: Size | None = None
    """Width of the table, projected to that of the embeddings; null: as wide as these."""
    cutoffs: tuple[Size, ...] = ()
    """The first id of each cluster but the first, ascending; without any, one plain table."""
    divisor: Size = 1
    """Each cluster is narrower than the one before by this factor."""
    projection_bias: bool = False
    """Whether the projection to the model width has a bias vector."""


class SegmentTable(Axis):
    """Token types: a table of their own, or rows of the token table (XLM, GPT-2)."""

    source: Literal["table", "tokens"] = "table"
    """Where the rows are: in a table of their own, or in the token table."""
    count: Size | None = None
    """Number of token types, where they have a table of their own."""


class LanguageTable(Axis):
    """Languages, one row each."""

    count: Size = 1
    """Number of languages."""
    embed: bool = True
    """Whether there is a table; false keeps only the number (xlm-mlm-100-1280)."""


class Tables(Axis):
    """The tables that are summed at the bottom of the network."""

    tokens: TokenTable = TokenTable()
    """One row for each token of the vocabulary."""
    segments: SegmentTable | None = None
    """One row for each token type; null: none."""
    languages: LanguageTable | None = None
    """One row for each language; null: none."""


class Embeddings(Axis):
    """The bottom of the network."""

    tables: Tables = Tables()
    """The tables that are summed."""
    width: Size | None = None
    """Width of all tables and of the norm; their sum is then projected to the model width (Lan et
    al. 2020). Null: the model width."""
    scale: Literal["none", "sqrt_model"] | Factor = "none"
    """What token vectors are multiplied by: a number, or with `sqrt_model` the root of the model
    width."""
    norm: bool = False
    """Whether the sum is normalised."""

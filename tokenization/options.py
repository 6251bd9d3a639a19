"""What a tokenizer is, as data: the `tokenizer:` section of a spec.

Everything in which published families differ is a named field here, so that a family is a few lines
of YAML. The section is a union whose members differ in `algorithm`; each member is frozen and refuses unknown
keys.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

from tokenization.errors import TokenizationError, nearest
from tokenization.files.staging import is_plain
from tokenization.section import Section

Side = Literal["left", "right"]
Role = Literal["bos", "eos", "unk", "sep", "pad", "cls", "mask"]
ROLES: tuple[Role, ...] = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")


def _plain(name: str) -> str:
    if not is_plain(name):
        raise ValueError("must be the name of a file in the tokenizer's directory, not a path")
    return name


FileName = Annotated[str, AfterValidator(_plain)]


def _or_text(schema: dict[str, Any]) -> None:
    """The JSON Schema of a section that its text may stand for."""
    section = dict(schema)
    schema.clear()
    schema["anyOf"] = [{"type": "string"}, section]


class AddedToken(Section):
    """A token that is never split, with the way in which it is found in a text."""

    model_config = ConfigDict(json_schema_extra=_or_text)

    content: str = Field(min_length=1)
    """The text of the token."""
    lstrip: bool = False
    """Whether it swallows white space before it."""
    rstrip: bool = False
    """Whether it swallows white space behind it."""
    single_word: bool = False
    """Whether it is not found inside a word."""
    normalized: bool = False
    """Whether the token itself becomes small where the tokenizer lower-cases text."""
    special: bool = True
    """Whether `skip_special_tokens` leaves it out in decoding."""
    id: int | None = Field(default=None, ge=0)
    """Its id; null: that of the vocabulary, or the next one that is free."""

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"content": value}
        return value


class SpecialTokens(Section):
    """The special tokens by their role; `additional` have none, but are never split either."""

    bos: AddedToken | None = None
    """Begins a text."""
    eos: AddedToken | None = None
    """Ends a text."""
    unk: AddedToken | None = None
    """Stands for what the vocabulary lacks."""
    sep: AddedToken | None = None
    """Ends each of two texts."""
    pad: AddedToken | None = None
    """Fills shorter rows."""
    cls: AddedToken | None = None
    """Its state stands for the whole text."""
    mask: AddedToken | None = None
    """Hides a token."""
    additional: tuple[AddedToken, ...] = ()
    """Further ones, without a role."""

    def in_order(self) -> tuple[AddedToken, ...]:
        """All of them without repeats, in the order in which missing ones receive new ids."""
        found: dict[str, AddedToken] = {}
        for token in (*(getattr(self, role) for role in ROLES), *self.additional):
            if token is not None:
                found.setdefault(token.content, token)
        return tuple(found.values())

    def by_role(self) -> dict[Role, str]:
        """The text of each role that has a token."""
        return {
            role: getattr(self, role).content for role in ROLES if getattr(self, role) is not None
        }


class Format(Section):
    """How one text (`A`) or two (`A`, `B`) become a sequence: places written left to right as
    `what:type`.

    `what` is `A`, `B`, a role of `special_tokens` (`sep`, `cls`, …) or `start`; `type` is the token
    type (0 where it is left out).
    """

    single: str = "A"
    """Places of one text."""
    pair: str = "A B:1"
    """Places of two texts."""
    start: Role = "bos"
    """The role that `start` stands for: XLM's authors begin with `</s>` (facebookresearch/XLM issues
    43 and 130), transformers with `<s>`."""

    @model_validator(mode="after")
    def _places(self) -> "Format":
        for name, needed in (("single", {"A"}), ("pair", {"A", "B"})):
            places = [place.partition(":") for place in getattr(self, name).split()]
            for what, _, kind in places:
                if what not in (*ROLES, "A", "B", "start"):
                    raise ValueError(
                        f"format.{name}: {what!r} is not one of A, B, start, {', '.join(ROLES)}"
                    )
                if kind and not kind.isdigit():
                    raise ValueError(
                        f"format.{name}: the type after {what!r} must be a whole number, not {kind!r}"
                    )
            texts = [what for what, _, _ in places if what in "AB"]
            if sorted(texts) != sorted(needed):
                raise ValueError(
                    f"format.{name}: must hold {' and '.join(sorted(needed))} once each, not {texts}"
                )
        return self


class CommonOptions(Section):
    """What every algorithm shares."""

    special_tokens: SpecialTokens = SpecialTokens()
    """The special tokens by their role."""
    added_tokens: tuple[AddedToken, ...] = ()
    """Tokens beside the vocabulary, which are never split."""
    format: Format = Format()
    """How texts become a sequence."""
    padding_side: Side = "right"
    """Where shorter rows are filled."""
    truncation_side: Side = "right"
    """Where a text that is too long is cut."""
    padding_type: int = 0
    """The token type of padding."""
    outputs: tuple[Literal["token_type_ids", "attention_mask"], ...] = (
        "token_type_ids",
        "attention_mask",
    )
    """The arrays that a call returns beside `input_ids`."""
    max_length: int | None = Field(default=None, gt=0)
    """The length that `truncation=True` uses where a call names none."""
    split_special_tokens: bool = False
    """Whether texts of special tokens in a text are taken apart like all else, unless a call says
    otherwise."""
    decoding: Literal["spaced", "joined"] = "spaced"
    """How added tokens meet text in `decode`: `spaced` (one space between them) or `joined` (nothing:
    XLNet)."""
    clean_up_spaces: bool = False
    """Whether `decode` takes the spaces before punctuation away."""
    reserved: tuple[str, ...] = ()
    """The first ids of a newly trained vocabulary."""
    languages: dict[str, int] | None = None
    """The id of each language; with it, a call that names a language returns `langs`."""
    default_language: str | None = None
    """The language of a call that names none; null: the tokenizer has no use for one."""
    missing_language: Literal["error", "warn", "ignore"] = "warn"
    """What happens where a call names no language, and there is more than one."""
    unknown_language: Literal["error", "warn"] = "error"
    """What happens to a language that is not listed: an error, or, as in transformers, a warning and
    no `langs`."""

    @field_validator("languages")
    @classmethod
    def _different_ids(cls, value: dict[str, int] | None) -> dict[str, int] | None:
        if value and len(set(value.values())) < len(value):
            raise ValueError("languages: two languages have the same id")
        return value


class Sampling(Section):
    """Subword regularization (Kudo 2018, arXiv:1804.10959): a random segmentation at each call."""

    enable_sampling: bool = False
    """Whether segmentations are drawn."""
    nbest_size: int = -1
    """How many of the best segmentations are drawn among: 0 or 1 never samples, a negative number
    takes all."""
    alpha: float = 0.1
    """Flattens the distribution (towards 0) or sharpens it."""


class PieceIds(Section):
    """Where pieces stand in the model's vocabulary, as fairseq moves them."""

    offset: int = Field(default=0, ge=0)
    """Added to the number of each piece."""
    first: tuple[str, ...] = ()
    """Tokens before the pieces."""
    last: tuple[str, ...] = ()
    """Tokens behind them."""


class SentencePieceOptions(CommonOptions):
    """A SentencePiece model (Kudo and Richardson 2018, arXiv:1808.06226), and what is done to text
    before it.
    """

    algorithm: Literal["sentencepiece"] = "sentencepiece"
    """Kind of tokenizer."""
    model_file: FileName = "sentencepiece.bpe.model"
    """The file of the pieces."""
    backend: Literal["sentencepiece", "tokenizers"] = "sentencepiece"
    """`sentencepiece` gives the results of transformers' slow classes; `tokenizers` those of their
    fast classes, which part from the piece model in details (a trailing space,
    huggingface/transformers issue 33683)."""
    tokenizer_file: FileName = "tokenizer.json"
    """The file that `tokenizers` reads where there is one."""
    library_spaces: Literal["mark", "one"] = "mark"
    """What `tokenizers` does with runs of spaces: `mark` strips the end of a text and writes a run as
    one mark, `one` leaves one space (XLNet)."""
    remove_space: bool = False
    """Whether runs of white space become one space, and none at the ends."""
    normalize_quotes: bool = False
    """Whether quotes written as two signs become double quotes."""
    keep_accents: bool = True
    """Whether accents stay."""
    lower_case: bool = False
    """Whether letters become small."""
    split_digit_comma: bool = False
    """Whether a comma behind a digit becomes a piece of its own (XLNet)."""
    ids: PieceIds = PieceIds()
    """Where pieces stand in the vocabulary."""
    sampling: Sampling = Sampling()
    """Random segmentations."""
    model_type: Literal["unigram", "bpe"] = "unigram"
    """The kind of model that training makes."""


class BytePairOptions(CommonOptions):
    """Byte-pair merges over words (Sennrich et al. 2016, arXiv:1508.07909), as XLM uses them."""

    algorithm: Literal["bpe"] = "bpe"
    """Kind of tokenizer."""
    vocabulary_file: FileName = "vocab.json"
    """The file of the vocabulary."""
    merges_file: FileName = "merges.txt"
    """The file of the merges."""
    end_of_word: str = "</w>"
    """What marks the last symbol of a word."""
    splitting: Literal["moses", "spaces"] = "moses"
    """What makes words: `moses`, or `spaces` for text that was segmented outside."""
    lower_case_and_remove_accents: bool = True
    """Whether words become small and lose their accents."""
    lower_case_first: bool = False
    """Whether a text becomes small before it is split into words, as in transformers 4, and not only
    after, as with the authors and transformers 5."""
    default_language: str | None = "en"
    """The language of a call that names none."""
    segmenters: dict[str, str] = {"zh": "jieba", "ja": "kytea", "th": "pythainlp"}
    """By language, what replaces Moses."""
    romanian_diacritics: tuple[str, ...] = ("ro",)
    """The languages that lose their diacritics as in WMT16."""


class WordOptions(CommonOptions):
    """Whole words, as Transformer-XL uses them (Dai et al. 2019, arXiv:1901.02860)."""

    algorithm: Literal["words"] = "words"
    """Kind of tokenizer."""
    vocabulary_file: FileName = "vocab.txt"
    """The file of the vocabulary."""
    splitting: Literal["moses", "delimiter"] = "moses"
    """What makes words: `moses` (transformers), or `delimiter` as the authors' code splits text that
    is already tokenized."""
    delimiter: str | None = None
    """What stands between words; null: white space. An empty one makes every character a word in both
    ways of splitting; only `delimiter` decodes these without spaces."""
    lower_case: bool = False
    """Whether letters become small."""
    language: str = "en"
    """The language whose rules Moses follows."""
    never_split: tuple[str, ...] | None = None
    """Patterns that Moses leaves whole; null: the special tokens."""
    min_freq: int = Field(default=0, ge=0)
    """How often a word of a new vocabulary occurs at least."""
    max_size: int | None = Field(default=None, gt=0)
    """How many words a new vocabulary holds at most, beside the `reserved` ones; null: all."""


def laid_over(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`changes` laid on `base` as specs are laid on each other: sections key by key, all else is
    replaced.
    """
    result = dict(base)
    for key, value in changes.items():
        old = result.get(key)
        if isinstance(value, Mapping) and isinstance(old, Mapping):
            result[key] = laid_over(old, value)
        else:
            result[key] = value
    return result


ALGORITHMS = (SentencePieceOptions, BytePairOptions, WordOptions)
TokenizerOptions = Annotated[
    SentencePieceOptions | BytePairOptions | WordOptions, Field(discriminator="algorithm")
]

_ADAPTER: TypeAdapter[SentencePieceOptions | BytePairOptions | WordOptions] = TypeAdapter(
    TokenizerOptions
)


def parse_options(section: Any) -> SentencePieceOptions | BytePairOptions | WordOptions:
    """Check a `tokenizer:` section (a mapping, or options already made); raises TokenizationError
    that names every option that is wrong.
    """
    try:
        return check_options(section)
    except ValidationError as error:
        raise TokenizationError("; ".join(explain_options(error))) from None


def check_options(section: Any) -> SentencePieceOptions | BytePairOptions | WordOptions:
    """The options of a section; raises pydantic's ValidationError."""
    return _ADAPTER.validate_python(section)


def explain_options(error: ValidationError, most: int = 5) -> list[str]:
    """What is wrong with each option: its name, what was given and what would be right."""
    return [_problem(issue) for issue in error.errors(include_url=False)[:most]]


def _problem(issue: Any) -> str:
    # The first part of a place names the algorithm.
    path = [str(part)[:60] for part in issue["loc"][1:]]
    if issue["type"] == "extra_forbidden":
        names = {name for kind in ALGORITHMS for name in kind.model_fields}
        meant = nearest(path[0], names) if len(path) == 1 else ""
        return f"there is no option '{'.'.join(path)}'{meant}"
    if issue["type"].startswith("union_tag"):
        path = ["algorithm"]
    text = issue["msg"].removeprefix("Value error, ")
    given = f"{issue['input']!r:.60}"
    return f"{'.'.join(path) or 'options'}: {text}, found {given}"

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
    """A token that is never split, with the way in which it is found in a text.

    `lstrip` and `rstrip` swallow the white space on that side; `single_word` refuses a match inside
    a word; `normalized` lower-cases the token itself where the tokenizer lower-cases text;
    `special` hides it from `decode(skip_special_tokens=True)`; `id` is its place in the vocabulary
    (none: the vocabulary's own place for it, or the next free one).
    """

    model_config = ConfigDict(json_schema_extra=_or_text)

    content: str = Field(min_length=1)
    lstrip: bool = False
    rstrip: bool = False
    single_word: bool = False
    normalized: bool = False
    special: bool = True
    id: int | None = Field(default=None, ge=0)

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"content": value}
        return value


class SpecialTokens(Section):
    """The special tokens by their role; `additional` have none, but are never split either."""

    bos: AddedToken | None = None
    eos: AddedToken | None = None
    unk: AddedToken | None = None
    sep: AddedToken | None = None
    pad: AddedToken | None = None
    cls: AddedToken | None = None
    mask: AddedToken | None = None
    additional: tuple[AddedToken, ...] = ()

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

    `what` is `A`, `B`, a part of SpecialTokens (`sep`, `cls`, …) or `start`; `type` is the token
    type (0 where it is left out). `start` stands for the part that the field `start` names: XLM's
    authors begin with `</s>` (facebookresearch/XLM issues 43 and 130), transformers with `<s>`.
    """

    single: str = "A"
    pair: str = "A B:1"
    start: Role = "bos"

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
    """What every algorithm shares.

    `padding_type` is the token type of padding; `outputs` are the arrays that a call returns beside
    `input_ids`; `max_length` is the length that `truncation=True` uses when the call names none;
    `split_special_tokens` takes the texts of special tokens in a text apart like all else, unless a
    call says otherwise; `decoding` says how added tokens meet text in `decode`: `spaced` (one space
    between them) or `joined` (nothing: XLNet); `reserved` are the first ids of a newly trained
    vocabulary.

    `languages` gives each language its id; with it, a call that names a language returns `langs`.
    `default_language` is taken where a call names none (None: the tokenizer has no use for a
    language). `missing_language` says whether leaving it out is an error, a warning or nothing
    where there is more than one, and `unknown_language` whether one that is not listed is an error
    or, as in transformers, tokenized all the same (without `langs`).
    """

    special_tokens: SpecialTokens = SpecialTokens()
    added_tokens: tuple[AddedToken, ...] = ()
    format: Format = Format()
    padding_side: Side = "right"
    truncation_side: Side = "right"
    padding_type: int = 0
    outputs: tuple[Literal["token_type_ids", "attention_mask"], ...] = (
        "token_type_ids",
        "attention_mask",
    )
    max_length: int | None = Field(default=None, gt=0)
    split_special_tokens: bool = False
    decoding: Literal["spaced", "joined"] = "spaced"
    clean_up_spaces: bool = False
    reserved: tuple[str, ...] = ()
    languages: dict[str, int] | None = None
    default_language: str | None = None
    missing_language: Literal["error", "warn", "ignore"] = "warn"
    unknown_language: Literal["error", "warn"] = "error"

    @field_validator("languages")
    @classmethod
    def _different_ids(cls, value: dict[str, int] | None) -> dict[str, int] | None:
        if value and len(set(value.values())) < len(value):
            raise ValueError("languages: two languages have the same id")
        return value


class Sampling(Section):
    """Subword regularization (Kudo 2018, arXiv:1804.10959): a random segmentation at each call.

    `nbest_size` 0 or 1 never samples, more draws among that many best segmentations, and a negative
    value among all; `alpha` flattens (towards 0) or sharpens the distribution.
    """

    enable_sampling: bool = False
    nbest_size: int = -1
    alpha: float = 0.1


class PieceIds(Section):
    """Where pieces stand in the model's vocabulary: fairseq moves them by `offset` and puts tokens
    before and after.
    """

    offset: int = Field(default=0, ge=0)
    first: tuple[str, ...] = ()
    last: tuple[str, ...] = ()


class SentencePieceOptions(CommonOptions):
    """A SentencePiece model (Kudo and Richardson 2018, arXiv:1808.06226), and what is done to text
    before it.

    `backend`: `sentencepiece` gives the results of transformers' slow classes; `tokenizers` those
    of their fast classes, which part from the piece model in details (a trailing space,
    huggingface/transformers issue 33683), from `tokenizer_file` where there is one.
    `library_spaces` is what those do with runs of spaces: `mark` strips the end of a text and
    writes a run as one mark, `one` leaves one space (XLNet).
    """

    algorithm: Literal["sentencepiece"] = "sentencepiece"
    model_file: FileName = "sentencepiece.bpe.model"
    backend: Literal["sentencepiece", "tokenizers"] = "sentencepiece"
    tokenizer_file: FileName = "tokenizer.json"
    library_spaces: Literal["mark", "one"] = "mark"
    remove_space: bool = False
    normalize_quotes: bool = False
    keep_accents: bool = True
    lower_case: bool = False
    split_digit_comma: bool = False
    ids: PieceIds = PieceIds()
    sampling: Sampling = Sampling()
    model_type: Literal["unigram", "bpe"] = "unigram"


class BytePairOptions(CommonOptions):
    """Byte-pair merges over words (Sennrich et al. 2016, arXiv:1508.07909), as XLM uses them.

    `splitting` makes words: `moses`, or `spaces` for text that was segmented outside. `segmenters`
    names, by language, what replaces Moses; `romanian_diacritics` are the languages that lose their
    diacritics as in WMT16. `lower_case_first` lower-cases a text before it is split into words, as
    transformers 4 does, and not only after, as the authors and transformers 5 do.
    """

    algorithm: Literal["bpe"] = "bpe"
    vocabulary_file: FileName = "vocab.json"
    merges_file: FileName = "merges.txt"
    end_of_word: str = "</w>"
    splitting: Literal["moses", "spaces"] = "moses"
    lower_case_and_remove_accents: bool = True
    lower_case_first: bool = False
    default_language: str | None = "en"
    segmenters: dict[str, str] = {"zh": "jieba", "ja": "kytea", "th": "pythainlp"}
    romanian_diacritics: tuple[str, ...] = ("ro",)


class WordOptions(CommonOptions):
    """Whole words, as Transformer-XL uses them (Dai et al. 2019, arXiv:1901.02860).

    `splitting` makes words: `moses` (transformers), or `delimiter` as the authors' code splits text
    that is already tokenized. An empty `delimiter` makes every character a word in both; only
    `delimiter` decodes them without spaces. A new vocabulary holds the `reserved` words, then the
    `max_size` most frequent ones that occur at least `min_freq` times. `never_split` are patterns
    that Moses leaves whole (none: the special tokens).
    """

    algorithm: Literal["words"] = "words"
    vocabulary_file: FileName = "vocab.txt"
    splitting: Literal["moses", "delimiter"] = "moses"
    delimiter: str | None = None
    lower_case: bool = False
    language: str = "en"
    never_split: tuple[str, ...] | None = None
    min_freq: int = Field(default=0, ge=0)
    max_size: int | None = Field(default=None, gt=0)


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

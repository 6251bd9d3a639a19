"""From the ids of texts to the rows that a model takes."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tokenization.errors import TokenizationError
from tokenization.options import CommonOptions, Role
from tokenization.pipeline.encoding import Encoding, Padder, stack, to_tensors
from tokenization.pipeline.formats import Place, SequenceFormat, spread, spread_ids
from tokenization.pipeline.reading import TokenizedText
from tokenization.pipeline.request import Padding, Request, Tensors
from tokenization.pipeline.windows import Cut, rows, truncate

Row = dict[str, Any]


class Assembler:
    """Cuts, formats and pads what was tokenized, and makes tensors of it."""

    def __init__(
        self, options: CommonOptions, format: SequenceFormat, special_ids: Mapping[Role, int]
    ) -> None:
        self._options = options
        self._format = format
        self._has_pad = "pad" in special_ids
        self._padder = Padder(
            {
                "input_ids": special_ids.get("pad"),
                "attention_mask": 0,
                "token_type_ids": options.padding_type,
                "special_tokens_mask": 1,
                "offset_mapping": (0, 0),
                "sequence_ids": -1,
                "word_ids": None,
            }
        )

    def assemble(
        self, items: Sequence[tuple[TokenizedText, ...]], request: Request, batched: bool
    ) -> Encoding:
        """Make the encoding of a call; `batched` says whether one text was given or a list.

        Raises TokenizationError where rows cannot become tensors, or overflow is requested of a pair
        cut on both sides.
        """
        made = [row for index, item in enumerate(items) for row in self._rows(item, index, request)]
        if batched or request.overflow == "rows" or made[0]["input_ids"]:
            # An empty single sequence stays empty even where rows are padded, as published.
            made = self._padder.pad_rows(made, request.padding)
        if request.length and not batched:
            made = [{**row, "length": len(row["input_ids"])} for row in made]
        single = not batched and request.overflow != "rows"
        if single and request.tensors is None:
            return Encoding(made[0])
        return to_tensors(stack(made), request.tensors)

    def pad(self, encodings: Any, padding: Padding, tensors: Tensors | None) -> Encoding:
        """Pad rows that were made before."""
        if not self._has_pad:
            raise TokenizationError("padding needs a pad token: name one in special_tokens.pad")
        single = isinstance(encodings, Mapping) and not _is_rows(encodings.get("input_ids"))
        if single:
            encodings = [encodings]
        elif isinstance(encodings, Mapping):
            names = list(encodings)
            encodings = [dict(zip(names, values)) for values in zip(*encodings.values())]
        encodings = check_rows(encodings)
        listed = [{name: _to_list(value) for name, value in row.items()} for row in encodings]
        if "attention_mask" in self._options.outputs:
            listed = [{"attention_mask": [1] * len(row["input_ids"]), **row} for row in listed]
        made = self._padder.pad_rows(listed, padding)
        if single and tensors is None:
            return Encoding(made[0])
        return to_tensors(stack(made), tensors)

    def _rows(self, item: tuple[TokenizedText, ...], index: int, request: Request) -> list[Row]:
        how, pair = request.truncation, len(item) == 2
        places = self._format.places(pair, request.add_special_tokens)
        if not how.max_length and request.overflow == "none":
            return [_row(item, places, request)]
        if request.overflow != "none" and pair and how.strategy == "longest_first":
            raise TokenizationError(
                "a pair that is cut on both sides has no overflow: use only_first or only_second"
            )
        lengths = (len(item[0].ids), len(item[1].ids) if pair else None)
        excess = 0
        if how.max_length:
            special = sum(place.text is None for place in places)
            excess = sum(len(text.ids) for text in item) + special - how.max_length
        if request.overflow == "rows":
            cut_rows = [
                _row(_kept(item, cut), places, request) for cut in rows(lengths, excess, how)
            ]
            return [{**row, "overflow_to_sample_mapping": index} for row in cut_rows]
        cut = truncate(lengths, excess, how)
        row = _row(_kept(item, cut), places, request)
        if request.overflow == "tokens":
            row["overflowing_tokens"] = item[cut.overflow_text].ids[cut.overflow]
            row["num_truncated_tokens"] = excess
        return [row]


def _kept(item: tuple[TokenizedText, ...], cut: Cut) -> tuple[TokenizedText, ...]:
    """The parts of the texts that stay."""
    kept = []
    for text, part in zip(item, (cut.first, cut.second)):
        spans, words = text.spans, text.words
        if spans is not None:
            spans = spans[part]
        if words is not None:
            words = words[part]
        kept.append(TokenizedText(text.ids[part], spans, text.language, words))
    return tuple(kept)


def _row(item: tuple[TokenizedText, ...], places: Sequence[Place], request: Request) -> Row:
    """The row of one text or two; each list holds an entry a token."""
    texts = [text.ids for text in item]
    row: Row = {"input_ids": spread_ids(places, texts)}
    if request.token_type_ids:
        row["token_type_ids"] = _repeat(places, texts, [place.kind for place in places])
    if request.attention_mask:
        row["attention_mask"] = [1] * len(row["input_ids"])
    if request.special_tokens_mask:
        special = [int(place.text is None) for place in places]
        row["special_tokens_mask"] = _repeat(places, texts, special)
    if request.offsets:
        row["offset_mapping"] = spread(places, [text.spans or [] for text in item], (0, 0))
    if request.word_ids:
        row["word_ids"] = spread(places, [text.words or [] for text in item], None)
    if request.sequence_ids:
        numbers = [-1 if place.text is None else place.text for place in places]
        row["sequence_ids"] = _repeat(places, texts, numbers)
    if item[0].language is not None and item[-1].language is not None:
        row["langs"] = _repeat(places, texts, _languages(item, places))
    if request.length:
        row["length"] = len(row["input_ids"])
    return row


def _languages(item: tuple[TokenizedText, ...], places: Sequence[Place]) -> list[int]:
    """A special token is of the language of the text before it, the first ones of that of the first
    text; of the text behind it where it has the type of that text alone.
    """
    languages: list[int] = []
    before, *behind = [place for place in places if place.text is not None]
    for place in places:
        opens = behind and place.text is None and place.kind == behind[0].kind != before.kind
        if behind and (opens or place == behind[0]):
            before = behind.pop(0)
        languages.append(item[before.text or 0].language or 0)
    return languages


def _repeat(places: Sequence[Place], texts: list[list[int]], values: Sequence[int]) -> list[int]:
    """One value for each place, repeated over the tokens of a text."""
    repeated: list[int] = []
    for place, value in zip(places, values):
        if place.text is None:
            repeated.append(value)
        else:
            repeated += [value] * len(texts[place.text])
    return repeated


def _is_rows(ids: Any) -> bool:
    """Whether ids are those of several texts."""
    listed = _to_list(ids)
    return (
        not isinstance(listed, list | tuple)
        or not listed
        or isinstance(_to_list(listed[0]), list | tuple)
    )


def check_rows(encodings: Any) -> list[Mapping[str, Any]]:
    """Encodings as a list; raises TokenizationError for what holds no rows of `input_ids`."""
    listed = list(encodings) if isinstance(encodings, Iterable) else [encodings]
    for row in listed:
        ids = row.get("input_ids") if isinstance(row, Mapping) else None
        if not isinstance(_to_list(ids), list | tuple):
            raise TokenizationError(
                f"encodings are what a call of the tokenizer gave, each with input_ids, found {row!r:.60}"
            )
    return listed


def _to_list(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    return value

"""Where two tokenizers part, and how often."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from tokenization.errors import TokenizationError
from tokenization.tokenizer import Tokenizer


@dataclass(frozen=True)
class Divergence:
    """The first text that two tokenizers read differently: its number from 1, and the place of the
    first other token.

    `ours` and `theirs` are the tokens and ids from there on, `start` the place in the text, where
    it is known.
    """

    number: int
    text: str
    place: int
    start: int | None
    ours: list[tuple[str, int]]
    theirs: list[tuple[str, int]]


@dataclass(frozen=True)
class Comparison:
    """How many texts were read, how many of them differently, and the first of those."""

    total: int
    different: int
    first: Divergence | None

    @property
    def rate(self) -> float:
        """The share of texts that are read differently, 0 to 1."""
        if self.total == 0:
            return 0.0
        return self.different / self.total


def compare_tokenizers(
    ours: Any, theirs: Any, texts: Iterable[str], lang: str | None = None
) -> Comparison:
    """Read texts with two tokenizers (ours, or transformers' own) and report where their ids
    differ.
    """
    total = different = 0
    first = None
    read_ours, read_theirs = _reader(ours, lang), _reader(theirs, lang)
    for text in texts:
        total += 1
        left, right = read_ours(text), read_theirs(text)
        if left == right:
            continue
        different += 1
        if first is None:
            first = _divergence(total, text, (ours, left), (theirs, right), lang)
    return Comparison(total, different, first)


def _reader(tokenizer: Any, lang: str | None) -> Callable[[str], list[int]]:
    if isinstance(tokenizer, Tokenizer):
        return lambda text: tokenizer(text, lang=lang)["input_ids"]
    return lambda text: tokenizer(text)["input_ids"]


def _divergence(
    number: int,
    text: str,
    ours: tuple[Any, list[int]],
    theirs: tuple[Any, list[int]],
    lang: str | None,
) -> Divergence:
    left, right = ours[1], theirs[1]
    places = range(min(len(left), len(right)))
    place = next((place for place in places if left[place] != right[place]), len(places))
    start = None
    if isinstance(ours[0], Tokenizer):
        spans = ours[0](text, lang=lang, return_offsets_mapping=True)["offset_mapping"]
        if place < len(spans) and spans[place] != (0, 0):
            start = spans[place][0]
    rest = [
        list(zip(tokenizer.convert_ids_to_tokens(ids[place:]), ids[place:]))
        for tokenizer, ids in (ours, theirs)
    ]
    return Divergence(number, text, place, start, *rest)


def published_tokenizer(directory: str, fast: bool) -> Any:
    """transformers' own tokenizer of a directory; raises TokenizationError where transformers is
    not installed.
    """
    try:
        from transformers import AutoTokenizer
    except ImportError:
        raise TokenizationError(
            "comparing with transformers needs transformers: pip install transformers"
        ) from None
    return AutoTokenizer.from_pretrained(directory, use_fast=fast)

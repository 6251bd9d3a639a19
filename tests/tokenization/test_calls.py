"""Padding, truncation, windows, tensors: one call does what the published call does."""

import warnings
from typing import Any

import numpy
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.tokenization.sides import FAMILIES, SENTENCEPIECE, Sides, published_class
from tests.tokenization.texts import NEWS, SENTENCES, fragments, words
from tokenization import Encoding, TokenizationError

PADDED = tuple(family for family in FAMILIES if family != "transformer-xl")
short = st.lists(fragments, max_size=6).map("".join)
plain = st.lists(words, min_size=1, max_size=8).map(" ".join)

calls = st.fixed_dictionaries(
    {},
    optional={
        "padding": st.sampled_from([True, False, "longest", "max_length", "do_not_pad"]),
        "truncation": st.sampled_from(
            [True, False, "longest_first", "only_first", "only_second", "do_not_truncate"]
        ),
        "max_length": st.integers(1, 16),
        "add_special_tokens": st.booleans(),
        "padding_side": st.sampled_from(["left", "right"]),
        "pad_to_multiple_of": st.sampled_from([None, 4]),
        "return_special_tokens_mask": st.booleans(),
        "return_length": st.booleans(),
        "return_attention_mask": st.booleans(),
        "stride": st.integers(0, 3),
    },
)


def outcome(call: Any) -> dict[str, Any] | str:
    """What a call gives, or that it fails."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return dict(call())
        except ValueError:
            return "an error"


@pytest.mark.parametrize("family", FAMILIES)
@given(
    arguments=calls,
    rows=st.lists(st.tuples(short, short), min_size=1, max_size=3),
    shape=st.sampled_from("sptb"),
)
def test_every_argument(
    sides: dict[str, Sides], family: str, arguments: dict, rows: list, shape: str
) -> None:
    both = sides[family]
    given_texts: tuple[Any, ...] = {
        "s": (rows[0][0],),
        "p": rows[0],
        "t": ([first for first, _ in rows],),
        "b": ([first for first, _ in rows], [second for _, second in rows]),
    }[shape]
    ours = outcome(lambda: both.ours(*given_texts, **arguments))
    theirs = outcome(lambda: both.published(*given_texts, **arguments))
    assert ours == theirs


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("side", ["left", "right"])
@given(
    text=plain,
    pair=st.none() | plain,
    stride=st.integers(0, 3),
    strategy=st.sampled_from(["only_first", "only_second", True]),
)
def test_overflowing_tokens(
    sides: dict[str, Sides],
    family: str,
    side: str,
    text: str,
    pair: Any,
    stride: int,
    strategy: Any,
) -> None:
    both = sides[family]
    arguments: dict[str, Any] = {"truncation": strategy, "max_length": 9, "stride": stride}
    both.published.truncation_side = side
    try:
        theirs = outcome(
            lambda: both.published(text, pair, return_overflowing_tokens=True, **arguments)
        )
    finally:
        both.published.truncation_side = "right"
    ours = outcome(
        lambda: both.ours.with_options(truncation_side=side)(
            text, pair, return_overflowing_tokens="tokens", **arguments
        )
    )
    assert ours == theirs


@pytest.fixture(scope="module")
def fast(sides: dict[str, Sides]) -> dict[str, Any]:
    return {
        family: published_class(family, fast=True).from_pretrained(sides[family].directory)
        for family in SENTENCEPIECE
    }


@pytest.mark.parametrize("family", SENTENCEPIECE)
@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("paired", [False, True])
def test_rows_are_those_of_the_fast_class(
    sides: dict[str, Sides], fast: Any, family: str, side: str, paired: bool
) -> None:
    """On plain text, where the published classes agree, overflow makes the rows that question
    answering uses.
    """
    texts = [SENTENCES["de"], SENTENCES["en"], "Hello world"]
    given_texts = (["All human beings"] * 3, texts) if paired else (texts,)
    arguments: dict[str, Any] = {
        "truncation": "only_second" if paired else "only_first",
        "max_length": 32,
        "stride": 5,
        "padding": True,
        "return_special_tokens_mask": True,
        "return_offsets_mapping": False,
    }
    fast[family].truncation_side = side
    theirs = fast[family](*given_texts, return_overflowing_tokens=True, **arguments)
    ours = sides[family].ours.with_options(truncation_side=side)(
        *given_texts, return_overflowing_tokens=True, **arguments
    )
    assert dict(ours) == dict(theirs)
    assert len(ours.input_ids) > 3


@pytest.mark.parametrize("kind", ["pt", "np"])
@pytest.mark.parametrize("family", PADDED)
def test_tensors(sides: dict[str, Sides], family: str, kind: Any) -> None:
    both, batch = sides[family], [*NEWS, "Hello"]
    ours, theirs = (
        side(batch, padding=True, return_tensors=kind) for side in (both.ours, both.published)
    )
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        assert isinstance(value, torch.Tensor if kind == "pt" else numpy.ndarray)
        assert value.dtype in (torch.int64, numpy.int64)
        assert (value == theirs[name]).all()
    assert both.ours.batch_decode(ours.input_ids) == both.ours.batch_decode(ours.input_ids.tolist())
    assert both.ours.convert_ids_to_tokens(
        list(ours.input_ids[0])
    ) == both.ours.convert_ids_to_tokens(ours.input_ids[0])
    assert both.ours("Hello", return_tensors=kind).input_ids.shape[0] == 1


@pytest.mark.parametrize("family", PADDED)
def test_padding_later_is_padding_now(sides: dict[str, Sides], family: str) -> None:
    ours = sides[family].ours
    now = ours(NEWS, padding=True, return_tensors="pt")
    for later in (
        ours.pad([ours(text) for text in NEWS], return_tensors="pt"),
        ours.pad(ours(NEWS), return_tensors="pt"),
    ):
        assert later.keys() == now.keys()
        assert all((later[name] == now[name]).all() for name in now)


@pytest.mark.parametrize("family", FAMILIES)
def test_words_cut_outside(sides: dict[str, Sides], family: str) -> None:
    both, split = sides[family], [text.split() for text in NEWS]
    for given_texts in ((split[0],), (split[0], split[1]), (split,), (split, split[::-1])):
        ours = both.ours(*given_texts, is_split_into_words=True)
        assert dict(ours) == dict(both.published(*given_texts, is_split_into_words=True))


@pytest.mark.parametrize("family", FAMILIES)
def test_pairs_inside_a_list(sides: dict[str, Sides], family: str) -> None:
    both, pairs = sides[family], list(zip(NEWS, NEWS[::-1]))
    assert dict(both.ours(pairs)) == dict(both.published(pairs))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"text": 3}, "must be a string, not int"),
        ({"text": ["a"], "text_pair": "b"}, "must be a list of as many texts"),
        ({"text": [["a", "b", "c"]]}, "is_split_into_words=True"),
        ({"text": ["a", "b c d"], "return_tensors": "pt"}, "different lengths"),
        ({"text": "a", "padding": "full"}, "'longest', 'max_length', 'do_not_pad'"),
        ({"text": "a", "truncation": "middle"}, "is not one of"),
        ({"text": "a", "return_tensors": "tf"}, "'pt', 'np'"),
        ({"text": "a", "lang": "en"}, "no use for a language"),
        ({"text": "a", "max_lenght": 3}, "takes no 'max_lenght', did you mean 'max_length'"),
        ({"text": "a", "max_length": "3"}, "max_length='3': Input should be a valid integer"),
        (
            {
                "text": "a " * 9,
                "max_length": 5,
                "truncation": True,
                "stride": 7,
                "return_overflowing_tokens": True,
            },
            "stride=7",
        ),
        (
            {
                "text": "a",
                "text_pair": "b",
                "truncation": True,
                "max_length": 4,
                "return_overflowing_tokens": True,
            },
            "only_first",
        ),
    ],
)
def test_errors_for_people(sides: dict[str, Sides], arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(TokenizationError, match=says):
        sides["xlnet"].ours(**arguments)


@pytest.mark.parametrize("family", SENTENCEPIECE)
@pytest.mark.parametrize(
    ("arguments", "number"),
    [
        ({"text": "ab \ud800 c"}, 0),
        ({"text": ["a", "ab \ud800 c"]}, 1),
        ({"text": "a", "text_pair": "ab \udfff"}, 0),
    ],
)
@pytest.mark.parametrize("offsets", [False, True])
def test_half_a_character(
    sides: dict[str, Sides], family: str, arguments: dict[str, Any], number: int, offsets: bool
) -> None:
    """What SentencePiece cannot read is an error there too, but not one that says where."""
    with pytest.raises((TypeError, RuntimeError)):
        sides[family].published(**arguments)
    with pytest.raises(
        TokenizationError, match=rf"^text {number} holds half a character.*at place 3 of 'ab"
    ):
        sides[family].ours(**arguments, return_offsets_mapping=offsets)
    with pytest.raises(TokenizationError, match="at place 3"):
        sides[family].ours.tokenize("ab \ud800 c")


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("length", [1, 2, 3])
def test_fewer_places_than_special_tokens(
    sides: dict[str, Sides], family: str, length: int
) -> None:
    """The published slow classes then leave a single text as it is, and empty both of a pair; the
    warning says so.
    """
    ours, slow = sides[family].ours, sides[family].published
    for texts in (("All human beings",), ("All human beings", "are born free")):
        arguments: dict[str, Any] = {"truncation": True, "max_length": length}
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always")
            ids = ours(*texts, **arguments).input_ids
        assert ids == slow(*texts, **arguments).input_ids
        whole = len(texts) == 1 and ids == ours(*texts).input_ids and len(ids) > length
        assert any("it is left as it is" in str(each.message) for each in found) == whole


def test_no_pad_token(sides: dict[str, Sides]) -> None:
    with pytest.raises(TokenizationError, match="name one in special_tokens"):
        sides["transformer-xl"].ours(NEWS, padding=True)


def test_encoding_is_a_dictionary_with_attributes(sides: dict[str, Sides]) -> None:
    encoding = sides["xlnet"].ours("Hello", return_tensors="pt")
    assert isinstance(encoding, dict) and isinstance(encoding.to("cpu"), Encoding)
    assert encoding.input_ids is encoding["input_ids"]
    with pytest.raises(AttributeError, match="it has input_ids"):
        _ = encoding.offsets

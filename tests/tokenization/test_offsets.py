"""Offsets point into the original text, for every algorithm."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tokenization.sides import FAMILIES, Sides
from tests.tokenization.texts import NEWS, SENTENCES, texts
from tokenization.algorithms.pieces import SPACE


@pytest.mark.parametrize("family", FAMILIES)
@given(batch=st.lists(texts, min_size=2, max_size=4))
def test_the_same_tokens_alone_in_a_batch_and_with_spans_inside_the_text(
    sides: dict[str, Sides], family: str, batch: list[str]
) -> None:
    ours = sides[family].ours
    for text, ids in zip(batch, ours(batch).input_ids):
        encoding = ours(text, return_offsets_mapping=True, return_special_tokens_mask=True)
        assert encoding.input_ids == ours(text).input_ids == ids
        spans = encoding.offset_mapping
        assert len(spans) == len(encoding.input_ids)
        assert all(0 <= start <= end <= len(text) for start, end in spans)
        assert [span for span, special in zip(spans, encoding.special_tokens_mask) if special] == [
            (0, 0)
        ] * sum(encoding.special_tokens_mask)


def bare(token: str) -> str:
    """What a token says, however its algorithm spells it."""
    token = token.replace(SPACE, "").removesuffix("</w>")
    token = {"@-@": "-", "@,@": ",", "@.@": "."}.get(token, token)
    token = token.lower().translate({ord("。"): ".", ord("、"): ",", ord("，"): ","})
    return "".join(char for char in unicodedata.normalize("NFKD", token) if not is_mark(char))


def is_mark(char: str) -> bool:
    return unicodedata.category(char).startswith("M")


@pytest.mark.parametrize("language", SENTENCES)
@pytest.mark.parametrize("family", FAMILIES)
def test_the_text_of_a_span_is_its_token(
    sides: dict[str, Sides], family: str, language: str
) -> None:
    ours, text = sides[family].ours, SENTENCES[language]
    encoding = ours(text, return_offsets_mapping=True, add_special_tokens=False)
    spans = encoding.offset_mapping
    # A syllable that is taken apart lends its whole span to each part, so that a span can say more
    # than its token.
    assert all(
        bare(token) in bare(text[start:end])
        for token, (start, end) in zip(ours.tokenize(text), spans)
    )
    assert spans == sorted(spans)
    covered = {place for start, end in spans for place in range(start, end)}
    assert all(
        text[place].isspace() or is_mark(text[place]) for place in set(range(len(text))) - covered
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_what_normalization_changes_is_still_found(sides: dict[str, Sides], family: str) -> None:
    text = f"  {NEWS[0]}   {NEWS[2]}"
    ours = sides[family].ours
    spans = [
        span for span in ours(text, return_offsets_mapping=True).offset_mapping if span[0] < span[1]
    ]
    assert spans == sorted(spans)
    for wanted in ("23,000", "Smith", "director", "9.30"):
        place = text.index(wanted)
        inside = "".join(
            text[start:end] for start, end in spans if place <= start and end <= place + len(wanted)
        )
        assert inside == wanted


@pytest.mark.parametrize("keep_accents", [True, False])
def test_numbers_before_commas(sides: dict[str, Sides], keep_accents: bool) -> None:
    """A full-width comma is one to the piece model, too, which splits it off a digit."""
    ours = sides["xlnet"].ours.with_options(keep_accents=keep_accents)
    for text in ("in 9，10, and 11,", "1,2,"):
        encoding = ours(text, return_offsets_mapping=True, add_special_tokens=False)
        assert encoding.input_ids == ours(text, add_special_tokens=False).input_ids
        shown = [text[start:end] for start, end in encoding.offset_mapping if start < end]
        assert "".join(shown) == "".join(text.split())
        assert all(char in shown for char in text if char in ",，")


def test_added_tokens_and_pairs(sides: dict[str, Sides]) -> None:
    ours = sides["xlm-roberta-xl"].ours
    first, second = "one <mask> two", "three"
    encoding = ours(first, second, return_offsets_mapping=True)
    place = encoding.input_ids.index(ours.mask_id)
    start, end = encoding.offset_mapping[place]
    assert first[start:end] == "<mask>"
    tail = encoding.offset_mapping[encoding.input_ids.index(ours.sep_id) + 2 :]
    assert "".join(second[start:end] for start, end in tail) == second

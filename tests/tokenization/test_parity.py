"""The same ids, types, masks and texts as the published classes, for every text and every option."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tokenization.sides import FAMILIES, Sides
from tests.tokenization.texts import NEWS, SENTENCES, texts

VARIANTS: dict[str, list[dict[str, Any]]] = {
    "xlnet": [
        {},
        {"do_lower_case": True},
        {"keep_accents": True},
        {"remove_space": False},
        {"do_lower_case": True, "keep_accents": True, "remove_space": False},
    ],
    "xlm": [{}, {"do_lowercase_and_remove_accent": False}],
    "xlm-roberta-xl": [{}],
    "xglm": [{}],
    "transformer-xl": [
        {},
        {"lower_case": True},
        {"delimiter": ""},
        {"language": "de"},
        {"never_split": ["<formula>", r"\d+[.,]\d+", "human beings"]},
    ],
}
OURS = {
    "do_lower_case": "lower_case",
    "do_lowercase_and_remove_accent": "lower_case_and_remove_accents",
}
CASES = [(family, variant) for family in FAMILIES for variant in VARIANTS[family]]


def open_variant(sides: Sides, variant: dict[str, Any]) -> Sides:
    """Both sides under the published names of some options."""
    ours = sides.ours.with_options(
        **{OURS.get(name, name): value for name, value in variant.items()}
    )
    return Sides(
        ours, sides.open_published(**variant) if variant else sides.published, sides.directory
    )


@pytest.fixture(scope="module")
def opened(sides: dict[str, Sides]) -> dict[str, Sides]:
    return {
        f"{family} {variant}": open_variant(sides[family], variant) for family, variant in CASES
    }


@pytest.mark.parametrize("case", [f"{family} {variant}" for family, variant in CASES])
@given(text=texts, pair=st.none() | texts)
def test_ids_types_masks_and_text(
    opened: dict[str, Sides], case: str, text: str, pair: str | None
) -> None:
    both = opened[case]
    ours = both.ours(text, pair, return_special_tokens_mask=True, return_token_type_ids=True)
    theirs = both.published(text, pair, return_special_tokens_mask=True, return_token_type_ids=True)
    assert dict(ours) == dict(theirs)
    assert both.ours.tokenize(text) == both.published.tokenize(text)
    for skip in (False, True):
        assert both.ours.decode(ours.input_ids, skip) == both.published.decode(
            theirs.input_ids, skip_special_tokens=skip
        )


@pytest.mark.parametrize("family", FAMILIES)
def test_real_texts_in_one_batch(sides: dict[str, Sides], family: str) -> None:
    both, batch = sides[family], [*SENTENCES.values(), *NEWS]
    padding = both.published.pad_token is not None
    ours, theirs = both.ours(batch, padding=padding), both.published(batch, padding=padding)
    assert dict(ours) == dict(theirs)
    assert both.ours.batch_decode(ours.input_ids) == both.published.batch_decode(theirs.input_ids)
    assert both.ours.get_vocab() == both.published.get_vocab()
    assert len(both.ours) == len(both.published)
    assert both.ours.vocab_size == both.published.vocab_size


@pytest.mark.parametrize("family", FAMILIES)
@given(data=st.data())
def test_any_ids_decode_alike(sides: dict[str, Sides], family: str, data: st.DataObject) -> None:
    both = sides[family]
    ids = data.draw(st.lists(st.integers(0, both.ours.vocab_size - 1), max_size=12))
    for skip in (False, True):
        for clean in (False, True):
            assert both.ours.decode(ids, skip, clean) == both.published.decode(ids, skip, clean)
    assert both.ours.convert_ids_to_tokens(ids) == both.published.convert_ids_to_tokens(ids)
    assert both.ours.get_special_tokens_mask(ids) == both.published.get_special_tokens_mask(
        ids, already_has_special_tokens=True
    )


@pytest.mark.parametrize("language", ["en", "de", "fr", "ro", "cs", "ru", "ko", "xx"])
@pytest.mark.parametrize("lower", [True, False])
@given(text=texts)
def test_xlm_languages(sides: dict[str, Sides], language: str, lower: bool, text: str) -> None:
    """The published `tokenize` drops `lang`; its inner method is what shows the language's own
    rules.
    """
    both = sides["xlm"]
    algorithm = both.ours.with_options(lower_case_and_remove_accents=lower).algorithm
    both.published.do_lowercase_and_remove_accent = lower
    try:
        assert algorithm.tokenize(text, language) == both.published._tokenize(text, lang=language)
    finally:
        both.published.do_lowercase_and_remove_accent = True


@given(text=texts)
def test_xlm_segmented_outside(sides: dict[str, Sides], text: str) -> None:
    both = sides["xlm"]
    algorithm = both.ours.with_options(splitting="spaces").algorithm
    assert algorithm.tokenize(text, "zh") == both.published._tokenize(
        text, lang="zh", bypass_tokenizer=True
    )

"""Edits act the same on plain and on aligned text; Moses driven our way does what sacremoses does."""

import unicodedata
from collections.abc import Sequence
from typing import Literal

import pytest
import sacremoses
from hypothesis import given
from hypothesis import strategies as st

from tests.tokenization.texts import AWKWARD, fragments, texts
from tokenization.algorithms.pieces import piece_edits
from tokenization.files.published import family_section
from tokenization.options import SentencePieceOptions, parse_options
from tokenization.text.aligned import AlignedText
from tokenization.text.character_edits import Decompose
from tokenization.text.edits import (
    CollapseSpace,
    Edit,
    LowerCase,
    Strip,
    Substitute,
    apply_edits,
    apply_edits_aligned,
)
from tokenization.text.moses import (
    DROP_NON_PRINTING,
    is_control,
    punctuation_edits,
    unicode_punctuation_edits,
    word_splitter,
)

LANGUAGES = ["en", "de", "fr", "it", "cs", "fi", "ko", "xx"]
XLNET = parse_options({**family_section("xlnet"), "lower_case": True})
assert isinstance(XLNET, SentencePieceOptions)
EDITS: dict[str, Sequence[Edit]] = {
    "collapse": [CollapseSpace()],
    "strip": [Strip()],
    "lower": [LowerCase()],
    "lower simply": [LowerCase(simple=True)],
    "accents": [Decompose("NFD", drop=lambda char: unicodedata.category(char) == "Mn")],
    "compatible": [Decompose("NFKD", drop=lambda char: unicodedata.combining(char) != 0)],
    "decomposed": [Decompose("NFKD", drop=lambda char: False)],
    "printing": [DROP_NON_PRINTING],
    "groups": [Substitute(r"(\w) (\w)", r"\2-\g<1>!")],
    "full width": list(unicode_punctuation_edits()),
    **{f"punctuation {language}": list(punctuation_edits(language)) for language in LANGUAGES},
    "xlnet": piece_edits(XLNET),
}


@pytest.mark.parametrize("name", EDITS)
@given(text=texts)
def test_following_is_applying(name: str, text: str) -> None:
    followed = apply_edits_aligned(EDITS[name], AlignedText(text))
    assert followed.text == apply_edits(EDITS[name], text)
    assert len(followed.spans) == len(followed.text)
    assert all(0 <= start <= end <= len(text) for start, end in followed.spans)


@pytest.mark.parametrize("form", ["NFD", "NFKD"])
@given(text=texts)
def test_decomposed_characters_keep_their_origin(form: Literal["NFD", "NFKD"], text: str) -> None:
    followed = Decompose(form, drop=lambda char: False).apply_aligned(AlignedText(text))
    assert followed.text == unicodedata.normalize(form, text)
    for char, (start, end) in zip(followed.text, followed.spans):
        assert char in unicodedata.normalize(form, text[start:end])


@pytest.mark.parametrize("language", LANGUAGES)
@given(text=texts)
def test_punctuation_is_that_of_sacremoses(language: str, text: str) -> None:
    expected = sacremoses.MosesPunctNormalizer(lang=language).normalize(text)
    assert apply_edits(punctuation_edits(language), text) == expected
    assert apply_edits([DROP_NON_PRINTING], text) == "".join(
        char for char in text if not is_control(char)
    )


moses_texts = st.one_of(
    texts,
    st.lists(st.sampled_from([*AWKWARD, "No.", "5", "etc.", "l'eau", "foo-bar", "X."])).map(
        " ".join
    ),
)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("dashes", [False, True])
@pytest.mark.parametrize("protected", [(), ("<unk>", "<eos>", "a b", r"\d+", " <s>")])
@given(text=moses_texts | fragments)
def test_words_are_those_of_sacremoses(
    language: str, dashes: bool, protected: tuple[str, ...], text: str
) -> None:
    expected = _MOSES[language].tokenize(
        text,
        aggressive_dash_splits=dashes,
        escape=False,
        protected_patterns=list(protected) or None,
    )
    assert word_splitter(language, dashes, protected)(text) == expected


_MOSES = {language: sacremoses.MosesTokenizer(lang=language) for language in LANGUAGES}

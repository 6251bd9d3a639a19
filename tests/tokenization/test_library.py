"""The backend `tokenizers` gives the results of the published fast classes, where they part from
the piece model.
"""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tokenization.sides import SENTENCEPIECE, Sides, published_class
from tests.tokenization.texts import CORPUS, NEWS, SENTENCES, texts
from tokenization import Tokenizer, VocabularyError, load_tokenizer, train_tokenizer
from tokenization.files.published import family_section
from tokenization.options import SentencePieceOptions

BATCH = [*SENTENCES.values(), *NEWS]
SPACES = {"xlnet": "one"}


@pytest.fixture(scope="module")
def fast(
    sides: dict[str, Sides], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[Any, Tokenizer]]:
    """The published fast class, and ours on the same piece model."""
    made = {}
    for family in SENTENCEPIECE:
        directory = sides[family].directory
        ours = load_tokenizer(
            directory, backend="tokenizers", library_spaces=SPACES.get(family, "mark")
        )
        made[family] = (published_class(family, fast=True).from_pretrained(directory), ours)
    return made


@pytest.mark.parametrize("family", SENTENCEPIECE)
@given(text=texts, pair=st.none() | texts)
def test_ids_offsets_and_text(
    fast: dict[str, Any], family: str, text: str, pair: str | None
) -> None:
    theirs, ours = fast[family]
    # An empty second text is no text to the fast class's single call.
    arguments = {"return_offsets_mapping": True, "return_special_tokens_mask": True}
    found = ours([text], None if pair is None else [pair], return_token_type_ids=True, **arguments)
    assert dict(found) == dict(
        theirs([text], None if pair is None else [pair], return_token_type_ids=True, **arguments)
    )
    assert ours.tokenize(text) == theirs.tokenize(text)
    for skip in (False, True):
        assert ours.decode(found.input_ids[0], skip) == theirs.decode(
            found.input_ids[0], skip_special_tokens=skip
        )


@pytest.mark.parametrize("family", SENTENCEPIECE)
def test_the_file_alone(fast: dict[str, Any], family: str, tmp_path: Path) -> None:
    """Where only tokenizer.json was published, it is what is read."""
    theirs, ours = fast[family]
    theirs.save_pretrained(tmp_path, legacy_format=False)
    assert not (tmp_path / ours.options.model_file).exists()
    opened = load_tokenizer(tmp_path)
    assert isinstance(opened.options, SentencePieceOptions)
    assert opened.options.backend == "tokenizers"
    assert opened(BATCH, padding=True).input_ids == theirs(BATCH, padding=True).input_ids
    assert opened([text.split() for text in BATCH], is_split_into_words=True).input_ids == (
        theirs([text.split() for text in BATCH], is_split_into_words=True).input_ids
    )
    again = load_tokenizer(opened.save(tmp_path / "ours"))
    assert again(BATCH).input_ids == opened(BATCH).input_ids
    (tmp_path / "tokenizer.json").write_bytes((tmp_path / "tokenizer.json").read_bytes()[:99])
    with pytest.raises(VocabularyError, match="cut short"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize("family", SENTENCEPIECE)
def test_saved_for_the_fast_class(fast: dict[str, Any], family: str, tmp_path: Path) -> None:
    theirs, ours = fast[family]
    opened = type(theirs).from_pretrained(ours.save(tmp_path, "huggingface"))
    assert opened(BATCH).input_ids == ours(BATCH).input_ids
    assert "Fast" in (tmp_path / "tokenizer_config.json").read_text()


def test_where_the_published_classes_part(sides: dict[str, Sides], fast: dict[str, Any]) -> None:
    """No tokenizer of the library is exactly a piece model (a space at the end is enough); we give
    both answers.
    """
    theirs, ours = fast["xlnet"]
    both = sides["xlnet"]
    for text in ("Hello ", "Hello <s>"):
        assert ours(text).input_ids == theirs(text).input_ids
        assert both.ours(text).input_ids == both.published(text).input_ids
        assert ours(text).input_ids != both.ours(text).input_ids


def test_trained_in_the_library() -> None:
    ours = train_tokenizer({**family_section("xglm"), "backend": "tokenizers"}, CORPUS, 500)
    assert (
        ours.decode(ours("All human beings").input_ids, skip_special_tokens=True)
        == "All human beings"
    )
    with pytest.raises(VocabularyError, match="only unigram models"):
        train_tokenizer(
            {**family_section("xglm"), "backend": "tokenizers", "model_type": "bpe"}, CORPUS, 500
        )


@pytest.mark.parametrize("family", SENTENCEPIECE)
def test_threads_read_side_by_side(fast: dict[str, Any], family: str, tmp_path: Path) -> None:
    ours = fast[family][1]
    expected = {whole: ours(BATCH, split_special_tokens=whole).input_ids for whole in (False, True)}

    def read(number: int) -> bool:
        whole = bool(number % 2)
        if number % 25 == 0:
            ours.save(tmp_path / str(number))
        rows = [ours(text, split_special_tokens=whole).input_ids for text in BATCH[:3]]
        return (
            rows == expected[whole][:3]
            and ours(BATCH, split_special_tokens=whole).input_ids == expected[whole]
        )

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(read, range(100)))

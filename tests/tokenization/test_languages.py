"""Languages: their ids beside the tokens, and the segmenters of Chinese, Japanese and Thai."""

import importlib.util
import sys
import types
import warnings
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from tests.tokenization.sides import Sides
from tests.tokenization.texts import SENTENCES, texts
from tokenization import MissingExtraError, TokenizationError, Tokenizer
from tokenization.text.segmenters import register_segmenter, segmenter_words

LANGUAGES = {"en": 0, "de": 1, "zh": 2, "ja": 3, "th": 4}


@pytest.fixture
def ours(sides: dict[str, Sides]) -> Tokenizer:
    return sides["xlm"].ours.with_options(languages=LANGUAGES)


def test_one_id_for_each_token(ours: Tokenizer) -> None:
    encoding = ours("Hello world", lang="de")
    assert encoding.langs == [1] * len(encoding.input_ids)
    assert encoding.input_ids == ours("Hello world", lang="en").input_ids


def test_a_language_for_each_text(ours: Tokenizer) -> None:
    batch = ours(
        ["Hello", "Hallo schöne Welt"], lang=["en", "de"], padding=True, return_tensors="pt"
    )
    assert batch.langs.tolist() == [[0] * batch.langs.shape[1], [1] * batch.langs.shape[1]]
    assert batch.langs.shape == batch.input_ids.shape


def test_a_pair_of_two_languages(ours: Tokenizer) -> None:
    """Translation language modelling: each side, with the special token that closes it, in its own
    language.
    """
    encoding = ours("Hello", "Hallo", lang=("en", "de"))
    assert [kind for kind, _ in zip(encoding.langs, encoding.input_ids)] == encoding.token_type_ids
    assert ours(["Hello"], ["Hallo"], lang=[("en", "de")]).langs == [encoding.langs]
    # As the authors join them: what opens the second text is of its language.
    authors = ours.with_options(format={"pair": "sep A sep sep:1 B:1 sep:1", "start": "sep"})
    encoding = authors("Hello", "Hallo", lang=("en", "de"))
    assert encoding.input_ids.count(ours.sep_id) == 4
    assert [kind for kind, _ in zip(encoding.langs, encoding.input_ids)] == encoding.token_type_ids


def test_cut_and_in_windows(ours: Tokenizer) -> None:
    encoding = ours(
        "Hallo schöne Welt " * 5,
        lang="de",
        max_length=8,
        truncation=True,
        return_overflowing_tokens=True,
    )
    assert len(encoding.langs) > 2 and all(set(row) == {1} for row in encoding.langs)


def test_a_wrong_or_missing_language(ours: Tokenizer) -> None:
    with pytest.raises(
        TokenizationError, match=r"is not one of en, de, zh, ja, th\. Did you mean 'de'"
    ):
        ours("Hello", lang="dee")
    with pytest.warns(UserWarning, match="is not one of"):
        assert "langs" not in ours.with_options(unknown_language="warn")("Hello", lang="xx")
    with pytest.raises(TokenizationError, match="names 1 languages for 2 texts"):
        ours(["a", "b"], lang=["en"])
    with pytest.warns(UserWarning, match="no language signal"):
        assert "langs" not in ours("Hello")
    with pytest.raises(TokenizationError, match="no language signal"):
        ours.with_options(missing_language="error")("Hello")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours.with_options(missing_language="ignore")("Hello")


def test_start_token(sides: dict[str, Sides]) -> None:
    """The authors begin with </s>, transformers with <s>; a named field says which."""
    published = sides["xlm"].ours
    authors = published.with_options(format={"start": "sep"})
    assert published("a").input_ids[0] == published.bos_id
    assert authors("a").input_ids[0] == authors("a").input_ids[-1] == authors.sep_id
    assert authors("a").input_ids[1:] == published("a").input_ids[1:]


def install_fakes(monkeypatch: pytest.MonkeyPatch, directory: Path) -> None:
    """Stand-ins for the three packages, found by us and by the published class alike."""

    def chunks(size: int) -> Any:
        return lambda text: [text[place : place + size] for place in range(0, len(text), size)]

    class Mykytea:
        def __init__(self, arguments: str) -> None:
            assert arguments == f"-model {directory / 'local/share/kytea/model.bin'}"

        getWS = staticmethod(chunks(3))

    for name, content in {
        "jieba": {"cut": chunks(2), "setLogLevel": lambda level: None},
        "pythainlp": {"word_tokenize": chunks(4)},
        "pythainlp.tokenize": {"word_tokenize": chunks(4)},
        "Mykytea": {"Mykytea": Mykytea},
    }.items():
        module = types.ModuleType(name)
        module.__dict__.update(content)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setenv("HOME", str(directory))
    monkeypatch.delenv("KYTEA_MODEL", raising=False)
    (directory / "local/share/kytea").mkdir(parents=True, exist_ok=True)
    (directory / "local/share/kytea/model.bin").write_bytes(b"a model")
    segmenter_words.cache_clear()


@pytest.mark.parametrize("lower", [True, False])
@pytest.mark.parametrize("language", ["zh", "ja", "th"])
@given(text=texts)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_segmenters_stand_where_the_published_class_has_them(
    sides: dict[str, Sides],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    language: str,
    lower: bool,
    text: str,
) -> None:
    install_fakes(monkeypatch, tmp_path)
    both = sides["xlm"]
    ours = both.ours.with_options(lower_case_and_remove_accents=lower, languages=LANGUAGES)
    both.published.do_lowercase_and_remove_accent = lower
    both.published.ja_word_tokenizer = None
    try:
        expected = both.published._tokenize(text, lang=language)
    finally:
        both.published.do_lowercase_and_remove_accent = True
        segmenter_words.cache_clear()
    assert ours.algorithm.tokenize(text, language) == expected
    encoding = ours(text, lang=language, return_offsets_mapping=True)
    assert encoding.input_ids == ours(text, lang=language).input_ids
    assert all(0 <= start <= end <= len(text) for start, end in encoding.offset_mapping)
    segmenter_words.cache_clear()


@pytest.mark.parametrize(("package", "language"), [("jieba", "zh"), ("pythainlp", "th")])
def test_the_packages_themselves(sides: dict[str, Sides], package: str, language: str) -> None:
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    segmenter_words.cache_clear()
    both, text = sides["xlm"], SENTENCES[language]
    assert both.ours.algorithm.tokenize(text, language) == both.published._tokenize(
        text, lang=language
    )


@pytest.mark.parametrize(
    ("language", "module", "extra"),
    [
        ("zh", "jieba", "chinese"),
        ("ja", "Mykytea", "japanese"),
        ("th", "pythainlp.tokenize", "thai"),
    ],
)
def test_a_missing_package_names_its_extra(
    sides: dict[str, Sides], monkeypatch: pytest.MonkeyPatch, language: str, module: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    segmenter_words.cache_clear()
    with pytest.raises(MissingExtraError, match=rf"pip install 'blockgraph\[{extra}\]'"):
        sides["xlm"].ours("文", lang=language)
    # What was segmented outside needs no package.
    assert sides["xlm"].ours.with_options(splitting="spaces")("人 人", lang=language).input_ids


def test_missing_sacremoses_names_its_extra(
    sides: dict[str, Sides], monkeypatch: pytest.MonkeyPatch
) -> None:
    from tokenization.text import moses

    monkeypatch.setitem(sys.modules, "sacremoses", None)
    for cached in (moses.punctuation_edits, moses.unicode_punctuation_edits, moses.word_splitter):
        cached.cache_clear()
    for family in ("xlm", "transformer-xl"):
        with pytest.raises(MissingExtraError, match=r"blockgraph\[moses\]"):
            sides[family].ours.with_options()("Hello")
    assert sides["xlm"].ours.with_options(splitting="spaces")("hello").input_ids
    assert sides["transformer-xl"].ours.with_options(splitting="delimiter")("hello").input_ids


def test_kytea_without_its_model(
    monkeypatch: pytest.MonkeyPatch, sides: dict[str, Sides], tmp_path: Path
) -> None:
    install_fakes(monkeypatch, tmp_path)
    monkeypatch.setenv("KYTEA_MODEL", str(tmp_path / "nowhere.bin"))
    with pytest.raises(TokenizationError, match="KyTea needs its model file at"):
        sides["xlm"].ours("文", lang="ja")
    segmenter_words.cache_clear()


def test_a_segmenter_of_one_s_own(sides: dict[str, Sides]) -> None:
    register_segmenter("letters", lambda: list)
    ours = sides["xlm"].ours.with_options(segmenters={"ko": "letters"})
    assert ours.tokenize("abc", lang="ko") == ["a</w>", "b</w>", "c</w>"]
    with pytest.raises(
        TokenizationError, match="is not one of jieba, kytea, letters, pythainlp, rjieba"
    ):
        sides["xlm"].ours.with_options(segmenters={"ko": "other"})("a", lang="ko")

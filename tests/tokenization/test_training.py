"""New vocabularies of each kind, random segmentations, and what a text keeps on the way there and
back.
"""

import unicodedata
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import pytest
import sentencepiece
import transformers
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.tokenization.sides import FAMILIES, SENTENCEPIECE, Sides, section
from tests.tokenization.texts import CORPUS, NEWS, SENTENCES, texts, words
from tokenization import TokenizationError, Tokenizer, parse_options, train_tokenizer
from tokenization.files.published import family_section
from tokenization.options import laid_over


@pytest.mark.parametrize("family", FAMILIES)
def test_a_new_vocabulary(sides: dict[str, Sides], family: str) -> None:
    trained = train_tokenizer(section(family), CORPUS, 400)
    assert 0 < trained.vocab_size <= 400
    reserved = trained.options.reserved
    if family in ("xlnet", "xlm", "transformer-xl"):
        assert [trained.token_to_id(token) for token in reserved] == list(range(len(reserved)))
    again = sides[family].ours.train(CORPUS, 400)
    assert again.get_vocab() == trained.get_vocab()
    assert again.options == trained.options


MORE = {"special_tokens": {"additional": ["<x>", "<y>"]}, "added_tokens": ["<z>"]}
FEW = {
    "special_tokens": dict.fromkeys(("bos", "eos", "sep", "pad", "cls", "mask")),
    "format": {"single": "A", "pair": "A B", "start": "unk"},
}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("changes", [{}, MORE, FEW], ids=["own", "more", "few"])
def test_no_more_ids_than_were_asked_for(family: str, changes: dict[str, Any]) -> None:
    plain = parse_options(section(family)).model_dump()
    options = parse_options(laid_over(plain, changes))
    for asked in (400, 401):
        trained = train_tokenizer(options, CORPUS, asked)
        assert sorted(trained.get_vocab().values()) == list(range(asked))
    with pytest.raises(TokenizationError, match="tokens alone are"):
        train_tokenizer(options, CORPUS, 1)


def test_published_ids_of_xlnet() -> None:
    ours = train_tokenizer(family_section("xlnet"), CORPUS, 400)
    assert (
        ours.unk_id,
        ours.bos_id,
        ours.eos_id,
        ours.cls_id,
        ours.sep_id,
        ours.pad_id,
        ours.mask_id,
    ) == tuple(range(7))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("corpus", [[], ["", "  "]])
def test_nothing_to_learn_from(family: str, corpus: list[str]) -> None:
    with pytest.raises(TokenizationError, match="corpus"):
        train_tokenizer(family_section(family), corpus, 400)


@pytest.mark.parametrize("family", FAMILIES)
def test_one_string_is_no_corpus(sides: dict[str, Sides], family: str) -> None:
    """Its letters would be read as texts."""
    for train in (
        sides[family].ours.train,
        lambda *given, **named: train_tokenizer(family_section(family), *given, **named),
    ):
        with pytest.raises(TokenizationError, match="corpus is one string, 'All human"):
            train("All human beings", 400)
        with pytest.raises(TokenizationError, match="languages is one string, 'en'"):
            train(CORPUS, 400, languages="en")


def test_a_byte_pair_piece_model() -> None:
    ours = train_tokenizer({**family_section("xglm"), "model_type": "bpe"}, CORPUS, 500)
    assert (
        ours.decode(ours("All human beings").input_ids, skip_special_tokens=True)
        == "All human beings"
    )


def test_languages_while_learning() -> None:
    codes = list(SENTENCES)
    corpus = [SENTENCES[code] for code in ("en", "fr", "ro")]
    ours = train_tokenizer(family_section("xlm"), corpus, 300, languages=["en", "fr", "ro"])
    assert len(codes) > 3 and ours.tokenize("ființele", lang="ro")


keeping = st.lists(words, min_size=1, max_size=8).map(" ".join)


@pytest.mark.parametrize("family", ["xlnet", "xlm-roberta-xl", "xglm"])
@given(text=keeping)
def test_pieces_keep_the_text(sides: dict[str, Sides], family: str, text: str) -> None:
    ours = sides[family].ours.with_options(keep_accents=True, normalize_quotes=False)
    pieces = ours("x " + text, add_special_tokens=False).input_ids
    if ours.unk_id not in pieces:
        normalized = " ".join(unicodedata.normalize("NFKC", "x " + text).split())
        assert ours.decode(pieces) == normalized.replace("\u200b", " ")


@cache
def _segmented_outside(tokenizer: Tokenizer) -> Any:
    return tokenizer.with_options(splitting="spaces").algorithm


@given(text=texts)
def test_byte_pairs_keep_the_words(sides: dict[str, Sides], text: str) -> None:
    assume("</w>" not in text)  # the one text that looks like the end of a word
    algorithm = _segmented_outside(sides["xlm"].ours)
    assert (
        algorithm.join(algorithm.tokenize(text, None)).split()
        == "".join(f"{word} " for word in text.split()).split()
    )


@given(text=texts)
def test_decoding_is_stable(sides: dict[str, Sides], text: str) -> None:
    """What was decoded once is encoded and decoded to itself, where nothing was unknown."""
    ours = sides["xlm-roberta-xl"].ours
    once = ours.decode(ours(text, add_special_tokens=False).input_ids)
    ids = ours(once, add_special_tokens=False).input_ids
    if ours.unk_id not in ids and not any(special in once for special in ours.added.by_text):
        assert ours.decode(ids) == once


@pytest.mark.parametrize("family", SENTENCEPIECE)
@pytest.mark.parametrize("nbest_size", [-1, 4])
def test_sampling_is_that_of_the_published_class(
    sides: dict[str, Sides], family: str, nbest_size: int
) -> None:
    sampling: dict[str, Any] = {"enable_sampling": True, "nbest_size": nbest_size, "alpha": 0.2}
    ours = sides[family].ours.with_options(sampling=sampling)
    theirs = sides[family].open_published(sp_model_kwargs=sampling)
    text = NEWS[0]
    drawn = []
    for side in (ours, theirs):
        sentencepiece.set_random_generator_seed(7)
        # A thread's generator takes the seed when it is first used, so that each side draws in a
        # thread of its own.
        with ThreadPoolExecutor(1) as pool:
            encodings = pool.map(side, [text] * 40)
            drawn.append([encoding.input_ids for encoding in encodings])
    assert drawn[0] == drawn[1]
    assert len(set(map(tuple, drawn[0]))) > 1
    batch = ours([text] * 20, return_offsets_mapping=False).input_ids
    assert len({tuple(ids) for ids in batch}) > 1


@pytest.mark.parametrize("nbest_size", [0, 1])
def test_sampling_among_one_is_none(sides: dict[str, Sides], nbest_size: int) -> None:
    ours = sides["xglm"].ours.with_options(
        sampling={"enable_sampling": True, "nbest_size": nbest_size}
    )
    assert ours(NEWS).input_ids == sides["xglm"].ours(NEWS).input_ids


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"lowercase": True}, "no option .lowercase., did you mean .lower_case."),
        ({"algorithm": "characters"}, "does not match any of the expected tags"),
        ({"format": {"single": "A sap"}}, "'sap' is not one of A, B, start, bos"),
        ({"format": {"single": "A:x sep"}}, "whole number"),
        ({"format": {"single": "sep"}}, "must hold A once"),
        ({"format": {"pair": "A sep"}}, "must hold A and B once"),
        ({"languages": {"en": 0, "de": 0}}, "same id"),
        ({"padding_type": "3"}, "padding_type: .*valid integer"),
        ({"padding_type": 5.0}, "padding_type: .*valid integer"),
        ({"padding_type": True}, "padding_type: .*valid integer"),
        ({"remove_space": "no"}, "remove_space: .*valid boolean"),
        ({"sampling": {"alpha": "0.1"}}, "sampling.alpha: .*valid number"),
    ],
)
def test_options_are_checked(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(TokenizationError, match=says):
        parse_options({**family_section("xlnet"), **changes})


def test_options_that_need_other_files(sides: dict[str, Sides]) -> None:
    with pytest.raises(TokenizationError, match="give it to load_tokenizer"):
        sides["xglm"].ours.with_options(backend="tokenizers")


def test_a_format_needs_its_tokens(sides: dict[str, Sides]) -> None:
    ours = sides["xglm"].ours.with_options(format={"single": "mask A", "pair": "A B"})
    with pytest.raises(TokenizationError, match="needs the special token 'mask'"):
        ours("Hello")


def test_the_page_s_format_for_xglm(sides: dict[str, Sides]) -> None:
    """The page says <s> X </s>; the code emits </s> X. Both are a line of YAML."""
    page = sides["xglm"].ours.with_options(
        format={"single": "bos A eos", "pair": "bos A eos eos B eos"}
    )
    ids = page("Hello").input_ids
    assert (ids[0], ids[-1]) == (page.bos_id, page.eos_id)
    roberta = transformers.XLMRobertaTokenizer(
        str(sides["xglm"].directory / "sentencepiece.bpe.model")
    )
    assert ids == roberta("Hello").input_ids
    assert page("Hello", "world").input_ids == roberta("Hello", "world").input_ids

"""Everything that describes a tokenizer is read, followed or refused; and what callers of
transformers ask for.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import transformers
from tokenizers import Tokenizer as Library
from tokenizers import decoders, models, pre_tokenizers, processors, trainers

from tests.tokenization.sides import FAMILIES, SENTENCEPIECE, Sides, published_class
from tests.tokenization.texts import CORPUS, NEWS
from tokenization import TokenizationError, build_tokenizer, load_tokenizer, train_tokenizer
from tokenization.files.published import family_section, read_published
from tokenization.options import BytePairOptions


def change(directory: Path, **fields: Any) -> None:
    path = directory / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


@pytest.fixture
def copied(sides: dict[str, Sides], tmp_path: Path) -> Path:
    shutil.copytree(sides["xglm"].directory, tmp_path / "xglm")
    return tmp_path / "xglm"


@pytest.mark.parametrize("extra", [["<x1>", "<x2>"], {"image_token": "<x1>", "eoi_token": "<x2>"}])
def test_extra_special_tokens(copied: Path, extra: Any) -> None:
    before = load_tokenizer(copied)
    change(copied, extra_special_tokens=extra)
    after = load_tokenizer(copied)
    assert len(after) == len(before) + 2
    assert after.tokenize("a<x2>b") == ["▁a", "<x2>", "▁b"]
    assert "<x1>" not in after.decode(after("a<x1>").input_ids, skip_special_tokens=True)


def test_split_special_tokens(copied: Path) -> None:
    change(copied, split_special_tokens=True)
    theirs = published_class("xglm").from_pretrained(copied)
    ours = load_tokenizer(copied)
    assert ours("a </s> b").input_ids == theirs("a </s> b").input_ids
    assert ours("a </s> b", split_special_tokens=False).input_ids.count(ours.eos_id) == 2


def test_an_older_name_of_the_length(copied: Path) -> None:
    path = copied / "tokenizer_config.json"
    fields = json.loads(path.read_text())
    fields.pop("model_max_length")
    path.write_text(json.dumps({**fields, "max_len": 77}))
    assert load_tokenizer(copied).options.max_length == 77


@pytest.mark.parametrize("family", SENTENCEPIECE)
def test_saved_for_transformers_both_ways(
    sides: dict[str, Sides], tmp_path: Path, family: str
) -> None:
    """The piece model for transformers 4, and the whole file, which is all that transformers 5
    reads.
    """
    ours = sides[family].ours
    ours.save(tmp_path, "huggingface")
    fast = published_class(family, fast=True)
    alone = transformers.PreTrainedTokenizerFast(tokenizer_file=str(tmp_path / "tokenizer.json"))
    for texts in ([*NEWS], ["Hallo Welt", "ja"]):
        assert alone(texts).input_ids == fast.from_pretrained(tmp_path)(texts).input_ids
        assert (
            alone(texts).input_ids
            == load_tokenizer(tmp_path, backend="tokenizers")(texts).input_ids
        )


def test_an_older_piece_model_beside_a_newer_file(copied: Path, tmp_path: Path) -> None:
    train_tokenizer(family_section("xglm"), [text.upper() for text in CORPUS], 540).save(
        tmp_path / "new", "huggingface"
    )
    shutil.copy(tmp_path / "new" / "tokenizer.json", copied)
    with pytest.warns(
        UserWarning, match=r"sentencepiece\.bpe\.model and tokenizer\.json hold other vocabularies"
    ):
        load_tokenizer(copied)


def test_a_file_of_the_library_is_followed_to_the_letter(tmp_path: Path) -> None:
    """A family's class on another vocabulary, with tokens of its own around a text (InCoder)."""
    library = Library(models.BPE(unk_token="<|unk|>"))
    library.pre_tokenizer, library.decoder = pre_tokenizers.ByteLevel(), decoders.ByteLevel()
    special = ["<|unk|>", "<|pad|>", "<|text|>"]
    library.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=300, special_tokens=special))
    library.post_processor = processors.TemplateProcessing(
        single="<|text|> $A", pair="<|text|> $A <|text|> $B:1", special_tokens=[("<|text|>", 2)]
    )
    library.save(str(tmp_path / "tokenizer.json"))
    roles = {
        "bos_token": "<|text|>",
        "eos_token": "<|text|>",
        "sep_token": "<|text|>",
        "cls_token": "<|text|>",
    }
    roles |= {"unk_token": "<|unk|>", "pad_token": "<|pad|>"}
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "XGLMTokenizer", **roles})
    )
    ours = load_tokenizer(tmp_path)
    for text in ("Hallo Welt", *NEWS):
        assert ours(text).input_ids == library.encode(text).ids
        assert ours(text, text).input_ids == library.encode(text, text).ids
        assert max(ours(text).input_ids) < library.get_vocab_size()


FIXED: dict[str, Any] = {
    "lower_case": True,
    "keep_accents": False,
    "normalize_quotes": True,
    "split_digit_comma": True,
    "sampling": {"enable_sampling": True, "nbest_size": -1, "alpha": 0.1},
    "format": {"single": "A"},
}


@pytest.mark.parametrize("option", FIXED)
def test_options_that_a_file_of_the_library_has_decided(
    copied: Path, tmp_path: Path, option: str
) -> None:
    published_class("xglm", fast=True).from_pretrained(copied).save_pretrained(tmp_path / "json")
    (tmp_path / "json" / "sentencepiece.bpe.model").unlink(missing_ok=True)
    with pytest.raises(TokenizationError, match=option):
        load_tokenizer(tmp_path / "json", **{option: FIXED[option]})
    with pytest.raises(TokenizationError, match=option):
        load_tokenizer(tmp_path / "json").with_options(**{option: FIXED[option]})


def test_options_change_a_converted_piece_model(sides: dict[str, Sides], tmp_path: Path) -> None:
    shutil.copytree(sides["xlnet"].directory, tmp_path / "xlnet")
    (tmp_path / "xlnet" / "tokenizer.json").unlink()
    fast = load_tokenizer(tmp_path / "xlnet", backend="tokenizers")
    assert (
        fast.with_options(lower_case=True)("HALLO").input_ids
        == fast("hallo").input_ids
        != fast("HALLO").input_ids
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_words_of_tokens(sides: dict[str, Sides], family: str) -> None:
    ours = sides[family].ours
    text = "Ein ½ ﬁn  Wort\u200b \u200b …"
    for given in (text, [text, "ja nein"], (text, "ja nein")):
        found = ours(*given) if isinstance(given, tuple) else ours(given)
        words = found.word_ids(0)
        ids = found.input_ids[0] if isinstance(given, list) else found.input_ids
        assert len(words) == len(ids)
        numbers = [word for word in words if word is not None]
        assert set(numbers) <= set(range(6)) and numbers[0] == 0
    split = ours(["Ein", "langes Wort", "\u200b", "ja"], is_split_into_words=True)
    numbers = [word for word in split.word_ids() if word is not None]
    assert numbers == sorted(numbers) and {0, 1, 3} <= set(numbers) <= {0, 1, 2, 3}
    assert all(
        word is None
        for word, kind in zip(split.word_ids(), _specials(ours, split), strict=True)
        if kind
    )


def _specials(ours: Any, encoding: Any) -> list[int]:
    """1 for tokens around the text; unknown ones stand in it."""
    mask = ours.get_special_tokens_mask(encoding.input_ids)
    return [
        int(kind and token != ours.unk_id)
        for kind, token in zip(mask, encoding.input_ids, strict=True)
    ]


@pytest.mark.parametrize("family", SENTENCEPIECE)
def test_words_are_those_of_the_published_fast_class(sides: dict[str, Sides], family: str) -> None:
    fast = published_class(family, fast=True).from_pretrained(sides[family].directory)
    for backend in ("sentencepiece", "tokenizers"):
        ours, compared = load_tokenizer(sides[family].directory, backend=backend), 0
        for text in NEWS[:4]:
            if ours(text).input_ids == fast(text).input_ids:
                assert ours(text).word_ids() == fast(text).word_ids()
                compared += 1
        assert compared >= 3  # the fast class of XLNet reads one of them otherwise


def test_words_of_transformers(sides: dict[str, Sides]) -> None:
    both = sides["xlm"]
    assert both.ours.encode("Hallo", "Welt") == both.published.encode("Hallo", "Welt")
    one = both.ours.pad({"input_ids": [5, 6, 7]}, padding="max_length", max_length=5)
    assert (
        one.input_ids
        == both.published.pad(
            {"input_ids": [5, 6, 7]}, padding="max_length", max_length=5
        ).input_ids
    )
    with pytest.raises(AttributeError, match=r"batch_encode_plus.*tokenizer\(texts\)"):
        _ = both.ours.batch_encode_plus


@pytest.mark.parametrize("family", SENTENCEPIECE)
def test_every_piece_of_a_character_that_becomes_several_has_its_span(
    sides: dict[str, Sides], family: str
) -> None:
    found = sides[family].ours("a … ½", return_offsets_mapping=True, add_special_tokens=False)
    spans = found.offset_mapping
    assert spans.count((2, 3)) == 3, spans  # three points
    assert (4, 5) in spans and all(start < end for start, end in spans if start >= 4)


def test_xlm_splits_words_before_it_lowers_them() -> None:
    """The order of the authors and of transformers 5; that of transformers 4 has an option."""
    section = family_section("xlm")
    after = train_tokenizer(section, CORPUS, 300)
    before = train_tokenizer({**section, "lower_case_first": True}, CORPUS, 300)
    # "Mr." and "No." keep their points before a number, "mr." and "no." do not (transformers 5.24).
    words = ["m", "r", ".</w>", "5</w>", "n", "o", ".</w>", "7</w>"]
    assert isinstance(after.options, BytePairOptions) and not after.options.lower_case_first
    assert after.tokenize("Mr. 5 No. 7") == words
    words = ["m", "r</w>", ".</w>", "5</w>", "n", "o</w>", ".</w>", "7</w>"]
    assert before.tokenize("Mr. 5 No. 7") == words


@pytest.mark.parametrize("given", [1, 1.5, [1], {"text": "<pad>"}])
def test_a_special_token_that_is_none(copied: Path, given: Any) -> None:
    change(copied, pad_token=given)
    with pytest.raises(TokenizationError, match="xglm"):
        load_tokenizer(copied)
    with pytest.raises(TokenizationError, match="xglm"):
        read_published(copied)


def test_calls_that_no_tokenizer_can_follow(sides: dict[str, Sides]) -> None:
    tokenizer: Any = sides["xglm"].ours
    wrong: Any = ["a"]
    for call, told in (
        (lambda: tokenizer.token_to_id([5]), "a token is a text"),
        (lambda: tokenizer.decode(["a"]), "ids are whole numbers"),
        (lambda: tokenizer.decode([1.5]), "ids are whole numbers"),
        (lambda: tokenizer.batch_decode(None), "rows of ids"),
        (lambda: tokenizer.save(5), "directory is a int, expected a path"),
        (lambda: load_tokenizer(wrong), "source is a list, expected a path"),
        (lambda: build_tokenizer(tokenizer.options, wrong), "directory is a list"),
        (lambda: tokenizer.train(CORPUS, "x"), "vocab_size is 'x'"),
        (lambda: tokenizer.train(CORPUS, 2**63), "vocab_size is"),
    ):
        with pytest.raises(TokenizationError, match=told):
            call()
    assert tokenizer.decode([9.0, 10]) == tokenizer.decode([9, 10])

"""Whole words: vocabularies counted from a corpus, and what transformers 4.35.0 made of texts."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.tokenization.sides import published_class
from tests.tokenization.texts import CORPUS, NEWS
from tokenization import (
    Tokenizer,
    load_tokenizer,
    parse_options,
    train_tokenizer,
)
from tokenization.algorithms.words import WordAlgorithm
from tokenization.files.published import family_section

GOLDENS = json.loads(Path(__file__).with_name("goldens").joinpath("word_goldens.json").read_text())


def words_of(tokenizer: Tokenizer) -> list[str]:
    algorithm = tokenizer.algorithm
    assert isinstance(algorithm, WordAlgorithm)
    return algorithm._words


def our_options(published: dict[str, Any]) -> Any:
    changes = {{"special": "reserved"}.get(name, name): value for name, value in published.items()}
    return parse_options({**family_section("transformer-xl"), **changes})


@pytest.mark.parametrize("name", GOLDENS["vocabularies"])
def test_the_last_release_that_lived(name: str) -> None:
    golden = GOLDENS["vocabularies"][name]
    options = our_options(golden["options"])
    assert words_of(train_tokenizer(options, GOLDENS["corpus"])) == golden["words"]
    ours = Tokenizer(options, WordAlgorithm(options, golden["words"]))
    for text, tokens, ids, decoded, cleaned in golden["cases"]:
        assert ours.tokenize(text) == tokens
        assert ours(text).input_ids == ids
        assert ours.decode(ids) == decoded
        assert ours.decode(ids, clean_up_spaces=True) == cleaned


@pytest.mark.parametrize(
    "published", [golden["options"] for golden in GOLDENS["vocabularies"].values()]
)
def test_counting_is_that_of_the_published_class(published: dict[str, Any], tmp_path: Path) -> None:
    theirs = published_class("transformer-xl")(**published)
    (tmp_path / "corpus.txt").write_text("\n".join(CORPUS) + "\n", encoding="utf-8")
    theirs.count_file(str(tmp_path / "corpus.txt"))
    theirs.build_vocab()
    assert words_of(train_tokenizer(our_options(published), CORPUS)) == theirs.idx2sym


def test_the_authors_way_of_splitting(tmp_path: Path) -> None:
    """Text that is already tokenized, as WikiText is, is only split at white space, or at the
    delimiter.
    """
    section = {**family_section("transformer-xl"), "splitting": "delimiter"}
    ours = train_tokenizer(section, ["the = price = rose 5 @.@ 3 <unk> <eos>"])
    assert ours.tokenize("the  price rose 5 @.@ 3") == ["the", "price", "rose", "5", "@.@", "3"]
    assert ours.decode(ours("the price rose 5 @.@ 3").input_ids) == "the price rose 5 @.@ 3"
    comma = train_tokenizer({**section, "delimiter": ","}, ["a,b c,<unk>"])
    assert comma.tokenize("b c,a") == ["b c", "a"]
    characters = train_tokenizer({**section, "delimiter": ""}, ["ab c"])
    assert characters.decode(characters("ab c").input_ids) == "ab c"
    assert load_tokenizer(characters.save(tmp_path)).get_vocab() == characters.get_vocab()


def test_end_of_text_and_sizes() -> None:
    section = {
        **family_section("transformer-xl"),
        "format": {"single": "A eos", "pair": "A eos B:1 eos:1"},
    }
    ours = train_tokenizer(section, CORPUS, 60)
    assert len(ours) == 60 and ours.vocab_size == 59  # and <formula>, which no text holds
    assert ours(NEWS[0]).input_ids[-1] == ours.eos_id == 0


@pytest.mark.parametrize("words", [["<UNK>", "a"], ["a", "<unk>"], ["<unk>", "<UNK>", "a"]])
def test_the_word_for_unknown_ones(tmp_path: Path, words: list[str]) -> None:
    """The vocabulary of the One Billion Word benchmark says <UNK>; the special token <unk> then is
    another one.
    """
    (tmp_path / "vocab.txt").write_text("".join(f"{word}\n" for word in words))
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "TransfoXLTokenizer"}')
    theirs = published_class("transformer-xl")(vocab_file=str(tmp_path / "vocab.txt"))
    ours = load_tokenizer(tmp_path)
    for text in ("a b <unk> <UNK>", "<eos> c"):
        assert ours(text).input_ids == theirs(text).input_ids
        assert ours.decode(ours(text).input_ids) == theirs.decode(theirs(text).input_ids)
    assert ours.unk_id == theirs.unk_token_id

"""Tokens are made once, and again when anything changes that they depend on."""

import shutil
import warnings

import numpy as np
import pytest

from engine import InputError
from engine.training.data import encode
from engine.training.data import tokens as room
from engine.training.data.key import content_key
from engine.training.data.sources import hold_out, read_texts
from engine.training.data.tokens import tokenise
from engine.training.recipe.sections import TextSource
from tests.training.data.made import TEXTS, table, words
from tokenization import train_tokenizer

PIECES = {
    "algorithm": "sentencepiece",
    "model_type": "bpe",
    "special_tokens": {"unk": "<unk>", "bos": "<s>", "eos": "</s>", "pad": "<pad>"},
    "format": {"single": "bos A eos", "pair": "bos A eos B:1 eos:1"},
}
PAIRS = {
    "algorithm": "bpe",
    "special_tokens": {"unk": "<unk>", "bos": "<s>", "sep": "</s>"},
    "format": {"single": "bos A sep", "pair": "bos A sep B:1 sep:1"},
    "languages": {"de": 0, "en": 1},
}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text("\n".join(TEXTS))
    return tmp_path


def texts_of(folder):
    return read_texts((TextSource(kind="text", files="in/*.txt"),), base=folder)


def test_tokens_are_made_once(folder, monkeypatch):
    first = tokenise(texts_of(folder), words(), cache=folder / "cache")
    monkeypatch.setattr(room, "write_tokens", None)
    second = tokenise(texts_of(folder), words(), cache=folder / "cache")
    assert first.key == second.key and [file.name for file in (folder / "cache").iterdir()] == [
        f"tokens-{first.key}.arrow"
    ]
    for number, text in enumerate(TEXTS):
        found = second[number]
        assert found["ids"].tolist() == words().encode(text) and found["ids"].dtype == np.int64
        assert found["source"] == f"in/a.txt:{number + 1}"
        assert found["words"].all() and not found["special"].any()
    with pytest.raises(IndexError):
        second[4]


def test_a_moved_folder_keeps_the_key_and_a_changed_byte_does_not(folder):
    key = content_key(texts_of(folder), words())
    shutil.move(folder / "in", folder / "there")
    moved = read_texts((TextSource(kind="text", files="there/a.txt"),), base=folder)
    assert content_key(moved, words()) == key
    assert content_key(moved.select([0, 1]), words()) != key
    path = folder / "there" / "a.txt"
    path.write_text(path.read_text().replace("sat", "sad", 1))
    changed = read_texts((TextSource(kind="text", files="there/a.txt"),), base=folder)
    assert content_key(changed, words()) != key
    assert content_key(moved, words().with_options(format={"single": "A eos"})) != key
    other = words()
    other.add_tokens(["catdog"])
    assert content_key(moved, other) != key


def test_texts_cut_elsewhere_have_another_key(tmp_path):
    keys = set()
    for rows in (["ab", "c"], ["a", "bc"], ["abc", ""], ["", "abc"]):
        source = table([{"text": text} for text in rows], tmp_path)
        keys.add(content_key(read_texts((source,), base=tmp_path), words()))
    assert len(keys) == 4


@pytest.mark.parametrize("batch", [1, 3, 1000])
def test_batches_change_nothing(folder, monkeypatch, batch):
    whole = tokenise(texts_of(folder), words(), cache=folder / "cache")
    monkeypatch.setattr(encode, "TOGETHER", batch)
    cut = tokenise(texts_of(folder), words(), cache=folder / str(batch))
    assert cut.key == whole.key
    for number in range(len(TEXTS)):
        assert cut[number]["ids"].tolist() == whole[number]["ids"].tolist()
    assert cut.counts(len(words())).sum() == sum(cut.lengths)


@pytest.mark.parametrize("section", [PIECES, PAIRS, {"algorithm": "words"}])
def test_words_begin_where_the_tokenizer_says(tmp_path, section):
    given = [*TEXTS, "  Cats, (and) dogs!  sat", "mats 'n cats... on-the-mat", "cat"]
    corpus = [*given * 5]
    languages = None
    if "languages" in section:
        languages = ["en"] * len(corpus)
    size = None if section["algorithm"] == "words" else 60
    tokenizer = train_tokenizer(section, corpus, size, languages=languages)
    source = table([{"text": text} for text in given], tmp_path)
    source = source.model_copy(update={"language": "en" if languages else None})
    found = tokenise(read_texts((source,), base=tmp_path), tokenizer, cache=tmp_path)
    for number, text in enumerate(given):
        told = tokenizer(text, lang="en" if languages else None).word_ids()
        before = [None, *told[:-1]]
        begins = [one is not None and one != other for one, other in zip(told, before)]
        assert found[number]["words"].tolist() == begins
        assert found[number]["special"].tolist() == [one is None for one in told]


def test_pairs_have_types_and_two_languages(tmp_path):
    tokenizer = train_tokenizer(PAIRS, TEXTS, 60, languages=["en"] * len(TEXTS))
    row = {"text": "the cat", "pair": "a dog ran", "language": "de", "pair_language": "en"}
    found = tokenise(
        read_texts((table([row], tmp_path),), base=tmp_path), tokenizer, cache=tmp_path
    )
    told = tokenizer("the cat", "a dog ran", lang=["de", "en"], return_sequence_ids=True)
    assert found[0]["ids"].tolist() == told.input_ids
    assert found[0]["token_types"].tolist() == told.token_type_ids
    assert found[0]["languages"].tolist() == told.langs
    assert found[0]["second"].tolist() == [one == 1 for one in told.sequence_ids]
    assert (found.lengths[0], found.specials[0]) == (len(told.input_ids), 3)


def test_an_encoding_of_ones_own_keeps_what_it_adds(tmp_path):
    rows = [{"text": "the cat sat", "label": "yes"}, {"text": "a dog", "label": "no"}]
    texts = read_texts((table(rows, tmp_path),), base=tmp_path)
    tokenizer = words()

    def labelled(row):
        entry = {"input_ids": tokenizer.encode(row["text"]), "spans": [(0, 1)]}
        return [entry, entry] if row["label"] == "yes" else entry

    found = tokenise(texts, tokenizer, cache=tmp_path, encode=labelled)
    assert len(found) == 3 and [found[n]["source"][-1] for n in range(3)] == ["1", "1", "2"]
    assert found.fields(2) == {"label": "no", "spans": [[0, 1]]}
    train, _ = hold_out(texts, 0.5, 0)
    kept = tokenise(train, tokenizer, cache=tmp_path, encode=labelled)
    assert {kept[n]["source"] for n in range(len(kept))} == set(train["source"])
    with pytest.raises(InputError, match=r"rows.jsonl:1: the text has no tokens"):
        tokenise(texts, tokenizer, cache=tmp_path, encode=lambda row: {"input_ids": []})


def test_a_file_that_was_damaged_is_made_anew(folder):
    made = tokenise(texts_of(folder), words(), cache=folder / "cache")
    path, expected = made.path, made[1]["ids"].tolist()
    del made
    for content in (b"", b"no arrow"):
        path.write_bytes(content)
        again = tokenise(texts_of(folder), words(), cache=folder / "cache")
        assert again[1]["ids"].tolist() == expected
        del again


def test_what_has_no_text_is_named(tmp_path):
    source = table([{"body": "a"}], tmp_path)
    with pytest.raises(InputError, match=r"no column 'text'; allowed: body; say which one"):
        tokenise(read_texts((source,), base=tmp_path), words(), cache=tmp_path)
    source = table([{"text": "a"}, {"text": None}], tmp_path)
    with pytest.raises(InputError, match=r"rows.jsonl:2: text is a NoneType, expected a text"):
        tokenise(read_texts((source,), base=tmp_path), words(), cache=tmp_path)
    (tmp_path / "file").touch()
    source = table([{"text": "a"}], tmp_path)
    with pytest.raises(InputError, match="tokens cannot be kept there"):
        tokenise(read_texts((source,), base=tmp_path), words(), cache=tmp_path / "file")


def test_a_language_is_no_surprise(folder):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tokenise(texts_of(folder), words(), cache=folder / "cache")

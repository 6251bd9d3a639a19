"""Opening and saving: both formats, the hub, and errors that say what is wrong without running
anything.
"""

import json
import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.tokenization.sides import FAMILIES, SENTENCEPIECE, Sides, opened, published_class
from tests.tokenization.texts import NEWS, SENTENCES
from tokenization import (
    AddedToken,
    TokenizationError,
    VocabularyError,
    build_tokenizer,
    load_tokenizer,
)
from tokenization.files.plain_yaml import write_yaml
from tokenization.saving import resolved_section

BATCH = [*SENTENCES.values(), *NEWS]


@pytest.mark.parametrize("format", ["engine", "huggingface"])
@pytest.mark.parametrize("family", FAMILIES)
def test_saved_and_opened_again(
    sides: dict[str, Sides], tmp_path: Path, family: str, format: Any
) -> None:
    ours = sides[family].open_ours()
    ours.add_tokens(
        ["Würde", AddedToken(content="[X]", lstrip=True, normalized=True, special=False)]
    )
    again = opened(family, ours.save(tmp_path / "saved", format))
    assert again.get_vocab() == ours.get_vocab()
    texts = [*BATCH, "a [X] b"]
    assert again(texts).input_ids == ours(texts).input_ids
    if format == "engine":
        assert again.options == ours.options


@pytest.mark.parametrize("family", FAMILIES)
def test_published_class_opens_what_we_save(
    sides: dict[str, Sides], tmp_path: Path, family: str
) -> None:
    ours = sides[family].open_ours(padding_side="left", max_length=99)
    ours.add_tokens(["[A]"], special=True)
    ours.add_tokens(["[b]", AddedToken(content="[C]", rstrip=True, special=False)])
    theirs = published_class(family).from_pretrained(ours.save(tmp_path, "huggingface"))
    texts = [*BATCH, "x [A] y [b]  [C]  z"]
    assert theirs(texts).input_ids == ours(texts).input_ids
    assert theirs.padding_side == "left" and theirs.model_max_length == 99
    for row in ours(texts).input_ids:
        assert theirs.decode(row, skip_special_tokens=True) == ours.decode(
            row, skip_special_tokens=True
        )


@pytest.mark.parametrize("family", FAMILIES)
def test_we_open_what_the_published_class_saves(
    sides: dict[str, Sides], tmp_path: Path, family: str
) -> None:
    theirs = sides[family].open_published()
    theirs.add_tokens(["[b]"])
    theirs.add_special_tokens(
        {"additional_special_tokens": ["[A]"]}, replace_additional_special_tokens=False
    )
    theirs.save_pretrained(tmp_path)
    texts = [*BATCH, "x [A] y [b] z"]
    ours = opened(family, tmp_path)
    assert ours(texts).input_ids == theirs(texts).input_ids
    assert ours.get_vocab() == theirs.get_vocab()


@pytest.mark.parametrize("family", FAMILIES)
def test_older_directories(sides: dict[str, Sides], tmp_path: Path, family: str) -> None:
    """Before added_tokens_decoder there were special_tokens_map.json and added_tokens.json; or only
    config.json.
    """
    both = sides[family]
    shutil.copytree(both.directory, tmp_path, dirs_exist_ok=True)
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    del config["added_tokens_decoder"]
    beyond = {
        token: index
        for token, index in both.ours.get_vocab().items()
        if index >= both.ours.vocab_size
    }
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    (tmp_path / "added_tokens.json").write_text(json.dumps({**beyond, "[b]": len(both.ours)}))
    texts = [*BATCH, "x [b] z"]
    assert (
        opened(family, tmp_path)(texts).input_ids
        == published_class(family).from_pretrained(tmp_path)(texts).input_ids
    )
    for name in ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"):
        (tmp_path / name).unlink()
    model_types = {"transformer-xl": "transfo-xl"}
    (tmp_path / "config.json").write_text(
        json.dumps({"model_type": model_types.get(family, family)})
    )
    assert opened(family, tmp_path)(BATCH).input_ids == both.ours(BATCH).input_ids


@pytest.mark.parametrize("family", SENTENCEPIECE)
def test_directories_as_they_stand_on_the_hub(
    sides: dict[str, Sides], tmp_path: Path, family: str
) -> None:
    """The first ones hold a model's config.json, the piece model and tokenizer.json, which knows
    the added tokens.
    """
    published_class(family, fast=True).from_pretrained(sides[family].directory).save_pretrained(
        tmp_path
    )
    (tmp_path / "tokenizer_config.json").unlink()
    (tmp_path / "special_tokens_map.json").unlink()
    (tmp_path / "added_tokens.json").unlink(missing_ok=True)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": family}))
    theirs, ours = published_class(family).from_pretrained(tmp_path), load_tokenizer(tmp_path)
    texts = [*BATCH, "a <mask> b<s>", "<pad> <unk>"]
    assert ours(texts).input_ids == theirs(texts).input_ids
    assert ours.get_vocab() == theirs.get_vocab()
    for ids in ours(texts).input_ids:
        assert ours.decode(ids, skip_special_tokens=True) == theirs.decode(
            ids, skip_special_tokens=True
        )
    (tmp_path / "tokenizer_config.json").write_text(
        '{"tokenizer_class": "PreTrainedTokenizerFast"}'
    )
    assert load_tokenizer(tmp_path)(texts).input_ids == ours(texts).input_ids


def test_languages_that_only_the_network_was_told(sides: dict[str, Sides], tmp_path: Path) -> None:
    shutil.copytree(sides["xlm"].directory, tmp_path, dirs_exist_ok=True)
    (tmp_path / "config.json").write_text(
        json.dumps({"model_type": "xlm", "lang2id": {"de": 0, "en": 1}})
    )
    assert set(load_tokenizer(tmp_path)("Hallo", lang="de").langs) == {0}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_saved_model_directory(sides: dict[str, Sides], tmp_path: Path, family: str) -> None:
    ours = sides[family].ours
    for name, content in ours.algorithm.files().items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "spec.yaml").write_text(
        write_yaml({"name": family, "tokenizer": resolved_section(ours.options)}), "utf-8"
    )
    assert load_tokenizer(tmp_path)(BATCH).input_ids == ours(BATCH).input_ids
    assert build_tokenizer(ours.options, tmp_path)(BATCH).input_ids == ours(BATCH).input_ids


@pytest.mark.parametrize("family", FAMILIES)
def test_workers_get_copies(sides: dict[str, Sides], family: str) -> None:
    """A tokenizer travels to another process, as data loaders ask."""
    ours = sides[family].open_ours()
    ours.add_tokens(["[X]"])
    again = pickle.loads(pickle.dumps(ours))
    assert again(["a [X]", *BATCH]).input_ids == ours(["a [X]", *BATCH]).input_ids


def test_the_hub(sides: dict[str, Sides], monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def snapshot(repository: str, **settings: Any) -> str:
        asked.update(settings, repository=repository)
        return str(sides["xglm"].directory)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    assert (
        load_tokenizer("facebook/xglm-564M", revision="abc")(BATCH).input_ids
        == sides["xglm"].ours(BATCH).input_ids
    )
    assert asked["repository"] == "facebook/xglm-564M" and asked["revision"] == "abc"
    assert not any(
        pattern.endswith((".bin", ".safetensors"))
        for pattern in asked["allow_patterns"]
        if "vocab" not in pattern
    )


def test_the_hub_says_no(monkeypatch: pytest.MonkeyPatch) -> None:
    def snapshot(repository: str, **settings: Any) -> str:
        raise OSError("404")

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    with pytest.raises(
        TokenizationError, match="neither a directory here nor a model that the hub gives"
    ):
        load_tokenizer("nobody/nothing")


def test_wrong_places(sides: dict[str, Sides], tmp_path: Path) -> None:
    with pytest.raises(TokenizationError, match="there is no such directory"):
        load_tokenizer(tmp_path / "nowhere")
    with pytest.raises(TokenizationError, match="it holds nothing"):
        load_tokenizer(tmp_path)
    with pytest.raises(TokenizationError, match="opened by its directory"):
        load_tokenizer(sides["xlm"].directory / "vocab.json")
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}')
    with pytest.raises(TokenizationError, match="'BertTokenizer' is not one of XLNetTokenizer"):
        load_tokenizer(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "XLMTokenizer"}')
    with pytest.raises(
        VocabularyError, match="there is no such file; the directory holds tokenizer_config"
    ):
        load_tokenizer(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": ')
    with pytest.raises(VocabularyError, match="not JSON, or cut"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kept", [0.0, 0.3, 0.9, 0.999])
def test_vocabularies_cut_short(
    sides: dict[str, Sides], tmp_path: Path, family: str, kept: float
) -> None:
    shutil.copytree(sides[family].directory, tmp_path, dirs_exist_ok=True)
    files = sides[family].ours.algorithm.files()
    for name, content in files.items():
        if name == "vocab.txt":
            continue  # A shorter list of words is a list of words; see the next test.
        cut = content[: int(len(content) * kept)]
        if name.startswith("merges") and b" " in cut:
            cut = cut[
                : cut.rindex(b" ")
            ]  # within a line: up to the end of one, it would be a shorter list
        (tmp_path / name).write_bytes(cut)
        with pytest.raises(VocabularyError, match=name.replace(".", r"\.")):
            load_tokenizer(tmp_path)
        (tmp_path / name).write_bytes(content)


def test_broken_word_lists(sides: dict[str, Sides], tmp_path: Path) -> None:
    shutil.copytree(sides["transformer-xl"].directory, tmp_path, dirs_exist_ok=True)
    for content, says in (
        (b"", "is empty"),
        (b"a\n\nb\n", "vocab.txt:2"),
        (b"a\nb\n", "<unk>"),
        (b"\xff\xfe", "UTF-8"),
    ):
        (tmp_path / "vocab.txt").write_bytes(content)
        with pytest.raises(VocabularyError, match=says):
            load_tokenizer(tmp_path)


def test_saving_what_no_published_class_does(sides: dict[str, Sides], tmp_path: Path) -> None:
    ours = sides["xlm"].ours.with_options(splitting="spaces")
    with pytest.raises(TokenizationError, match="nearest is xlm, which differs in splitting"):
        ours.save(tmp_path / "theirs", "huggingface")
    assert load_tokenizer(ours.save(tmp_path / "ours"))("a b").input_ids == ours("a b").input_ids
    with pytest.raises(TokenizationError, match="is not one of 'engine', 'huggingface'"):
        ours.save(tmp_path, "other")  # type: ignore[arg-type]


def test_an_interrupted_save_leaves_the_old_file(
    sides: dict[str, Sides], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = sides["xlm"].ours
    ours.save(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def fail(*_: Any) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(
        TokenizationError, match="cannot be written, and is as it was: the disk is full"
    ):
        ours.save(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_neither_torch_nor_the_engine_is_imported(sides: dict[str, Sides]) -> None:
    script = (
        "import sys; from tokenization import load_tokenizer\n"
        f"load_tokenizer({str(sides['xlm'].directory)!r})('Hello')\n"
        "print([name for name in ('torch', 'engine', 'transformers', 'heads') if name in sys.modules])"
    )
    root = Path(__file__).resolve().parents[2]
    found = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=root, check=True
    )
    assert found.stdout.strip() == "[]"

"""Published vocabularies in pickles: read without running anything, or refused with a clear error."""

import collections
import os
import pickle
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.tokenization.sides import Sides
from tests.tokenization.texts import NEWS, SENTENCES
from tokenization import VocabularyError, load_tokenizer
from tokenization.files.pickles import read_pickled_words

BATCH = [*SENTENCES.values(), *NEWS]


class Malicious:
    """Writes a file when a pickle that holds it is read in the ordinary way."""

    def __init__(self, mark: Path, call: Any = os.system) -> None:
        self.mark, self.call = mark, call

    def __reduce__(self) -> Any:
        return self.call, (f"touch {self.mark}",)


@pytest.mark.parametrize("call", [os.system, eval, exec, subprocess.getoutput])
@pytest.mark.parametrize("writer", ["pickle", "torch", "torch, older layout"])
def test_a_malicious_pickle_runs_nothing(tmp_path: Path, writer: str, call: Any) -> None:
    mark = tmp_path / "mark"
    content = {"idx2sym": ["<unk>", "a"], "sym2idx": Malicious(mark, call)}
    path = tmp_path / ("vocab.pkl" if writer == "pickle" else "vocab.bin")
    if writer == "pickle":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=writer == "torch")
    with pytest.raises(VocabularyError, match="it asks for"):
        read_pickled_words(path)
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "TransfoXLTokenizer"}')
    with pytest.raises(VocabularyError, match="it asks for"):
        load_tokenizer(tmp_path)
    assert not mark.exists()


@pytest.mark.parametrize("writer", ["pickle", "torch", "torch, older layout"])
def test_published_pickles(tmp_path: Path, writer: str) -> None:
    words = ["<eos>", "<unk>", "the", "of"]
    content = {
        "counter": collections.Counter(words),
        "special": ["<eos>"],
        "sym2idx": collections.OrderedDict((word, index) for index, word in enumerate(words)),
        "idx2sym": words,
    }
    path = tmp_path / "vocab.bin"
    if writer == "pickle":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=writer == "torch")
    assert read_pickled_words(path) == words
    for kept in (1, len(path.read_bytes()) // 2):
        (tmp_path / "cut").write_bytes(path.read_bytes()[:kept])
        with pytest.raises(VocabularyError, match="cut short"):
            read_pickled_words(tmp_path / "cut")


@given(data=st.data(), protocol=st.integers(0, 5))
def test_damaged_pickles(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, protocol: int
) -> None:
    """Whatever bytes are changed, the reader gives words or a clear error."""
    content = bytearray(
        pickle.dumps({"idx2sym": ["a", "<unk>"], "counter": collections.Counter("ab")}, protocol)
    )
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("damaged") / "vocab.pkl"
    path.write_bytes(bytes(content))
    try:
        assert all(isinstance(word, str) for word in read_pickled_words(path))
    except VocabularyError as error:
        assert str(path) in str(error)


def test_the_published_class_s_own_pickle(sides: dict[str, Sides], tmp_path: Path) -> None:
    """It pickles its whole self, tries and Moses objects included; only the words are taken out,
    and kept as text.
    """
    both = sides["transformer-xl"]
    both.published.save_pretrained(tmp_path)
    assert (tmp_path / "vocab.pkl").exists() and not (tmp_path / "vocab.txt").exists()
    ours = load_tokenizer(tmp_path)
    assert ours(BATCH).input_ids == both.published(BATCH).input_ids
    converted = ours.save(tmp_path / "text")
    assert sorted(path.name for path in converted.iterdir()) == ["tokenizer.yaml", "vocab.txt"]
    assert load_tokenizer(converted)(BATCH).input_ids == ours(BATCH).input_ids


@pytest.mark.parametrize(
    "content",
    [b"", b"not a pickle", pickle.dumps(["a"]), pickle.dumps({"idx2sym": [1]}), b"PK\x03\x04"],
)
def test_other_things_are_no_pickles(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "vocab.pkl").write_bytes(content)
    with pytest.raises(VocabularyError):
        read_pickled_words(tmp_path / "vocab.pkl")

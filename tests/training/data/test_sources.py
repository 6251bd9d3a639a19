"""What can be read, and what is said, with file and line, of what cannot."""

import json

import pytest

from engine import InputError
from engine.training.data import sources
from engine.training.data.sources import hold_out, read_texts
from engine.training.recipe.sections import HubSource, SquadSource, TableSource, TextSource
from tests.training.data.made import table

ARTICLE = {
    "title": "Cats",
    "paragraphs": [
        {
            "context": "The cat sat.",
            "qas": [
                {
                    "id": "1",
                    "question": "Who?",
                    "answers": [{"text": "The cat", "answer_start": 0}],
                },
                {"id": "2", "question": "Why?", "answers": [], "is_impossible": True},
            ],
        }
    ],
}


def read(folder, *given):
    return list(read_texts(tuple(given), base=folder))


def refused(folder, *given):
    with pytest.raises(InputError) as error:
        read_texts(tuple(given), base=folder)
    return str(error.value)


def test_lines_paragraphs_and_files(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfone\r\n\ntwo\nthree\n\n\n")
    found = read(tmp_path, TextSource(kind="text", files="*.txt", language="en"))
    assert [(row["text"], row["source"]) for row in found] == [
        ("one", "a.txt:1"), ("two", "a.txt:3"), ("three", "a.txt:4"),
    ]  # fmt: skip
    assert {row["language"] for row in found} == {"en"}
    found = read(tmp_path, TextSource(kind="text", files="*.txt", text="paragraph"))
    assert [(row["text"], row["source"]) for row in found] == [
        ("one", "a.txt:1"), ("two\nthree", "a.txt:3"),
    ]  # fmt: skip
    found = read(tmp_path, TextSource(kind="text", files=("a.txt", "*.txt"), text="file"))
    assert [row["text"] for row in found] == ["one\n\ntwo\nthree"]


def test_tables_have_their_columns_by_role(tmp_path):
    arrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    rows = [{"body": "one", "stars": 1}, {"body": 'two,\n"three"', "stars": 2}]
    parquet.write_table(arrow.Table.from_pylist(rows), tmp_path / "rows.parquet")
    (tmp_path / "rows.csv").write_text('body,stars\none,1\n"two,\n""three""",2\n')
    fields = {"text": "body", "label": "stars"}
    named = table(rows, tmp_path).model_copy(update={"fields": fields, "language": "en"})
    found = read(tmp_path, named)
    assert [row["text"] for row in found] == ["one", 'two,\n"three"']
    assert found[1] == {
        "text": 'two,\n"three"', "label": 2, "language": "en", "source": "rows.jsonl:2",
    }  # fmt: skip
    for kind in ("parquet", "csv"):
        source = TableSource(kind=kind, files=f"rows.{kind}", fields=fields)
        found = read(tmp_path, source)
        assert [row["text"] for row in found] == ["one", 'two,\n"three"']
        assert [str(row["label"]) for row in found] == ["1", "2"]
        assert found[1]["source"] == f"rows.{kind}:{2 if kind == 'parquet' else 3}"


def test_sources_together_have_the_columns_of_all(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "TOGETHER", 2)
    (tmp_path / "a.txt").write_text("one\ntwo\nthree\n")
    rows = [{"text": "four", "label": 1}, {"text": "five", "label": 2.5}, {"text": "six"}]
    found = read(tmp_path, TextSource(kind="text", files="a.txt"), table(rows, tmp_path))
    assert [row["text"] for row in found] == ["one", "two", "three", "four", "five", "six"]
    assert [row["label"] for row in found] == [None, None, None, 1.0, 2.5, None]


def test_questions_of_squad(tmp_path):
    (tmp_path / "q.json").write_text(json.dumps({"version": "2.0", "data": [ARTICLE]}))
    first, second = read(tmp_path, SquadSource(kind="squad", files="q.json"))
    assert first["answers"] == {"text": ["The cat"], "answer_start": [0]}
    assert (first["question"], first["context"]) == ("Who?", "The cat sat.")
    assert second["is_impossible"] and second["source"] == "q.json: question 2"
    (tmp_path / "q.json").write_text('{"data": [{}]}')
    assert "q.json: not a file of SQuAD" in refused(
        tmp_path, SquadSource(kind="squad", files="q.json")
    )


def test_a_dataset_by_its_name(tmp_path):
    (tmp_path / "set").mkdir()
    table([{"body": "one"}, {"body": "two"}], tmp_path / "set", "train.jsonl")
    name = str(tmp_path / "set")
    found = read(tmp_path, HubSource(kind="hub", name=name, fields={"text": "body"}))
    assert [row["text"] for row in found] == ["one", "two"]
    message = refused(tmp_path, HubSource(kind="hub", name=name, split="tset"))
    assert "split tset) cannot be loaded" in message


def test_what_cannot_be_read_is_named(tmp_path):
    def text(files):
        return refused(tmp_path, TextSource(kind="text", files=files))

    def rows(content, **fields):
        (tmp_path / "b.jsonl").write_bytes(content)
        return refused(tmp_path, TableSource(kind="jsonl", files="b.jsonl", fields=fields))

    (tmp_path / "news.txt").write_bytes(b"good\nb\xe4d\n")
    assert text("new.txt").startswith("no file matches 'new.txt'")
    assert "did you mean 'news.txt'" in text("new.txt")
    assert "there is no folder" in text("more/*.txt")
    assert "is a folder: name its files, such as ./*.txt" in text(".")
    assert text("news.txt") == ("news.txt:2: not UTF-8 (byte 0xe4 at 2): save the file as UTF-8")
    (tmp_path / "news.txt").write_bytes("good".encode("utf-16"))
    assert text("news.txt") == "news.txt:1: UTF-16, not UTF-8: save the file as UTF-8"
    (tmp_path / "news.txt").write_bytes(b"\n \n")
    assert text("news.txt") == "the sources hold no text: news.txt"
    assert rows(b'{"text": "a"}\n\n{"text": \n').startswith("b.jsonl:3: not JSON (Expecting value")
    assert rows(b"[1]\n").startswith("b.jsonl:1: a list, expected an object")
    assert rows(b'{"text": "a"}\n{"txt": "a"}\n', text="text") == (
        "b.jsonl:2: there is no column 'text' for text, did you mean 'txt'?"
    )
    assert rows(b'{"text": "a"}\n{"text": 1}\n').startswith("b.jsonl:2: the column 'text' is int")
    (tmp_path / "c.csv").write_text("text,label\none\n")
    message = refused(tmp_path, TableSource(kind="csv", files="c.csv"))
    assert message == "c.csv:2: 1 columns, expected 2: text, label"
    (tmp_path / "d.parquet").write_text("no parquet")
    message = refused(tmp_path, TableSource(kind="parquet", files="d.parquet"))
    assert message.startswith("d.parquet:1: not readable as parquet")


def test_a_share_is_held_out_by_the_seed(tmp_path):
    texts = [f"text {number // 2}" for number in range(200)]
    (tmp_path / "a.txt").write_text("\n".join(texts))
    found = read_texts((TextSource(kind="text", files="a.txt"),), base=tmp_path)
    train, held_out = hold_out(found, 0.1, 0)
    assert len(train) + len(held_out) == 200 and 20 <= len(held_out) <= 21
    assert not set(train["text"]) & set(held_out["text"])
    assert list(hold_out(found, 0.1, 0)[1]["source"]) == list(held_out["source"])
    assert list(hold_out(found, 0.1, 1)[1]["source"]) != list(held_out["source"])
    with pytest.raises(InputError, match="leaves none to learn from"):
        hold_out(found.select([0]), 0.1, 0)

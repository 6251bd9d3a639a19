"""Scoring and generation on two processes: the lines of one, written once."""

import contextlib
import json
import os
import random
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from engine import build_model, load_spec, save_model
from engine.laws.calls import randomise
from tokenization import train_tokenizer

WORDS = ["the", "red", "house", "stands", "here", "a", "small", "dog", "runs", "home", "number"]
TEXTS = [" ".join(WORDS[start % 7 :][: 2 + start % 5]) for start in range(13)]
Answer = dict[str, Any]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny saved decoder, and files of texts."""
    where = tmp_path_factory.mktemp("team")
    described = load_spec("families/xglm").tokenizer
    assert described is not None
    tokenizer = train_tokenizer(described, TEXTS * 20, 60)
    small = {"dims.layers": 1, "dims.model": 16, "dims.heads": 2, "dims.inner": 24}
    model = build_model("families/xglm", overrides={**small, "dims.vocab": len(tokenizer)})
    randomise(model)
    save_model(model, where)
    tokenizer.save(where)
    lines = [*TEXTS, "", "   ", *(f"number {number}" for number in range(9))]
    (where / "many").write_text("\n\n".join(lines) + "\n", encoding="utf-8")
    (where / "few").write_text("a small dog\n", encoding="utf-8")
    (where / "none").write_text("\n \n", encoding="utf-8")
    (where / "latin").write_bytes("\n".join(TEXTS[:9]).encode() + b"\n\xfc\n")
    (where / "other0").write_text("a small dog\n", encoding="utf-8")
    (where / "other1").write_text("a small dog\nhere\n", encoding="utf-8")
    return where


@pytest.fixture(scope="module")
def answers(folder: Path) -> tuple[list[Answer], list[list[Answer]]]:
    """What one process answers to the questions of SAME, and what each of two to all of them."""
    questions = [*SAME.values(), *ENDING.values()]
    for question in questions:
        words = [word.replace("WHERE", str(folder)) for word in question["words"]]
        question.update(words=[words[0], str(folder), *words[1:]], alone=question in SAME.values())
    (folder / "questions").write_text(json.dumps(questions), encoding="utf-8")
    given = {**os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "OMP_NUM_THREADS": "1"}
    given["MASTER_PORT"] = str(free_ports(len(questions)))
    program = [sys.executable, "-m", "tests.cli.asked", str(folder / "questions")]
    started = [
        subprocess.Popen(program, env={**given, "RANK": str(rank), "LOCAL_RANK": str(rank)})
        for rank in range(2)
    ]
    assert [process.wait(timeout=600) for process in started] == [0, 0]
    found = [json.loads((folder / f"questions.{rank}").read_text("utf-8")) for rank in range(2)]
    return found[0]["alone"], [found[0]["together"], found[1]["together"]]


def free_ports(count: int) -> int:
    """The first of so many ports in a row on which nobody listens."""
    while True:
        first = random.randrange(20_000, 30_000)
        with contextlib.suppress(OSError), contextlib.ExitStack() as probes:
            for port in range(first, first + count):
                probes.enter_context(socket.socket()).bind(("127.0.0.1", port))
            return first


def question(*words: str, **given: Any) -> dict[str, Any]:
    return {"words": list(words), **given}


SCORE = ("score", "--batch-size", "2", "--json", "--compute", "cpu", "--file")
DRAW = ("generate", "--sample", "--seed", "3", "--num-return-sequences", "2", "--batch-size", "3")
SAME = {
    "scores": question(*SCORE, "WHERE/many"),
    "texts drawn": question(*DRAW, "--max-new-tokens", "4", "--file", "WHERE/many"),
    "fewer texts than processes": question(*SCORE, "WHERE/few"),
    "texts behind the name": question("generate", "the red", "a dog", "--max-new-tokens", "3"),
    "a file that ends in other bytes": question(*SCORE, "WHERE/latin"),
    "a file without text": question(*SCORE, "WHERE/none"),
    "a method that is none": question(*SCORE, "WHERE/many", "--method", "best"),
}
ENDING = {
    "another file": question(*SCORE, "WHERE/otherRANK"),
    "an error of one": question(*SCORE, "WHERE/many", fails=1, error="OSError"),
    "a fault in one": question(*SCORE, "WHERE/many", fails=1, error="RuntimeError"),
    "standard input": question("score"),
    "into a file": question(*SCORE, "WHERE/many", "--output", "WHERE/written"),
    "a folder that is not there": question(*SCORE, "WHERE/many", "--output", "WHERE/no/written"),
}


@pytest.mark.parametrize("name", SAME)
def test_two_processes_write_what_one_writes(
    answers: tuple[list[Answer], list[list[Answer]]], name: str
) -> None:
    alone, (first, second) = answers
    place = list(SAME).index(name)
    assert first[place] == alone[place]
    assert second[place]["out"] == second[place]["said"] == ""
    assert second[place]["code"] == alone[place]["code"]


def test_the_questions_have_answers(answers: tuple[list[Answer], list[list[Answer]]]) -> None:
    found = dict(zip(SAME, answers[0], strict=True))
    scored = [json.loads(line)["text"] for line in found["scores"]["out"].splitlines()]
    assert scored == [*TEXTS, *(f"number {number}" for number in range(9))]
    drawn = found["texts drawn"]["out"].splitlines()
    assert len(drawn) == 2 * len(scored) and len(set(drawn[-18:])) > 9
    broken = found["a file that ends in other bytes"]
    assert (len(broken["out"].splitlines()), broken["code"]) == (8, 2)
    assert "line 10: not UTF-8" in broken["said"]


def test_what_ends_one_process_ends_both(
    answers: tuple[list[Answer], list[list[Answer]]],
) -> None:
    alone, (first, second) = answers
    told = dict(zip(ENDING, list(zip(first, second, strict=True))[len(SAME) :], strict=True))
    for name, said, code in (
        ("another file", "the processes read different texts", 2),
        ("an error of one", "here\n", 2),
        ("a fault in one", "", 1),
        ("standard input", "standard input can be read by one process alone", 2),
        ("into a file", "", 0),
        ("a folder that is not there", "written", 2),
    ):
        one, other = told[name]
        assert said in one["said"], name
        assert (other["said"], other["out"]) == ("", ""), name
        assert (one["code"], other["code"]) == (code, code), name
    # Of 22 texts in batches of two the one with "number 1" is in the eighth, the second process's.
    before = alone[0]["out"].splitlines()[:14]
    assert told["an error of one"][0]["out"].splitlines() == before
    assert [answer["error"] for answer in told["a fault in one"]] == ["SystemExit", "RuntimeError"]


def test_a_file_is_written_whole_or_not_at_all(
    folder: Path, answers: tuple[list[Answer], list[list[Answer]]]
) -> None:
    assert (folder / "written").read_text("utf-8") == answers[0][0]["out"]
    assert not list(folder.glob(".written*"))

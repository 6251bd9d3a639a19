"""The commands as programs: files, streams and terminals as they come, without a traceback."""

import functools
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from engine import build_model, load_spec, save_model
from engine.cli import main
from tokenization import train_tokenizer

TEXTS = ["the red house stands here", "Grüße aus dem roten Haus", "the dog sees the red house"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A tiny saved decoder with a tokenizer of its own."""
    described = load_spec("families/xglm").tokenizer
    assert described is not None
    tokenizer = train_tokenizer(described, TEXTS * 20, 60)
    small = {
        "dims.layers": 1,
        "dims.model": 16,
        "dims.heads": 2,
        "dims.inner": 24,
        "dims.vocab": len(tokenizer),
    }
    where = tmp_path_factory.mktemp("xglm")
    save_model(build_model("families/xglm", overrides=small, seed=0), where)
    tokenizer.save(where)
    return str(where)


def start(*words: str, **options: Any) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **options.pop("environment", {})}
    streams = {
        "stdin": subprocess.DEVNULL,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
        **options,
    }
    return subprocess.Popen([sys.executable, "-m", "engine", *words], env=environment, **streams)


def ended(process: subprocess.Popen[bytes]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=600)
    return process.returncode, (out or b"").decode(), (err or b"").decode()


@pytest.mark.parametrize("command", ["score", "tokenize"])
def test_files_that_are_not_utf_8(folder: str, command: str, tmp_path: Path) -> None:
    wrong = tmp_path / "latin.txt"
    wrong.write_bytes("das Haus\nGrüße\n".encode("latin-1"))
    expected = "line 2: not UTF-8 text (byte 0xfc at 2)\n"
    for words, given, where in (
        (["--file", str(wrong)], None, wrong),
        ([], wrong.read_bytes(), "standard input"),
    ):
        found = CliRunner().invoke(main, [command, folder, *words], input=given)
        assert (found.exit_code, found.stderr) == (2, f"{where}, {expected}")


@pytest.mark.parametrize("command", ["score", "generate", "tokenize"])
def test_texts_and_a_file_together(folder: str, command: str) -> None:
    found = CliRunner().invoke(main, [command, folder, "a text", "--file", __file__])
    assert (found.exit_code, found.stderr) == (
        2, "texts come from the command line or from --file, not from both\n",
    )  # fmt: skip


def test_a_terminal_without_the_characters(folder: str) -> None:
    plain = {"PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
    code, out, said = ended(start("tokenize", folder, TEXTS[1], environment=plain))
    assert (code, said) == (0, "") and "Gr\\xfc\\xdfe aus" in out
    found = CliRunner(charset="ascii").invoke(main, ["score", folder, TEXTS[1], "--json"])
    assert (found.exit_code, found.stderr) == (0, "") and found.stdout.isascii()
    assert json.loads(found.stdout)["text"] == TEXTS[1]


def test_a_reader_that_has_seen_enough(folder: str) -> None:
    for words in (("tokenize", folder, *TEXTS * 900), ("--help",)):
        process = start(*words)
        assert process.stdout is not None
        process.stdout.close()
        process.stdout = None
        assert ended(process)[::2] == (0, ""), words


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_no_space_left(folder: str) -> None:
    with Path("/dev/full").open("wb") as full:
        process = start("tokenize", folder, *TEXTS, stdout=full)
        assert ended(process) == (2, "", "No space left on device\n")


def test_closed_streams(folder: str) -> None:
    closed = ["sh", "-c", f'"{sys.executable}" -m engine tokenize "{folder}" <&-']
    done = subprocess.run(closed, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stderr.startswith("standard input is closed")
    shut = ["sh", "-c", f'"{sys.executable}" -m engine tokenize "{folder}" text >&-']
    done = subprocess.run(shut, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_an_interruption_is_quiet(folder: str) -> None:
    # A suite that runs in the background inherits a shell's wish to ignore interruptions.
    heard = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    process = start("score", folder, "--batch-size", "1", stdin=subprocess.PIPE, preexec_fn=heard)
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(b"the dog\n")
    process.stdin.flush()
    assert process.stdout.readline().endswith(b"the dog\n")
    process.send_signal(signal.SIGINT)
    assert ended(process) == (130, "", "")


def test_a_folder_where_a_file_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").mkdir()
    found = CliRunner().invoke(main, ["describe", str(tmp_path / "spec.yaml")])
    assert (
        found.exit_code == 2 and len(found.stderr.splitlines()) == 1 and "spec.yaml" in found.stderr
    )
    (tmp_path / "latin.yaml").write_bytes("name: gr\xfc\n".encode("latin-1"))
    found = CliRunner().invoke(main, ["describe", str(tmp_path / "latin.yaml")])
    assert found.exit_code == 2 and "latin.yaml" in found.stderr

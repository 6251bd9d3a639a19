"""Every Python block and every `engine` command of README.md runs as it stands there."""

import contextlib
import io
import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from engine import build_model, save_model
from engine.cli import main
from engine.demo.networks import bundled
from engine.demo.run import keep

README = Path(__file__).parents[1] / "README.md"


def blocks(language):
    """The fenced blocks of a language."""
    return re.findall(
        rf"^```{language}\n(.*?)^```", README.read_text(encoding="utf-8"), flags=re.S | re.M
    )


COMMANDS = [line for block in blocks("console") for line in block.splitlines() if line]

SMALL_LLAMA = {
    "dims.vocab": 64,
    "dims.model": 32,
    "dims.layers": 2,
    "dims.inner": 48,
}


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """A folder with what `make demo` leaves behind."""
    folder = tmp_path_factory.mktemp("readme")
    for family in {match for line in COMMANDS for match in re.findall(r"\.demo/([\w-]+)", line)}:
        keep(bundled(family), folder / ".demo", family)
    (folder / "mine.yaml").write_text(spec_of_the_reader(), encoding="utf-8")
    llama = build_model("llama-small", overrides=SMALL_LLAMA, seed=0)
    save_model(llama, folder / "path/to/llama", format="huggingface")
    return folder


def spec_of_the_reader():
    """The text that README writes to mine.yaml."""
    [text] = [
        text
        for block in blocks("python")
        for text in re.findall(
            r'^Path\("mine\.yaml"\)\.write_text\("""(.*?)"""\)', block, re.S | re.M
        )
    ]
    return text


def test_python_blocks_run_one_after_the_other(tmp_path, monkeypatch):
    found = blocks("python")
    assert len(found) >= 8
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "readme"}
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        for block in found:
            exec(compile(block, str(README), "exec"), names)
    assert "564463616" in said.getvalue()


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_run(command, workplace, monkeypatch):
    monkeypatch.chdir(workplace)
    program, *words = shlex.split(command)
    assert program == "engine"
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    assert result.output.strip()


def test_make_targets_exist():
    makefile = (README.parent / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^    make (\w+)", README.read_text(encoding="utf-8"), flags=re.M):
        assert re.search(rf"^{target}:", makefile, flags=re.M)

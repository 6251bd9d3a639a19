"""The guides of docs/architecture.md, followed step by step in a copy of the project, and that of
docs/variants.md.
"""

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from engine.cli import main

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs" / "architecture.md"
STEP = re.compile(r"<!-- (\w+) (\S+)(?: before \"([^\n]*)\")? -->\n```\w+\n(.*?)^```", re.S | re.M)
STEPS = STEP.findall(DOCS.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with the files and lines that the guides add."""
    folder = tmp_path_factory.mktemp("guides")
    for package in ("engine", "heads", "tokenization", "specs"):
        # With what Python compiled of it, which holds for copies of the same age.
        shutil.copytree(ROOT / package, folder / package)
    for step, name, place, block in STEPS:
        path = folder / name
        if step == "write":
            path.write_text(block, encoding="utf-8")
        elif step == "insert":
            before, line = path.read_text(encoding="utf-8"), place.replace('\\"', '"')
            assert before.count(f"\n{line}") == 1, f"{name} has no single line {line!r}"
            path.write_text(before.replace(f"\n{line}", f"\n{block}{line}"), encoding="utf-8")
    return folder


PROGRAMS = {name: block for step, name, _, block in STEPS if step == "run"}
# One process for all: most of what a guide costs is the import of torch.
RUN = """
import json, sys, traceback
sys.path.insert(0, ".")
for guide, program in json.load(sys.stdin).items():
    try:
        exec(compile(program, guide, "exec"), {"__name__": guide})
    except Exception:
        print(json.dumps([guide, traceback.format_exc()]), file=sys.stderr)
"""


@pytest.fixture(scope="module")
def failures(followed: Path) -> dict[str, str]:
    """What went wrong in each guide that does not lead where it says."""
    ended = subprocess.run(
        [sys.executable, "-c", RUN], input=json.dumps(PROGRAMS),
        cwd=followed, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    lines = (line for line in ended.stderr.splitlines() if line.startswith('["'))
    return dict(json.loads(line) for line in lines)


@pytest.mark.parametrize("guide", PROGRAMS)
def test_a_guide_leads_where_it_says(guide: str, failures: dict[str, str]) -> None:
    assert guide not in failures, failures[guide]


def test_every_folder_of_the_engine_is_a_room_of_the_picture() -> None:
    told = DOCS.read_text(encoding="utf-8")
    rooms = {path.parent.name for path in (ROOT / "engine").glob("*/__init__.py")}
    assert not {room for room in rooms if f"`engine/{room}/`" not in told}


def test_a_variant_is_written_as_its_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for step, name, _, block in STEP.findall((ROOT / "docs" / "variants.md").read_text("utf-8")):
        if step == "write":
            Path(name).write_text(block, encoding="utf-8")
        elif step == "run":
            exec(compile(block, name, "exec"), {"__name__": name})
        for line in block.splitlines() if step == "type" else ():
            told = CliRunner().invoke(main, shlex.split(line)[1:])
            assert told.exit_code == 0 and "left over" not in told.output, told.output

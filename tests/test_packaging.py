"""What is built from this tree works without it."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BUILD = "from setuptools import build_meta; print(build_meta.build_wheel('out'))"
USE = """
import engine, tokenization.published
from engine.spec.load import SPECS
assert "site" in engine.__file__ and SPECS.parts[-2:] == ("engine", "_specs"), SPECS
assert tokenization.published.SPECS == SPECS
print(engine.load_spec("xlnet-base").dims.layers, engine.load_spec("tiny/xlm").name)
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The wheel of this tree, unpacked."""
    folder = tmp_path_factory.mktemp("wheel")
    tree = folder / "tree"
    for name in ("engine", "heads", "tokenization", "specs"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in"):
        shutil.copy(ROOT / name, tree / name)
    (tree / "README.md").write_text("")
    subprocess.run([sys.executable, "-c", BUILD], cwd=tree, check=True, capture_output=True)
    (wheel,) = (tree / "out").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def test_every_module_and_data_file_is_in_the_wheel(site):
    for package in ("engine", "heads", "tokenization"):
        for path in (ROOT / package).rglob("*"):
            if path.suffix in (".py", ".yaml", ".typed"):
                assert (site / path.relative_to(ROOT)).is_file(), path
    for path in (ROOT / "specs").rglob("*.yaml"):
        built = site / "engine" / "_specs" / path.relative_to(ROOT / "specs")
        assert built.read_bytes() == path.read_bytes()


def test_installed_code_finds_its_specs(site, tmp_path):
    command = [sys.executable, "-c", USE]
    environment = {"PYTHONPATH": str(site), "PATH": ""}
    output = subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True).stdout
    assert output.split() == ["12", "tiny-xlm"]


def test_the_console_script_is_the_typer_app(site):
    (text,) = (path.read_text() for path in site.glob("*.dist-info/entry_points.txt"))
    assert "engine = engine.cli:main" in text


def test_the_check_script_runs_lint_and_tests():
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o111
    subprocess.run(["bash", "-n", str(script)], check=True)
    commands = [line.strip() for line in script.read_text().splitlines() if line.startswith("make ")]
    assert commands == ["make lint", "make test"]

"""What is built from this tree works without it."""

import itertools
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_string
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from engine import __version__
from tokenization.extras import DISTRIBUTION

ROOT = Path(__file__).parents[1]
ROOMS = (
    ".ci",
    "benchmarks",
    "docs",
    "engine",
    "heads",
    "recipes",
    "specs",
    "tests",
    "tokenization",
)
BUILD = """
from setuptools import build_meta
build_meta.build_sdist("out")
build_meta.build_wheel("out")
"""
USE = """
import engine, tokenization.files.published
from engine.spec.load import SPECS
assert "site" in engine.__file__ and SPECS.parts[-2:] == ("engine", "_specs"), SPECS
assert tokenization.files.published.SPECS == SPECS
from engine.training.recipe import load_recipe
assert load_recipe("pretrain/xglm").objective.kind == "causal"
print(engine.load_spec("xlnet-base").dims.layers, engine.load_spec("tiny/xlm").name)
"""


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A copy of this tree, with its sdist and its wheel in `out`."""
    pytest.importorskip("setuptools", minversion="77")
    tree = tmp_path_factory.mktemp("built") / "tree"
    for name in ROOMS:
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in ROOT.iterdir():
        if path.is_file() and path.name != ".git":
            shutil.copy(path, tree)
    subprocess.run([sys.executable, "-c", BUILD], cwd=tree, check=True, capture_output=True)
    return tree


@pytest.fixture(scope="module")
def site(tree):
    """The wheel of this tree, unpacked."""
    (wheel,) = (tree / "out").glob("blockgraph-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tree.with_name("site"))
    return tree.with_name("site")


def test_the_sdist_is_the_whole_tree(tree):
    """Tests too, with all that they read: they run from it."""
    (sdist,) = (tree / "out").glob("blockgraph-*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {Path(*Path(member.name).parts[1:]) for member in archive if member.isfile()}
    there = {
        path.relative_to(ROOT)
        for room in ROOMS
        for path in (ROOT / room).rglob("*")
        if path.is_file()
    }
    there |= {
        path.relative_to(ROOT) for path in ROOT.iterdir() if path.is_file() and path.name != ".git"
    }
    there = {path for path in there if "__pycache__" not in path.parts}
    made = {
        name
        for name in names
        if name.name in ("PKG-INFO", "setup.cfg") or "blockgraph.egg-info" in name.parts
    }
    assert names - made == there


def test_the_distribution_says_what_it_is(site):
    (folder,) = site.glob("blockgraph-*.dist-info")
    told = message_from_string((folder / "METADATA").read_text(encoding="utf-8"))
    assert (told["Name"], told["Version"], told["License-Expression"]) == (
        DISTRIBUTION,
        __version__,
        "Apache-2.0",
    )
    assert "Apache License" in (folder / "licenses" / "LICENSE").read_text(encoding="utf-8")
    assert told["Requires-Python"] == ">=3.10" and told["Keywords"]
    assert "Programming Language :: Python :: 3.10" in told.get_all("Classifier", [])


def test_every_module_and_data_file_is_in_the_wheel(site):
    for package in ("engine", "heads", "tokenization"):
        for path in (ROOT / package).rglob("*"):
            if path.suffix in (".py", ".yaml", ".typed"):
                assert (site / path.relative_to(ROOT)).is_file(), path
    for room in ("specs", "recipes"):
        for path in (ROOT / room).rglob("*.yaml"):
            built = site / "engine" / f"_{room}" / path.relative_to(ROOT / room)
            assert built.read_bytes() == path.read_bytes()


def test_installed_code_finds_its_specs(site, tmp_path):
    command = [sys.executable, "-c", USE]
    environment = {"PYTHONPATH": str(site), "PATH": ""}
    output = subprocess.run(
        command, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True
    ).stdout
    assert output.split() == ["12", "tiny-xlm"]


def test_the_console_script_is_the_typer_app(site):
    (text,) = (path.read_text() for path in site.glob("*.dist-info/entry_points.txt"))
    assert "engine = engine.cli:main" in text


def recipe(target):
    """The commands of a make target, as they would run."""
    command = ["make", "--dry-run", "--always-make", "--no-print-directory", target]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def test_the_check_script_runs_lint_tests_and_the_wheel():
    for script in (ROOT / ".ci" / "run", ROOT / ".ci" / "wheel-test"):
        assert script.stat().st_mode & 0o111
        subprocess.run(["bash", "-n", str(script)], check=True)
    commands = [
        line.strip()
        for line in (ROOT / ".ci" / "run").read_text().splitlines()
        if line.startswith("make ")
    ]
    assert commands == [
        f"make {target}" for target in ("lint", "test", "test-avx2", "test-threads", "wheel-test")
    ]
    assert re.search(
        "ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 .*pytest .*tests/parity",
        recipe("test-avx2"),
    )
    assert re.search("OMP_NUM_THREADS=4 .*pytest .*tests/training", recipe("test-threads"))
    assert ".ci/wheel-test" in recipe("wheel-test")


def test_every_dependency_is_locked():
    """At one version for a Python, and from no particular place."""
    tomllib = pytest.importorskip("tomllib", reason="Python 3.11 reads pyproject.toml")
    locked = {}
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        requirement = Requirement(line.partition("#")[0])
        assert str(requirement.specifier).startswith("=="), line
        locked.setdefault(canonicalize_name(requirement.name), []).append(requirement)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"].values()
    for asked in map(Requirement, [*project["dependencies"], *itertools.chain(*extras)]):
        pins = locked[canonicalize_name(asked.name)]
        for python in ("3.10", "3.11", "3.12", "3.13"):
            environment = {"python_version": python, "python_full_version": f"{python}.0"}
            fitting = [
                pin for pin in pins if pin.marker is None or pin.marker.evaluate(environment)
            ]
            assert len(fitting) == 1, (asked.name, python)
            assert str(fitting[0].specifier).removeprefix("==") in asked.specifier, asked

"""Imports point one way: command line → build → heads → the parts → spec."""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import engine

ROOT = Path(__file__).parents[1]
# What may import what: a package or module may import its own level and those below.
LEVELS = (
    ("tokenization", "engine.errors"),
    ("engine.spec",),
    ("engine.kernels", "engine.arguments"),
    ("engine.memory",),
    ("engine.network", "engine.parameters.offloading"),
    ("heads",),
    ("engine.generation", "engine.parameters", "engine.config", "engine.unpadded"),
    ("engine", "engine.model"),
    ("engine.build",),
    ("engine.checkpoint", "engine.training"),
    ("engine.laws",),
    ("engine.demo",),
    ("engine.cli", "engine.__main__"),
)


def files_of(*packages: str) -> dict[str, Path]:
    """The modules of packages, by name."""
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for package in packages
        for path in sorted((ROOT / package).rglob("*.py"))
    }


FILES = files_of("engine", "heads", "tokenization")
BENCHMARKS = files_of("benchmarks")


def level(module: str) -> int:
    """The level of the longest name that the module stands under."""
    under = {
        name: number
        for number, names in enumerate(LEVELS)
        for name in names
        if f"{module}.".startswith(f"{name}.")
    }
    return under[max(under, key=len)]


@cache
def statements(path: Path) -> tuple[list[ast.AST], set[ast.AST]]:
    """All of a file's syntax, and which of it stands within functions or is for types alone."""
    every = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    inner = {
        node
        for outer in every
        if isinstance(outer, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for node in ast.walk(outer)
    }
    return every, inner


@cache
def imports(path: Path, lazily: bool) -> set[str]:
    """Modules that a file imports, with what it imports from them where that is a module; within
    functions or not.
    """
    every, inner = statements(path)
    found = set()
    for node in every:
        if (node in inner) != lazily:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            known = FILES.keys() | BENCHMARKS.keys()
            found |= {name if name in known else str(node.module) for name in names}
    return found


def ours(names: set[str]) -> set[str]:
    return {name for name in names if name.split(".")[0] in ("engine", "heads", "tokenization")}


@pytest.mark.parametrize("lazily", [False, True], ids=["at once", "within functions"])
def test_imports_point_down(lazily):
    upwards = {
        (module, name)
        for module, path in FILES.items()
        for name in ours(imports(path, lazily))
        if module != "engine" and level(name) > level(module)
    }
    assert upwards == set()
    assert ours(imports(FILES["engine"], lazily=False)) == set()


def test_nothing_imports_in_a_circle():
    needed = {
        module: (imports(path, lazily=False) | imports(path, lazily=True)) - {module}
        for module, path in {**FILES, **BENCHMARKS}.items()
    }
    while free := {module for module, names in needed.items() if not names & set(needed)}:
        needed = {module: names for module, names in needed.items() if module not in free}
    assert needed == {}  # each of these imports another of them


def test_heads_are_imported_by_the_composition_root_alone():
    users = {
        module
        for module, path in FILES.items()
        for name in imports(path, lazily=False) | imports(path, lazily=True)
        if name.split(".")[0] == "heads" and not module.startswith("heads")
    }
    assert users == {"engine.build"}


def test_tokenization_stands_alone():
    for module, path in FILES.items():
        if module.startswith("tokenization"):
            assert not {name.split(".")[0] for name in imports(path, lazily=False)} & {
                "engine",
                "heads",
                "torch",
            }, module
            assert not {name.split(".")[0] for name in imports(path, lazily=True)} & {
                "engine",
                "heads",
            }, module


def test_specs_are_read_without_torch():
    for module, path in FILES.items():
        if level(module) <= level("engine.spec") and not module.startswith("tokenization"):
            every = imports(path, lazily=False) | imports(path, lazily=True)
            assert "torch" not in {name.split(".")[0] for name in every}, module


@pytest.mark.parametrize(
    "statement", ["import engine", "import tokenization", "from engine.spec import load_spec"]
)
def test_torch_stays_out_of_a_light_import(statement):
    code = f"{statement}; import sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_types_of_the_public_names_are_those_of_their_homes():
    tree = ast.parse((ROOT / "engine" / "__init__.pyi").read_text(encoding="utf-8"))
    told = {
        alias.asname: node.module
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    public = vars(engine)
    assert told == public["_HOMES"]
    assert {*told, "__version__"} == set(public["__all__"])

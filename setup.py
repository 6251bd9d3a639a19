"""Puts specs and recipes into the wheel, as engine/_specs and engine/_recipes; all else stands in
pyproject.toml.
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithFiles(build_py):
    """Copies specs/ and recipes/ into the package that is built; an editable install reads them
    where they are.
    """

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            for name in ("specs", "recipes"):
                target = Path(self.build_lib, "engine", f"_{name}")
                shutil.rmtree(target, ignore_errors=True)
                shutil.copytree(name, target, ignore=hidden)


def hidden(folder: str, names: list[str]) -> list[str]:
    """Names that no one looks for in a folder."""
    return [name for name in names if name.startswith(".")]


setup(cmdclass={"build_py": BuildWithFiles})

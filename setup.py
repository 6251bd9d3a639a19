"""Puts the specs into the wheel, as engine/_specs; all else stands in pyproject.toml."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithSpecs(build_py):
    """Copies specs/ into the package that is built; an editable install reads them where they are."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            target = Path(self.build_lib, "engine", "_specs")
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(
                "specs",
                target,
                ignore=lambda folder, names: [n for n in names if n.startswith(".")],
            )


setup(cmdclass={"build_py": BuildWithSpecs})

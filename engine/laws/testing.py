"""The laws as tests of a project of one's own, under pytest."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from engine.laws.opening import open_network
from engine.laws.table import LAWS, Law, check_law
from engine.model import Model
from engine.spec import SpecSource


def law_tests(
    spec: SpecSource,
    folder: str | None = None,
    *,
    overrides: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> Callable[..., None]:
    """A test function with one case a law, for a spec with random weights or those of a folder.

    `test_mine = law_tests("mine.yaml")` in a test file is all; a law that the spec is an exception
    to is skipped, and says why.
    """
    made: list[Model] = []

    def network() -> Model:
        if not made:
            made.append(open_network(spec, folder, overrides, seed))
        return made[0]

    @pytest.mark.parametrize("law", LAWS, ids=[law.name for law in LAWS])
    def test_law(law: Law) -> None:
        verdict = check_law(law, network(), seed)
        if verdict.state == "does not apply":
            pytest.skip(verdict.why)
        assert verdict.state == "holds", f"{law.says}: {verdict.why}"

    return test_law

"""The mutations of `make mutations` still name lines that exist."""

from pathlib import Path

import pytest

from tests.mutations import MUTATIONS, ROOT, Mutation, place


@pytest.mark.parametrize(
    "mutation", MUTATIONS, ids=[f"{m.file}: {m.before[:30]}" for m in MUTATIONS]
)
def test_every_line_stands_in_its_file(mutation: Mutation) -> None:
    assert place(mutation) >= 1, (
        f"{mutation.file} has no {mutation.before!r} any more: change tests/mutations.py"
    )
    assert Path(ROOT, mutation.tests).exists()

"""What older specs say twice is read where it agrees; tests/specs/test_rules.py has contradictions."""

from typing import Any

import pytest

from engine import load_spec

AGREEING: dict[str, tuple[str, dict[str, Any]]] = {
    "two streams": ("families/xlnet", {"streams.kind": "two"}),
    "one stream": ("families/xglm", {"streams.kind": "one"}),
}


@pytest.mark.parametrize("case", AGREEING)
def test_an_older_spec_is_the_same_network(case: str) -> None:
    name, older = AGREEING[case]
    spec = load_spec(name, older)
    assert spec == load_spec(name)
    assert spec.to_dict() == load_spec(name).to_dict()

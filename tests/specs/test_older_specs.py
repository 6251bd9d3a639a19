"""What older specs say twice is read where it agrees; tests/specs/test_rules.py has contradictions."""

from typing import Any

import pytest

from engine import load_spec
from engine.spec.axes import ConfigField

AGREEING: dict[str, tuple[str, dict[str, Any]]] = {
    "two streams": ("families/xlnet", {"streams.kind": "two"}),
    "one stream": ("families/xglm", {"streams.kind": "one"}),
    "score terms": ("families/xlnet", {"attention.score": ["content", "position", "segment"]}),
}


@pytest.mark.parametrize("case", AGREEING)
def test_an_older_spec_is_the_same_network(case: str) -> None:
    name, older = AGREEING[case]
    spec = load_spec(name, older)
    assert spec == load_spec(name)
    assert spec.to_dict() == load_spec(name).to_dict()


def test_a_rule_for_the_window_says_nothing_new() -> None:
    window = {"attention.window": 3}
    older = {**window, "attention.mask": ["padding", "causal", "window"]}
    assert load_spec("families/xglm", older) == load_spec("families/xglm", window)


def test_sections_of_an_older_layout_are_compared_without_what_they_repeat() -> None:
    section = {
        "position": {"kind": "relative_key"},
        "attention": {"score": ["content", "position"]},
    }
    field = ConfigField(path="", values={"relative_key": section})
    plain = {"position": {"kind": "relative_key"}, "attention": {"score": ["content"]}}
    assert field.values == {"relative_key": plain}

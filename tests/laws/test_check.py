"""`engine check`: every law is told in words, and a network that breaks one is found out."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from typer.testing import CliRunner

from engine.cli import main
from engine.laws import check_model, open_network
from engine.laws.against import compare, open_theirs
from engine.laws.testing import law_tests

SMALL = {"dims.layers": 2, "dims.model": 16, "dims.inner": 24, "dims.vocab": 40}
test_laws_of_a_spec_of_ones_own = law_tests("tiny/xglm", overrides=SMALL)


def broken_of(verdicts: dict[str, str]) -> list[str]:
    return sorted(name for name, state in verdicts.items() if state == "broken")


def judged(change: Any) -> dict[str, str]:
    """The verdicts on a small network whose first block gives changed states."""
    model = open_network("tiny/xglm", overrides=SMALL)

    def changed(_: Any, __: Any, result: Any) -> Any:
        return replace(result, states=change(result.states))

    model.blocks[0].register_forward_hook(changed)
    laws = ("later tokens", "company")
    return {one.law.name: one.state for one in check_model(model) if one.law.name in laws}


def test_a_network_that_mixes_rows_or_looks_ahead_is_found_out() -> None:
    assert broken_of(judged(lambda states: states)) == []
    assert broken_of(judged(lambda states: states + states.mean(0, keepdim=True))) == ["company"]
    assert "later tokens" in broken_of(judged(lambda states: states + states.flip(1)))


def test_the_command_says_every_law_and_where_transformers_parts(tmp_path: Path) -> None:
    config = transformers.LlamaConfig(
        vocab_size=40, hidden_size=16, num_hidden_layers=3, num_attention_heads=2,
        num_key_value_heads=1, intermediate_size=24,
    )  # fmt: skip
    torch.manual_seed(0)
    transformers.LlamaForCausalLM(config).save_pretrained(tmp_path)
    told = CliRunner().invoke(main, ["check", "llama-small", str(tmp_path), "--against"])
    assert told.exit_code == 0, told.output
    assert "✓ chunks" in told.output and "every layer agrees" in told.output
    assert "✗" not in told.output
    model = open_network("llama-small", tmp_path)
    with torch.no_grad():
        model.get_parameter("blocks.1.feed_forward.down.weight").add_(0.1)
    found = [one.what for one in compare(model, open_theirs(tmp_path)) if one.parts()]
    assert found[0] == "layer 1"


@pytest.mark.parametrize(
    ("words", "said"),
    [(["tiny/xglm", "nowhere"], "no folder"), (["tiny/xglm", "--against"], "name it")],
)
def test_words_that_cannot_be_are_refused(words: list[str], said: str) -> None:
    told = CliRunner().invoke(main, ["check", *words])
    assert told.exit_code == 2 and said in told.output

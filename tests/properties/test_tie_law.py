"""Tied weights are one tensor, and stay one through save, load, moves, casts, copies and resizing."""

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from engine import Model, Spec, load_model, save_model
from engine.laws.calls import answer, inputs_for, randomise
from engine.laws.compare import agree
from engine.parameters.ties import shared_names
from tests.searching import examples
from tests.strategies import FAMILIES, built, family, valid_specs


def ties(model: Model) -> list[list[str]]:
    """The names of every parameter that has more than one."""
    return sorted(names for names in shared_names(model).values() if len(names) > 1)


def expected_ties(spec: Spec, head: str | None) -> int:
    """How many parameters the spec shares."""
    score, output = spec.attention.score, spec.heads.output
    kinds = 1 + (spec.position.kind == "relative") + ("segment" in score)
    count = kinds if spec.attention.query_bias == "shared" and spec.dims.layers > 1 else 0
    if head is None:
        return count
    model = built(spec, head)
    tokens = model.embeddings.tokens
    count += len(tokens.tables) if output.tied else 0
    named = output.tied_projections
    split = tokens.cutoffs if output.kind == "adaptive" and len(tokens.projections) else (0, 0)
    flags = (named,) * max(1, len(split) - 1) if isinstance(named, bool) else named
    return count + (len({*tokens.projections[: sum(flags)]}) if any(flags) else 0)


def reload(model: Model, folder: Path) -> Model:
    save_model(model, folder)
    return load_model(folder)


def state(model: Model, _: Path) -> Model:
    other = built(model.spec, seed=99)
    other.load_state_dict(model.state_dict())
    return other


CHANGES: dict[str, Callable[[Model, Path], Model]] = {
    "save and load": reload,
    "deepcopy": lambda model, _: copy.deepcopy(model),
    "state_dict": state,
    "to": lambda model, _: model.to(torch.float32).to(torch.float64).to("cpu"),
}


@pytest.mark.parametrize("change", CHANGES)
@examples(15)
@given(spec=valid_specs(), seed=st.integers(0, 999))
def test_ties_and_answers_survive(
    change: str, spec: Spec, seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    model = built(spec, seed=seed)
    inputs = inputs_for(spec, seed=seed, targets=2)
    before, names = answer(model(**inputs)), ties(model)
    changed = CHANGES[change](model, tmp_path_factory.mktemp("model")).eval()
    assert ties(changed) == names
    agree(answer(changed(**inputs)), before, f"answers after {change}")


@examples(30)
@given(valid_specs(), st.integers(0, 999), st.sampled_from((12, 16, 31, 50)))
def test_ties_and_kept_rows_survive_resizing(spec: Spec, seed: int, size: int) -> None:
    padding = spec.embeddings.tables.tokens.padding
    size = max(size, 1 + (padding or 0))
    model = built(spec, seed=seed)
    inputs = inputs_for(spec, seed=seed, targets=2)
    inputs["input_ids"] = torch.randint(0, 8, (2, 5), generator=torch.Generator().manual_seed(seed))
    if (
        spec.embeddings.tables.segments is not None
        and spec.embeddings.tables.segments.source == "tokens"
    ):
        inputs["token_type_ids"] = inputs["token_type_ids"] % 8
    body = model(**inputs, output_hidden_states=True).hidden_states
    names = ties(model)
    model.resize_vocabulary(size)
    assert ties(model) == names and model.spec.dims.vocab == size
    agree(model(**inputs, output_hidden_states=True).hidden_states, body, "states after resizing")
    fresh = built(model.spec, seed=seed + 1)
    shapes = {name: parameter.shape for name, parameter in fresh.named_parameters()}
    assert {name: parameter.shape for name, parameter in model.named_parameters()} == shapes
    fresh.load_state_dict(model.state_dict())
    inputs["input_ids"] = torch.full((2, 5), size - 1)
    if padding != size - 1:
        agree(
            answer(fresh(**inputs)),
            answer(model(**inputs)),
            "answers of a network built at that size",
        )


@pytest.mark.parametrize("name", FAMILIES)
def test_what_the_shipped_families_tie(name: str) -> None:
    token = "embeddings.tokens.tables.0"
    expected = {
        "xlnet": [[token, "head.output.weight"]],
        "xlm": [[token, "head.output.weight"]],
        "xlm-roberta-xl": [[token, "head.output.weight"]],
        "xglm": [[token, "head.output.weight"]],
        "transformer-xl": [
            *(
                [f"embeddings.tokens.projections.{index}", f"head.output.projections.{index}"]
                for index in (1, 2)
            ),
            *(
                [f"embeddings.tokens.tables.{index}", f"head.output.tables.{index}"]
                for index in (0, 1, 2)
            ),
        ],
    }
    assert ties(built(family(name))) == expected[name]


def test_shared_query_biases_are_one_tensor_in_all_blocks() -> None:
    spec = family("transformer-xl", **{"attention.query_bias": "shared"})
    first, second = built(spec).blocks
    assert first.attention.scores.content_bias is second.attention.scores.content_bias
    assert first.attention.scores.position_bias is second.attention.scores.position_bias


def test_new_rows_are_drawn_as_init_says_and_biases_are_zero() -> None:
    model = randomise(built(family("xlm", **{"init.embeddings": 0.5})))
    assert isinstance(model, Model)
    torch.manual_seed(0)
    model.resize_vocabulary(440)
    assert 0.45 < float(model.embeddings.tokens.tables[0][40:].std()) < 0.55
    assert float(model.head.output.bias[40:].detach().abs().max()) == 0
    assert float(model.head.output.bias[:40].detach().abs().min()) > 0


def test_an_adaptive_vocabulary_changes_in_its_last_cluster() -> None:
    model = built(family("transformer-xl"))
    model.resize_vocabulary(55)
    assert [len(table) for table in model.embeddings.tokens.tables] == [10, 10, 35]
    assert [len(bias) for bias in model.head.output.biases] == [10, 10, 35]
    assert answer(model(torch.tensor([[54, 1, 15]]))).shape == (1, 3, 55)

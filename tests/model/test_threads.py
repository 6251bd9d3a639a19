"""Building and opening in several threads: nothing of the process is read or changed."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
import torch

from engine import InputError, Memory, build_model, load_model, load_spec, save_model


def test_threads_build_side_by_side():
    seeds = range(2)
    whole = {seed: dict(build_model("tiny/xglm", seed=seed).named_parameters()) for seed in seeds}
    before = torch.get_rng_state()

    def build(number):
        dtype = (None, torch.bfloat16, torch.float64)[number % 3]
        return (
            number % 2,
            dtype or torch.float32,
            build_model("tiny/xglm", seed=number % 2, dtype=dtype),
        )

    with ThreadPoolExecutor(6) as threads:
        made = list(threads.map(build, range(24)))
    assert torch.get_default_dtype() == torch.float32
    assert torch.equal(torch.get_rng_state(), before)
    for seed, dtype, model in made:
        assert {weight.dtype for weight in model.parameters()} == {dtype}
        for name, weight in model.named_parameters() if dtype == torch.float32 else ():
            assert torch.equal(weight, whole[seed][name]), name


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_seed_draws_what_the_same_seed_of_the_process_draws(dtype):
    seeded = build_model("tiny/xlnet", seed=7, dtype=dtype)
    with torch.random.fork_rng():
        torch.manual_seed(7)
        unseeded = build_model("tiny/xlnet", dtype=dtype)
    for (name, one), other in zip(seeded.named_parameters(), unseeded.parameters(), strict=True):
        assert torch.equal(one, other), name


def test_the_values_of_a_seed_are_those_of_earlier_versions():
    model = build_model("tiny/xglm", seed=3)
    first = model.get_parameter("blocks.0.attention.query.weight").flatten()[:3]
    assert torch.equal(
        first, torch.tensor([-0.15402847528457642, 0.11530716717243195, 0.09844300150871277])
    ), first.tolist()


def test_new_heads_leave_the_process_alone(tmp_path):
    save_model(build_model("tiny/xglm", seed=0), tmp_path)
    before = torch.get_rng_state()
    with pytest.warns(UserWarning, match="initialised anew"):
        one, other = (
            load_model(tmp_path, "sequence_classification", num_labels=3, seed=5) for _ in range(2)
        )
    assert torch.equal(
        one.get_parameter("head.output.weight"), other.get_parameter("head.output.weight")
    )
    assert torch.equal(torch.get_rng_state(), before)


def test_a_network_larger_than_the_machine_is_refused_before_anything_is_allocated():
    with pytest.raises(InputError, match=r"GiB does not fit into this machine's memory"):
        build_model("tiny/xglm", overrides={"dims.vocab": 2**31 - 1, "dims.model": 2**16})


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"dtype": "float32"}, "expected one of floats"),
        ({"dtype": torch.int8}, "expected one of floats"),
        ({"dtype": torch.float8_e4m3fn}, "expected one of floats"),
        ({"dtype": torch.ones(2)}, "expected one of floats"),
        ({"device": torch.zeros(2)}, "which names none"),
        ({"device": "gpu"}, "which names none"),
    ],
)
def test_a_dtype_or_device_that_is_none(given, told, tmp_path):
    save_model(build_model("tiny/xglm", seed=0), tmp_path)
    for opened in (partial(build_model, "tiny/xglm"), partial(load_model, tmp_path)):
        with pytest.raises(InputError, match=told):
            opened(**given)


@pytest.mark.parametrize("given", [5, 2.5, torch.ones(2), ["a"], "a\0b"])
def test_what_names_no_path(given: Any, tmp_path):
    model = build_model("tiny/xglm", seed=0)
    memory = model(torch.tensor([[9, 8]]), use_memory=True).memory
    for call in (build_model, load_model, partial(save_model, model), memory.save, Memory.load):
        with pytest.raises(InputError, match=r"expected a path|no file is called"):
            call(given)
    wrong: Any = ["dims.layers"]
    with pytest.raises(InputError, match="overrides are a"):
        load_spec("tiny/xglm", overrides=wrong)
    for rows in ([[0]], 0, "0"):
        with pytest.raises(InputError, match="rows"):
            memory.select(rows)
    assert memory.select([0, 0]).batch == 2

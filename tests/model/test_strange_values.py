"""Arguments of kinds that no call takes: each is one InputError that names the argument."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from engine import InputError, Memory, build_model, load_model, run_unpadded, save_model

TENSOR = torch.zeros(2)
ARRAY = np.zeros(2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model")
    save_model(build_model("tiny/xglm", seed=0), path)
    return path


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("head", ARRAY, "head is a ndarray, expected the name of one"),
        ("head", ["causal_lm"], "head is a list, expected the name of one"),
        ("seed", TENSOR, "seed is a Tensor, expected a whole number"),
        ("seed", 1.5, "seed is a float, expected a whole number"),
        ("seed", 10**40, "seed is 1000.*expected a whole number of 64 bits"),
    ],
)
def test_building_and_loading(folder: Path, name: str, value: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        build_model("tiny/xglm", **{name: value})
    with pytest.raises(InputError, match=says):
        load_model(folder, **{name: value})


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"model": TENSOR}, "model is a Tensor, expected what build_model"),
        ({"model": torch.nn.Linear(2, 2)}, "model is a Linear, expected what build_model"),
        ({"format": ARRAY}, "format is array.*allowed: 'engine', 'huggingface'"),
        ({"shard_bytes": ARRAY}, "shard_bytes is array.*expected the bytes of a file"),
        ({"shard_bytes": 0}, "shard_bytes is 0, expected the bytes of a file"),
    ],
)
def test_saving(tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    given = {"model": build_model("tiny/xglm", seed=0), "folder": tmp_path, **changes}
    with pytest.raises(InputError, match=says):
        save_model(**given)


def test_weights_are_a_word(folder: Path) -> None:
    with pytest.raises(InputError, match=r"weights is array.*allowed: None, 'int8'"):
        load_model(folder, weights=ARRAY)  # type: ignore[arg-type]


STRANGE: tuple[tuple[Callable[[Memory], Any], str], ...] = (
    (lambda memory: memory.last(TENSOR), "a memory cannot keep"),  # type: ignore[arg-type]
    (lambda memory: memory.last(1.0), "a memory cannot keep 1.0"),  # type: ignore[arg-type]
    (lambda memory: memory.to(ARRAY), "a memory is moved like a tensor"),
    (lambda memory: memory.to("nowhere"), "a memory is moved like a tensor"),
    (lambda memory: Memory.concatenate(TENSOR), "memories are a Tensor"),  # type: ignore[arg-type]
    (lambda memory: memory.with_rows(TENSOR, None), r"rows are a tensor \(b\) of bools"),
    (lambda memory: memory.with_rows(TENSOR > 0, TENSOR), "memory is a Tensor"),  # type: ignore[arg-type]
)


@pytest.mark.parametrize(("call", "says"), STRANGE)
def test_memory(call: Callable[[Memory], Any], says: str) -> None:
    model = build_model("tiny/xglm", seed=0)
    memory = model(torch.tensor([[5, 6], [7, 8]]), use_memory=True).memory
    with pytest.raises(InputError, match=says):
        call(memory)


def test_rows_run_apart() -> None:
    model = build_model("tiny/xglm", seed=0).eval()
    with pytest.raises(InputError, match="need input_ids or inputs_embeds"):
        run_unpadded(model)
    with pytest.raises(InputError, match="input_ids is a dict"):
        run_unpadded(model, input_ids={})
    ids, mask = [[5, 6, 7], [8, 9, 2]], np.array([[1, 1, 1], [1, 1, 0]])
    listed = run_unpadded(model, input_ids=ids, attention_mask=mask).logits
    tensors = run_unpadded(
        model, input_ids=torch.tensor(ids), attention_mask=torch.from_numpy(mask)
    ).logits
    assert listed is not None and tensors is not None
    assert torch.equal(listed, tensors)

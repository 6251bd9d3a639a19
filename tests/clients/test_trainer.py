"""transformers' Trainer, as its users call it."""

import warnings
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import Dataset
from transformers import Trainer, TrainingArguments

from engine import build_model

pytest.importorskip("accelerate", reason="transformers' Trainer needs accelerate")
STILL = {
    f"dropout.{place}": 0.0
    for place in ("embeddings", "positions", "attention", "residual", "inner", "output")
}
HEADS: dict[str, tuple[str, dict[str, Any]]] = {
    "causal_lm": ("xglm", {}),
    "sequence_classification": (
        "xlnet",
        {"num_labels": 3, "first_dropout": 0.0, "last_dropout": 0.0},
    ),
    "masked_lm": ("xlm", {}),
    "question_answering": ("xlm", {}),
}


class Rows(Dataset[dict[str, Tensor]]):
    """The rows of some columns."""

    def __init__(self, **columns: Tensor) -> None:
        self.columns = columns

    def __len__(self) -> int:
        return len(self.columns["input_ids"])

    def __getitem__(self, row: int) -> dict[str, Tensor]:
        return {name: column[row] for name, column in self.columns.items()}


def rows(head: str) -> Rows:
    ids = torch.randint(9, 300, (8, 6), generator=torch.Generator().manual_seed(0))
    if head == "question_answering":
        start = ids[:, 0] % 3
        return Rows(input_ids=ids, start_positions=start, end_positions=start + 2)
    labels = ids[:, 0] % 3 if head == "sequence_classification" else ids
    return Rows(input_ids=ids, labels=labels)


def trainer(
    model: torch.nn.Module, folder: object, head: str, steps: int, **settings: Any
) -> Trainer:
    if head == "question_answering":
        settings["label_names"] = ["start_positions", "end_positions"]
    arguments = TrainingArguments(
        str(folder), max_steps=steps, per_device_train_batch_size=4, per_device_eval_batch_size=4, learning_rate=1e-3,
        save_steps=2, report_to=[], use_cpu=True, disable_tqdm=True, logging_steps=1, seed=0, lr_scheduler_type="constant", **settings,
    )  # fmt: skip
    return Trainer(model=model, args=arguments, train_dataset=rows(head), eval_dataset=rows(head))


@pytest.mark.parametrize("head", HEADS)
def test_train_predict_save_and_resume(head, tmp_path):
    name, options = HEADS[head]
    built = [
        build_model(f"tiny/{name}", head, seed=0, overrides=STILL, **options) for _ in range(2)
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        whole = trainer(built[0], tmp_path / "whole", head, 4, gradient_checkpointing=True)
        before = whole.evaluate()["eval_loss"]
        whole.train()
        assert whole.evaluate()["eval_loss"] < before
        predictions = whole.predict(rows(head)).predictions
        if head == "question_answering":
            assert [part.shape for part in predictions] == [(8, 6)] * 2
        else:
            classes = 3 if options else built[0].spec.dims.vocab
            assert predictions.shape[0] == 8 and predictions.shape[-1] == classes
        trainer(built[1], tmp_path / "parts", head, 2).train()
        again = trainer(
            build_model(f"tiny/{name}", head, seed=1, overrides=STILL, **options),
            tmp_path / "parts",
            head,
            4,
        )
        again.train(resume_from_checkpoint=True)
    for (key, one), (_, other) in zip(
        built[0].named_parameters(), again.model.named_parameters(), strict=True
    ):
        named = partial("{}: {}".format, key)
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5, msg=named)


def test_predict_without_labels_leaves_memory_out(tmp_path):
    unlabelled = Rows(input_ids=rows("causal_lm").columns["input_ids"])
    found = trainer(
        build_model("tiny/transformer-xl", seed=0, overrides={"memory.eval": True}),
        tmp_path,
        "causal_lm",
        1,
    )
    predictions: Any = found.predict(unlabelled).predictions
    assert predictions.shape == (8, 6, found.model.spec.dims.vocab)


def test_accumulated_gradients_are_those_of_one_batch():
    """num_items_in_batch: rows of one and of five labels weigh as they do in one batch."""
    ids = torch.randint(9, 300, (4, 6), generator=torch.Generator().manual_seed(0))
    labels = ids.clone()
    labels[:2, 2:] = -100
    whole, parts = (build_model("tiny/xglm", seed=0).eval() for _ in range(2))
    whole(ids, labels=labels).loss.backward()
    count = int((labels[:, 1:] != -100).sum())
    for row in range(4):
        parts(
            ids[row : row + 1], labels=labels[row : row + 1], num_items_in_batch=count
        ).loss.backward()
    for one, other in zip(whole.parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)

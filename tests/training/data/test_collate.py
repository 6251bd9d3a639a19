"""Rows as the arguments of a call."""

import numpy as np
import pytest
import torch

import engine
from engine.training.data.collate import Takes, pad, stack, takes
from engine.training.data.layouts import lay_out
from engine.training.data.rows import Row
from engine.training.recipe.sections import PackedLayout
from tests.training.data.made import counted


def row(ids, **given):
    flags = np.zeros(len(ids), bool)
    return Row(number=0, ids=np.array(ids), special=flags, words=flags, **given)


def test_rows_are_padded_on_a_side():
    rows = [
        row([5, 6, 7], token_types=np.array([0, 0, 1]), languages=np.array([2, 2, 3])),
        row([8], token_types=np.array([0]), languages=np.array([1])),
        row([]),
    ]
    right = pad(rows, padding=9, padding_type=3)
    assert right["input_ids"].tolist() == [[5, 6, 7], [8, 9, 9], [9, 9, 9]]
    assert right["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0], [0, 0, 0]]
    assert right["token_type_ids"].tolist() == [[0, 0, 1], [0, 3, 3], [3, 3, 3]]
    assert right["langs"].tolist() == [[2, 2, 3], [1, 1, 1], [0, 0, 0]]
    left = pad(rows[:2], padding=9, side="left")
    assert left["input_ids"].tolist() == [[5, 6, 7], [9, 9, 8]]
    assert left["langs"].tolist() == [[2, 2, 3], [1, 1, 1]]
    assert set(pad(rows[:1], padding=9, arguments=Takes(langs=False))) == {
        "input_ids", "token_type_ids",
    }  # fmt: skip
    assert stack([np.array([True]), np.array([True, False])], False, "left").tolist() == [
        [False, True],
        [True, False],
    ]


@pytest.mark.parametrize("name", ["xglm", "xlm-roberta-xl", "xlnet"])
def test_texts_apart_do_not_see_each_other(name):
    """A text gives in a packed row what it gives alone."""
    model = engine.build_model(f"tiny/{name}", None, seed=0).eval().double()
    layout = PackedLayout(kind="packed", length=24, documents="apart")
    rows = lay_out(layout, counted([7, 5, 9, 12]), seed=0)
    found = [rows.row(number, 0) for number in range(len(rows))]
    given = takes(model.spec, model.position)
    call = pad(found, padding=1, arguments=given)
    call["input_ids"] = call["input_ids"] + 10
    assert call["attention_mask"].shape == (2, 24, 24)
    packed = model(**call).last_hidden_state
    for states, each in zip(packed, found, strict=True):
        texts = np.zeros(len(each.ids), int) if each.texts is None else each.texts
        for text in range(texts.max() + 1):
            places = np.flatnonzero(texts == text)
            ids = torch.from_numpy(each.ids[places])[None] + 10
            alone = model(ids).last_hidden_state
            assert torch.allclose(states[places], alone[0], atol=1e-9)

"""Pairs as XLM joins them: `</s> A </s> </s> B </s>`, positions from 0 in both, languages from the
second sentence's own beginning.
"""

import numpy as np
import pytest
import torch

from engine import InputError
from engine.training import reset_positions
from engine.training.data.draws import Draws
from engine.training.data.rows import Row
from tests.training.objectives.rows import PADDING, SEPARATOR, build

PAIRS = (((11, 12, 13), (21, 22)), ((14,), (23, 24, 25, 26)), ((15, 16), (27,)))


def pair(number, first, second, languages=(0, 1)):
    """A pair in the format `sep A sep sep:1 B:1 sep:1`."""
    ids = np.array([SEPARATOR, *first, SEPARATOR, SEPARATOR, *second, SEPARATOR])
    types = np.repeat([0, 1], [len(first) + 2, len(second) + 2])
    return Row(
        number=number,
        ids=ids,
        special=ids == SEPARATOR,
        words=np.ones(len(ids), bool),
        token_types=types,
        languages=np.array(languages)[types],
    )


def joined(pairs):
    """The same by hand, padding at the end: ids, positions and languages (b i)."""
    width = max(len(first) + len(second) + 4 for first, second in pairs)
    ids, positions, languages = [], [], []
    for first, second in pairs:
        line = [SEPARATOR, *first, SEPARATOR, SEPARATOR, *second, SEPARATOR]
        ids.append(line + [PADDING] * (width - len(line)))
        length = len(first) + 2
        positions.append([*range(length), *range(width - length)])
        languages.append([0] * length + [1] * (width - length))
    return torch.tensor(ids), torch.tensor(positions), torch.tensor(languages)


def test_batches_are_those_of_the_authors_padding_included():
    objective, _ = build("translation")
    batch = objective.batch([pair(n, *texts) for n, texts in enumerate(PAIRS)], Draws(0, 0))
    ids, positions, languages = joined(PAIRS)
    labels = batch.inputs["labels"]
    assert torch.equal(torch.where(labels == -100, batch.inputs["input_ids"], labels), ids)
    assert torch.equal(batch.inputs["position_ids"], positions)
    assert torch.equal(batch.inputs["langs"], languages)
    assert "token_type_ids" not in batch.inputs


def test_padding_on_the_left_is_not_counted():
    objective, _ = build("translation", "left")
    batch = objective.batch([pair(n, *texts) for n, texts in enumerate(PAIRS)], Draws(0, 0))
    for line, (first, second) in enumerate(PAIRS):
        expected = [*range(len(first) + 2), *range(len(second) + 2)]
        assert batch.inputs["position_ids"][line, -len(expected) :].tolist() == expected
    seconds, mask = torch.tensor([[0, 0, 0, 1, 1]]), torch.tensor([[0, 1, 1, 1, 1]])
    assert reset_positions(seconds, mask).tolist() == [[0, 0, 1, 0, 1]]


def test_a_row_that_is_no_pair_is_refused():
    objective, _ = build("translation")
    row = pair(0, (11,), (21,))
    alone = Row(number=0, ids=row.ids, special=row.special, words=row.words, source="a.txt:3")
    with pytest.raises(InputError, match=r"a\.txt:3 has no token types"):
        objective.batch([alone], Draws(0, 0))

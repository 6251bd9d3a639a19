"""A target that is changed moves no answer before it, its own included, and no memory that later
segments read before they predict it.
"""

from dataclasses import replace

import pytest
import torch

from engine.training.objectives import Draws
from tests.training.objectives.rows import build, some_rows


def changed(rows, place, token, id=495):
    """The rows with another token at a place, also where it is the token that follows."""
    given = rows[place]
    ids = given.ids.copy()
    ids[token] = id
    following = given.next_ids
    if following is not None and token:
        following = following.copy()
        following[token - 1] = id
    return [*rows[:place], replace(given, ids=ids, next_ids=following), *rows[place + 1 :]]


@pytest.mark.parametrize("name", ["causal", "recurrent"])
@pytest.mark.parametrize("step", range(3))
def test_the_next_token_moves_no_answer_up_to_its_own(name, step):
    objective, model = build(name)
    rows = some_rows(name, seed=step)
    before = model(**objective.batch(rows, Draws(0, step)).inputs, output_logits=True).logits
    for token in (1, 5, 16):
        batch = objective.batch(changed(rows, 1, token), Draws(0, step))
        moved = model(**batch.inputs, output_logits=True).logits != before
        assert not moved[1, :token].any() and moved[1, token].any()
        assert not moved[[0, 2, 3]].any()
        assert batch.inputs["shift_labels"][1, token - 1] == 495


@pytest.mark.parametrize("name", ["permutation", "permuted streams"])
@pytest.mark.parametrize("step", range(6))
def test_a_target_moves_no_earlier_answer_and_no_memory(name, step):
    objective, model = build(name)
    reuse = model.spec.memory.reuse
    rows, draws = some_rows(name, seed=step), Draws(0, step)
    batch = objective.batch(rows, draws)

    def answers(ids):
        given = {**batch.inputs, "input_ids": ids, "use_memory": "hidden_states"}
        out = model(**given)
        states = torch.stack([layer.hidden for layer in out.memory.layers], dim=1)
        return out.logits.detach(), states.detach()

    logits, memory = answers(batch.inputs["input_ids"])
    mapping, hidden = batch.inputs["target_mapping"], batch.inputs["perm_mask"].bool()
    for asked in range(0, mapping.shape[1], 2):
        targets = mapping[:, asked].argmax(-1)
        ids = batch.inputs["input_ids"].clone()
        ids[torch.arange(len(ids)), targets] = 495
        after, kept = answers(ids)
        for line, target in enumerate(targets.tolist()):
            if not mapping[line, asked].any():
                continue
            unseen = hidden[line, mapping[line].argmax(-1), target] & mapping[line].any(-1)
            assert unseen[asked]
            assert torch.equal(after[line, unseen], logits[line, unseen])
            places = torch.arange(memory.shape[2])
            earlier = hidden[line, : memory.shape[2], target] & (places != target)
            assert torch.equal(kept[line][:, earlier], memory[line][:, earlier])
            if target >= reuse:
                assert torch.equal(kept[line], memory[line])


def test_what_enters_the_memory_never_sees_what_follows():
    objective, model = build("permuted streams")
    batch = objective.batch(some_rows("permuted streams", (30, 30)), Draws(0, 0))
    reuse = model.spec.memory.reuse
    hidden = batch.inputs["perm_mask"].bool()
    assert hidden[:, :reuse, reuse:].all() and not hidden[:, reuse:, :reuse].any()

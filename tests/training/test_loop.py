"""The training loop: losses fall, seeds repeat, memory is carried."""

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook

from engine import InputError, build_model
from engine.errors import TrainingError
from engine.training import TrainingOptions, causal_labels, stream, train
from engine.training.optimizers import make_optimizer
from engine.training.recipe.sections import Optimizer

SMALL = {"dims.layers": 1, "dims.model": 32, "dims.inner": 64, "dims.vocab": 60}


def small(spec, **changes):
    return build_model(f"tiny/{spec}", seed=0, overrides={**SMALL, **changes})


def repeated(seed=0):
    ids = torch.randint(5, 60, (4, 10), generator=torch.Generator().manual_seed(seed))
    return iter(lambda: {"input_ids": ids, "labels": causal_labels(ids)}, None)


def test_the_loss_falls_on_a_repeated_batch():
    model = small("xglm")
    heard = []
    losses = train(model, repeated(), 40, progress=lambda step, loss: heard.append((step, loss)))
    assert losses[-1] < losses[0] / 2
    assert heard == list(enumerate(losses))
    assert not model.training


def test_the_seed_decides_everything_and_leaves_the_global_state_alone():
    def weights(seed):
        model = small("xglm", **{"dropout.residual": 0.3})
        train(model, repeated(), 5, TrainingOptions(seed=seed))
        return torch.cat([weight.detach().flatten() for weight in model.parameters()])

    state = torch.get_rng_state()
    first, again, other = weights(1), weights(1), weights(2)
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("threads", [1, 3])
def test_the_same_seed_on_as_many_threads_gives_the_same_bits(threads):
    def losses(count):
        torch.set_num_threads(count)
        return train(small("xglm", **{"dropout.residual": 0.3}), repeated(), 4)

    before = torch.get_num_threads()
    try:
        assert losses(threads) == losses(threads)
        # On another number of threads sums are taken in another order.
        assert losses(threads) == pytest.approx(losses(2), rel=1e-4)
    finally:
        torch.set_num_threads(before)


def test_the_rate_rises_then_falls_to_a_tenth():
    rates = [TrainingOptions(warm_up=0.1).rate(step, 100) for step in range(101)]
    assert rates[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert max(rates) == rates[9] == rates[10] == 1.0
    assert all(later < earlier for earlier, later in pairwise(rates[10:]))
    assert rates[100] == pytest.approx(0.1)


def test_gradients_are_clipped_to_their_norm():
    model, norms = small("xglm"), []

    def record(optimizer, args, kwargs):
        parts = [weight.grad for group in optimizer.param_groups for weight in group["params"]]
        norms.append(torch.cat([part.flatten() for part in parts]).norm().item())

    hook = register_optimizer_step_pre_hook(record)
    try:
        train(model, repeated(), 3, TrainingOptions(clip=0.01))
    finally:
        hook.remove()
    assert norms == pytest.approx([0.01] * 3, rel=1e-3)


def test_a_loss_that_is_not_finite_stops_the_training():
    model = small("xglm")
    with pytest.raises(TrainingError, match="lower the learning rate"):
        train(model, repeated(), 50, TrainingOptions(learning_rate=900.0, clip=1e20))
    model = small("xglm")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    ids = torch.full((1, 4), 7)
    broken = {"inputs_embeds": torch.full((1, 4, 32), torch.nan), "labels": ids}
    with pytest.raises(TrainingError, match="at step 0, and the weights are those before it"):
        train(model, iter([broken]), 1)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"clip": -1.0}, "clip is -1.0"),
        ({"warm_up": 5}, "warm_up is 5"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0"),
    ],
)
def test_options_out_of_range_are_refused(options, text):
    with pytest.raises(InputError, match=text):
        TrainingOptions(**options)


def test_too_few_batches_and_forgotten_labels_are_told():
    ids = torch.full((2, 5), 7)
    with pytest.raises(InputError, match="3 batches were given for 1000 steps"):
        train(small("xglm"), iter([{"input_ids": ids, "labels": ids}] * 3), 1000)
    with pytest.raises(InputError, match="batch 1 gave no loss"):
        train(small("xglm"), iter([{"input_ids": ids}]), 1)


def test_memory_is_carried_from_segment_to_segment(monkeypatch):
    model = small(
        "transformer-xl", **{"memory.length": 8, "embeddings.tables.tokens.cutoffs": [20, 40]}
    )
    monkeypatch.setattr(model, "forward", spy := Spy(model.forward))
    text = torch.randint(0, 60, (64,), generator=torch.Generator().manual_seed(0))
    segments = list(stream(text, 2, 8))
    train(model, ({"input_ids": ids, "labels": ids} for ids in segments), 4, carry_memory=True)
    assert spy.memories[0] is None and len(spy.memories) == 4
    assert spy.memories[1:] == spy.returned[:-1]


class Spy:
    """Calls through, and remembers the memories that went in and came out."""

    def __init__(self, call):
        self.call, self.memories, self.returned = call, [], []

    def __call__(self, **inputs):
        self.memories.append(inputs["memory"])
        out = self.call(**inputs)
        self.returned.append(out.memory)
        return out


@pytest.mark.parametrize(("count", "rows", "length"), [(20, 2, 4), (23, 3, 4), (7, 2, 10)])
def test_a_stream_goes_on_where_it_ended(count, rows, length):
    text = torch.arange(count)
    segments = list(stream(text, rows, length))
    assert all(segment.shape[1] <= length for segment in segments)
    whole = torch.cat(segments, dim=1)
    assert torch.equal(whole.flatten(), text[: rows * (count // rows)])


def test_a_text_too_short_for_its_rows_is_refused():
    with pytest.raises(InputError, match="too few"):
        list(stream(torch.arange(3), 2, 4))


def test_biases_norms_and_segment_terms_do_not_decay():
    model = small("xlnet")
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = make_optimizer(model, Optimizer(decay=0.1)).param_groups
    decaying = {
        decay: {names[id(p)] for g in groups if g["weight_decay"] == decay for p in g["params"]}
        for decay in (0.1, 0.0)
    }
    assert sum(map(len, decaying.values())) == len(names)
    still = ("bias", "norm", "segment")
    assert {name for name in names.values() if any(part in name for part in still)} <= decaying[0.0]
    assert all(model.get_parameter(name).dim() > 1 for name in decaying[0.1])
    assert "blocks.0.feed_forward.up.weight" in decaying[0.1]


IDS = torch.full((2, 5), 7)
ONE = [{"input_ids": IDS, "labels": IDS}]
STRANGE = (None, "x", 1j, [], {}, (0.9,), float("nan"), -1, torch.zeros(2, 3), object())


@pytest.mark.parametrize("value", STRANGE, ids=lambda value: type(value).__name__)
def test_strange_values_are_refused_or_right(value):
    """At every place of every function; what is read gives what it gives for plain values."""
    for name in ("learning_rate", "warm_up", "betas", "weight_decay", "clip"):
        with pytest.raises(InputError, match=name):
            TrainingOptions(**{name: value})
    model = small("xglm")
    for given in ({"batches": [value]}, {"steps": value}, {"options": value}, {"progress": value}):
        call = {"batches": ONE, "steps": 1, **given}
        if given in ({"options": None}, {"progress": None}):
            assert len(train(model, **call)) == 1
        else:
            with pytest.raises(InputError):
                train(model, **call)
    with pytest.raises(InputError, match="model"):
        train(value, ONE, 1)
    text: Any = torch.arange(20)
    for ids, rows, length in ((value, 2, 4), (text, value, 4), (text, 2, value)):
        with pytest.raises(InputError):
            list(stream(ids, rows, length))
    mask: Any = "x" if value is None else value
    with pytest.raises(InputError):
        causal_labels(IDS, mask)


def test_memory_that_is_for_decoding_is_not_carried():
    with pytest.raises(InputError, match=r"carry_memory needs memory\.kind recurrent"):
        train(small("xglm"), ONE * 2, 2, carry_memory=True)

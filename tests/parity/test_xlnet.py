"""XLNet against transformers 4.56.2: every option, three segments with memory, outputs and
gradients.
"""

from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from transformers import XLNetConfig, XLNetLMHeadModel, XLNetModel

from engine import Memory, Model, Output
from engine.laws.calls import randomise
from tests.parity.both import in_dtype
from tests.parity.helpers import (
    assert_close_relative,
    assert_same_gradients,
    converted,
    drop_alike,
    smooth_dropout,
    their_gradients,
    weighted,
)
from tests.searching import examples

VOCABULARY = 19
SMALL = {
    "n_layer": 2,
    "n_head": 2,
    "d_model": 12,
    "d_inner": 14,
    "vocab_size": VOCABULARY,
    "dropout": 0.0,
}


@dataclass(frozen=True)
class Run:
    """One network and what it is asked in each of its segments."""

    config: dict[str, Any] = field(default_factory=dict)
    head: bool = True
    train: bool = False
    batch: int = 2
    lengths: tuple[int, ...] = (6, 5, 6)
    padding: str | None = None
    types: bool = False
    permuted: bool = False
    predictions: int | None = None
    empty_rows: bool = False
    embedded: bool = False
    head_mask: int = 0
    use_memory: bool | None = True
    seed: int = 0

    @property
    def one_way(self) -> bool:
        """Whether tokens see earlier ones only."""
        return self.config.get("attn_type") == "uni"

    @property
    def same_length(self) -> bool:
        """Whether every token sees equally many; then, without memory, only itself."""
        return self.one_way and bool(self.config.get("same_length"))


CASES = {
    "plain": Run(),
    "bare": Run(head=False),
    "train": Run(train=True),
    "train without memory": Run(train=True, use_memory=None),
    "attention mask": Run(padding="attention_mask", types=True),
    "input mask": Run(padding="input_mask", config={"mem_len": 4}),
    "all options at once": Run(
        config={"mem_len": 8, "reuse_len": 3, "clamp_len": 3, "bi_data": True, "ff_activation": "relu"},
        padding="attention_mask", types=True, permuted=True, predictions=3, empty_rows=True, head_mask=2,
    ),
    "the same in training": Run(
        config={"mem_len": 8, "reuse_len": 3, "clamp_len": 3, "bi_data": True, "ff_activation": "gelu_new"},
        padding="input_mask", types=True, permuted=True, predictions=3, empty_rows=True, head_mask=1, train=True,
    ),
    "two streams, padding, memory": Run(padding="attention_mask", permuted=True, predictions=2, batch=3),
    "two streams, bare": Run(padding="attention_mask", types=True, permuted=True, predictions=4, head=False),
    "permutation without predictions": Run(permuted=True, types=True),
    "predictions without permutation": Run(predictions=3, empty_rows=True),
    "embeddings": Run(embedded=True, types=True),
    "embeddings, bare": Run(embedded=True, permuted=True, predictions=2, head=False),
    "head mask": Run(head_mask=1), "head mask a layer": Run(head_mask=2, predictions=3, permuted=True),
    "one way": Run(config={"attn_type": "uni"}, types=True),
    "one way, padded": Run(config={"attn_type": "uni", "mem_len": 5}, batch=1, padding="attention_mask"),
    "one way, permuted": Run(config={"attn_type": "uni"}, batch=1, permuted=True, predictions=3),
    "one way, mirrored": Run(config={"attn_type": "uni", "bi_data": True, "clamp_len": 4}, batch=4),
    "same length": Run(config={"attn_type": "uni", "same_length": True, "mem_len": 4}),
    "same length, which published code ignores both ways": Run(config={"same_length": True}),
    "same length, predictions": Run(config={"attn_type": "uni", "same_length": True}, predictions=3),
    "memory without limit": Run(config={"mem_len": None}, lengths=(4, 6, 3, 5)),
    "memory of length 0": Run(config={"mem_len": 0}),
    "short memory": Run(config={"mem_len": 2}, lengths=(5, 1, 6)),
    "memory left out": Run(use_memory=False),
    "tied biases, which published code ignores": Run(config={"untie_r": False}),
    "words apart": Run(config={"tie_word_embeddings": False}),
}  # fmt: skip


@st.composite
def runs(draw: st.DrawFn) -> Run:
    """Random tiny configs with inputs that published code can take.

    It cannot add masks of several rows to a one-way mask, and divides a row that sees nobody evenly
    over all tokens.
    """
    heads, width = draw(st.sampled_from([(1, 8), (2, 4), (2, 6), (3, 4), (4, 4)]))
    one_way = draw(st.booleans())
    config = {
        "n_layer": draw(st.integers(1, 3)), "n_head": heads, "d_model": heads * width,
        "d_inner": draw(st.sampled_from([6, 13, 32])), "attn_type": "uni" if one_way else "bi",
        "same_length": draw(st.booleans()), "clamp_len": draw(st.sampled_from([-1, 0, 1, 3, 40])),
        "bi_data": draw(st.booleans()), "mem_len": draw(st.sampled_from([None, 0, 1, 4, 9, 50])),
        "reuse_len": draw(st.sampled_from([None, 0, 1, 3, 20])),
        "ff_activation": draw(st.sampled_from(["gelu", "relu", "silu", "swish", "gelu_new", "tanh"])),
        "layer_norm_eps": draw(st.sampled_from([1e-12, 1e-5, 1e-2])), "untie_r": draw(st.booleans()),
        "use_mems_eval": draw(st.booleans()), "use_mems_train": draw(st.booleans()),
        "tie_word_embeddings": draw(st.booleans()),
    }  # fmt: skip
    permuted, padding = (
        draw(st.booleans()),
        draw(st.sampled_from([None, "attention_mask", "input_mask"])),
    )
    batch = draw(st.sampled_from([2, 4] if config["bi_data"] else [1, 2, 3]))
    if one_way and (permuted or padding):
        batch = 1
        config["bi_data"] = False
    return Run(
        config=config, head=draw(st.booleans()), train=draw(st.booleans()), batch=batch,
        lengths=tuple(draw(st.lists(st.integers(1, 8), min_size=3, max_size=4))),
        padding=padding, types=draw(st.booleans()), permuted=permuted,
        predictions=draw(st.sampled_from([None, 1, 2, 4])), empty_rows=draw(st.booleans()),
        embedded=draw(st.booleans()), head_mask=draw(st.integers(0, 2)),
        use_memory=draw(st.sampled_from([None, True, True])), seed=draw(st.integers(0, 2**16)),
    )  # fmt: skip


@pytest.mark.parametrize("run", CASES.values(), ids=CASES)
def test_named_cases(run: Run) -> None:
    """Each documented option, by itself and with the others."""
    check(run)


@examples(40)
@given(runs())
def test_random_configs(run: Run) -> None:
    """Options in any mixture; in float64, where a difference cannot hide behind rounding."""
    check(run, torch.float64)


@examples(15)
@given(runs())
def test_places_of_dropout(run: Run) -> None:
    """Dropout falls where it falls in published code: both sides bend values there instead of
    dropping some.
    """
    with pytest.MonkeyPatch.context() as patch:
        drop_alike(patch, smooth_dropout)
        check(
            replace(run, train=True, config={**run.config, "dropout": 0.3}),
            torch.float64,
            attentions=True,
        )


def check(run: Run, dtype: torch.dtype = torch.float32, attentions: bool = False) -> None:
    """Compare all outputs of every segment, and all gradients of the last one, with `attentions`
    asked for or not.
    """
    config = XLNetConfig(**{**SMALL, **run.config})
    kind: Any = XLNetLMHeadModel if run.head else XLNetModel
    theirs = randomise(kind(config), run.seed).to(dtype).train(run.train)
    in_dtype(theirs.base_model, dtype)
    ours = converted(theirs, dtype=dtype).train(run.train)
    random = torch.Generator().manual_seed(run.seed)
    mems, memory = None, None
    for index, length in enumerate(run.lengths):
        inputs = segment(run, config, length, random, dtype)
        published: dict[str, Any] = {
            "mems": mems,
            "use_mems": run.use_memory,
            "return_dict": True,
        }
        mine: dict[str, Any] = {
            "memory": memory,
            "use_memory": "hidden_states" if run.use_memory else run.use_memory,
        }
        asked = {"output_hidden_states": True, "output_attentions": True}
        with torch.no_grad():
            expected = theirs(**inputs, **published, **asked)
        with torch.set_grad_enabled(
            run.use_memory is None
        ):  # by default gradients decide what memory holds
            answer = ours(**inputs, **mine, **asked)
        compare(expected, answer, inputs.get("target_mapping"))
        if index == len(run.lengths) - 1:
            mine["output_attentions"] = published["output_attentions"] = attentions
            gradients(ours, ours(**inputs, **mine), theirs, theirs(**inputs, **published), inputs)
        mems, memory = expected.mems, answer.memory


def segment(
    run: Run, config: Any, length: int, random: torch.Generator, dtype: torch.dtype
) -> dict[str, Any]:
    """The arguments of one call. One token a row stays visible to all, so that no prediction is
    left with nothing.
    """
    batch, inputs = run.batch, {}
    seen_by_all = 0 if run.one_way else length - 1

    def chance(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=random)

    if run.embedded:
        inputs["inputs_embeds"] = (
            torch.randn(batch, length, config.d_model, generator=random).to(dtype).requires_grad_()
        )
    else:
        inputs["input_ids"] = torch.randint(VOCABULARY, (batch, length), generator=random)
    if run.padding is not None and not run.same_length:
        real = (chance(batch, length) > 0.3).float()
        real[:, seen_by_all] = 1
        real[0, : length // 2] = (
            real[0, : length // 2] * run.one_way
        )  # the left side of the first row is padding
        real[0, seen_by_all] = 1
        inputs[run.padding] = real if run.padding == "attention_mask" else 1 - real
    if run.types:
        inputs["token_type_ids"] = torch.randint(4, (batch, length), generator=random)
    if run.permuted:
        order = chance(batch, length)
        hidden = (order[:, :, None] <= order[:, None, :]).float()
        hidden[:, :, seen_by_all] = 0
        if run.same_length:
            hidden.diagonal(dim1=1, dim2=2).zero_()
        inputs["perm_mask"] = hidden
    rows = length
    if run.predictions is not None:
        rows = min(run.predictions, length)
        places = chance(batch, length).argsort(dim=1)[:, :rows]
        mapping = torch.nn.functional.one_hot(places, length).to(dtype)
        if run.empty_rows:
            mapping[0, -1] = 0
        inputs["target_mapping"] = mapping
    if run.head_mask:
        inputs["head_mask"] = chance(*(config.n_layer, config.n_head)[2 - run.head_mask :])
    if run.head:
        labels = torch.randint(VOCABULARY, (batch, rows), generator=random)
        labels[chance(batch, rows) > 0.7] = -100
        labels[0, 0] = 3
        inputs["labels"] = labels
    return inputs


def test_query_that_sees_nobody_gets_nothing() -> None:
    """Published code then averages all tokens, the hidden ones too; here such a row gets zeros, and
    its norms.
    """
    theirs = randomise(XLNetModel(XLNetConfig(**SMALL))).eval()
    ours = converted(theirs)
    asked = {
        "input_ids": torch.tensor([[3, 1, 4]]),
        "perm_mask": torch.tensor([[[1.0, 1, 1], [0, 1, 0], [0, 1, 1]]]),  # the first sees nobody
        "target_mapping": torch.eye(3)[None],
        "output_attentions": True,
    }
    expected, answer = theirs(**asked), ours(**asked)
    for (_, found), (_, published) in zip(answer.attentions, expected.attentions, strict=True):
        assert torch.equal(published[0, :, 0], torch.full((2, 3), 1 / 3))
        assert not found[0, :, 0].any()
        assert_close_relative(found[:, :, 1:], published[:, :, 1:], "query attentions")
    assert_close_relative(
        answer.last_hidden_state[:, 1:], expected.last_hidden_state[:, 1:], "the other predictions"
    )
    empty = ours(**{**asked, "target_mapping": torch.zeros(1, 1, 3)}).last_hidden_state
    assert_close_relative(answer.last_hidden_state[:, :1], empty, "a prediction of nothing")


def compare(expected: Any, answer: Output, mapping: Tensor | None) -> None:
    """Everything that one call returns."""
    for name in ("loss", "logits", "last_hidden_state"):
        if name in expected:
            assert_close_relative(answer[name], expected[name], name)
    assert_close_relative(answer.hidden_states, expected.hidden_states, "hidden_states")
    if mapping is None:
        assert_close_relative(answer.attentions, expected.attentions, "attentions")
    else:
        assert answer.attentions is not None
        for ours, theirs in zip(answer.attentions, expected.attentions, strict=True):
            assert_close_relative(ours[0], theirs[0], "content attentions")
            assert_close_relative(ours[1], at_targets(theirs[1], mapping), "query attentions")
    compare_memory(answer.memory, expected.mems)


def at_targets(attentions: Tensor, mapping: Tensor) -> Tensor:
    """Published query attentions (b h i j) at the predicted tokens (b h p j); zeros where nothing
    is predicted.
    """
    return torch.einsum("bhij,bpi->bhpj", attentions, mapping)


def compare_memory(memory: Memory | None, mems: Any) -> None:
    """Our memory holds what the published `mems` hold, batch first."""
    assert (memory is None) == (mems is None)
    if memory is not None:
        assert_close_relative(
            memory.hidden_states, [layer.transpose(0, 1) for layer in mems], "mems"
        )


def gradients(
    ours: Model, answer: Output, theirs: Any, expected: Any, inputs: dict[str, Tensor]
) -> None:
    """The loss, or a weighted sum of bare states, and its gradient in every parameter and in given
    embeddings.
    """
    name = "loss" if "loss" in expected else "last_hidden_state"
    assert_close_relative(answer[name], expected[name], f"{name} without attentions")
    found = []
    for model, result in ((ours, answer), (theirs, expected)):
        model.zero_grad(set_to_none=True)
        torch.autograd.backward(weighted(result[name]))
        if "inputs_embeds" in inputs:
            found.append(inputs["inputs_embeds"].grad)
            inputs["inputs_embeds"].grad = None
    assert_same_gradients(ours, their_gradients(theirs))
    if found:
        mine, published = found
        assert_close_relative(mine, published, "gradient of inputs_embeds")

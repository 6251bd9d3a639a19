"""Bad input gets one clear error that names the argument, the axis, and what would be right."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from engine import InputError, Model, Spec
from engine.laws.calls import inputs_for
from engine.laws.compare import agree
from tests.strategies import built, family

LENGTH = 5
IDS = torch.ones(2, LENGTH, dtype=torch.long)


def model_of(name: str, head: str | None = "default", **changes: Any) -> Model:
    return built(
        family(name, **{key.replace("__", "."): value for key, value in changes.items()}), head
    )


def rotary_with_memory() -> Spec:
    plain = {
        key: value
        for key, value in family("transformer-xl").to_dict().items()
        if key != "checkpoint"
    }
    attention = {"score": ["content"], "mask": ["causal"]}
    memory = {"kind": "recurrent", "length": None, "initial": "empty"}
    return Spec.model_validate(
        {**plain, "position": {"kind": "rotary"}, "attention": attention, "memory": memory}
    )


Call = Callable[[], Any]
CASES: dict[str, tuple[Call, str]] = {
    "token id too large": (lambda: model_of("xglm")(IDS * 40), r"input_ids holds 40, outside 0 … 39 \(dims.vocab is 40\)"),
    "token id below zero": (lambda: model_of("xglm")(-IDS), "input_ids holds -1, outside 0"),
    "language id too large": (lambda: model_of("xlm")(IDS, langs=IDS * 3), "langs holds 3, outside 0 … 2"),
    "languages that the spec lacks": (lambda: model_of("xglm")(IDS, langs=IDS), "langs needs embeddings.tables.languages"),
    "token type out of range": (
        lambda: model_of("xlm-roberta-xl")(IDS, token_type_ids=IDS),
        "token_type_ids holds 1, outside 0 … 0",
    ),
    "token type that no token is": (lambda: model_of("xlm")(IDS, token_type_ids=IDS * 40), "token_type_ids holds 40"),
    "token types that the spec lacks": (lambda: model_of("xglm")(IDS, token_type_ids=IDS), "token_type_ids needs"),
    "target_mapping without two streams": (
        lambda: model_of("xglm")(IDS, target_mapping=torch.eye(LENGTH).expand(2, -1, -1)),
        "target_mapping needs two streams: attention.mask has no rule permutation",
    ),
    "perm_mask without two streams": (
        lambda: model_of("transformer-xl")(IDS, perm_mask=torch.zeros(2, LENGTH, LENGTH)),
        "perm_mask needs two streams",
    ),
    "ids and vectors": (
        lambda: model_of("xglm")(IDS, inputs_embeds=torch.zeros(2, LENGTH, 16)),
        "exactly one of input_ids and inputs_embeds",
    ),
    "neither ids nor vectors": (lambda: model_of("xglm")(), "exactly one of input_ids and inputs_embeds"),
    "longer than learned positions": (
        lambda: model_of("xlm", position__size=4)(IDS),
        "position 4, past the last of 4 .*position.size 4",
    ),
    "longer than positions behind the padding row": (
        lambda: model_of("xlm-roberta-xl", position__size=5)(IDS * 3),
        r"past the last of 3 .*position.start 2\): shorten it",
    ),
    "longer than the distances": (
        lambda: model_of("xlm-roberta-xl", position={"kind": "relative_key", "size": 4},
                         attention__score=["content", "position"])(IDS),
        "5 tokens reach past the 4 distances of position.size",
    ),
    "rotary places that a memory of hidden states would lose": (
        lambda: built(rotary_with_memory())(IDS, position_ids=IDS.cumsum(1), use_memory=True),
        "model.start_memory, which holds keys",
    ),
    "a mask for an encoder that nobody gave": (
        lambda: (lambda model: model(IDS, memory=model(IDS).memory, encoder_attention_mask=IDS))(
            model_of("xglm", attention__cross=True)
        ),
        "encoder_attention_mask needs encoder_hidden_states",
    ),
    "no row of target_mapping": (
        lambda: model_of("xlnet")(IDS, target_mapping=torch.zeros(2, 0, LENGTH)),
        "target_mapping has no rows",
    ),
    "position below zero": (lambda: model_of("xlm")(IDS, position_ids=-IDS), "position_ids holds -1"),
    "position_ids without positions": (
        lambda: model_of("xlnet")(IDS, position_ids=IDS),
        "position_ids needs position.kind learned, sinusoid or rotary; this spec has relative",
    ),
    "ids of one dimension": (lambda: model_of("xglm")(IDS[0]), r"input_ids has shape \(5,\), expected \(batch, length\)"),
    "vectors of another width": (
        lambda: model_of("xglm")(inputs_embeds=torch.zeros(2, LENGTH, 8)),
        r"inputs_embeds has shape \(2, 5, 8\), expected \(batch, length, 16\)",
    ),
    "mask of another length": (
        lambda: model_of("xglm")(IDS, attention_mask=torch.ones(2, 4)),
        r"attention_mask has shape \(2, 4\), expected \(2, 5\)",
    ),
    "mask of another batch": (lambda: model_of("xglm")(IDS, attention_mask=torch.ones(3, LENGTH)), "attention_mask has shape"),
    "types of another length": (lambda: model_of("xlm")(IDS, token_type_ids=IDS[:, :3]), "token_type_ids has shape"),
    "languages of another batch": (lambda: model_of("xlm")(IDS, langs=IDS[:1]), "langs has shape"),
    "positions of another length": (lambda: model_of("xlm")(IDS, position_ids=IDS[:, :2]), "position_ids has shape"),
    "lengths of another batch": (lambda: model_of("xlm")(IDS, lengths=torch.tensor([3])), "lengths has shape"),
    "lengths past the input": (lambda: model_of("xlm")(IDS, lengths=torch.tensor([3, 9])), "lengths holds 9"),
    "head mask of another size": (lambda: model_of("xlm")(IDS, head_mask=torch.ones(3)), "head_mask has shape"),
    "perm_mask of another shape": (
        lambda: model_of("xlnet")(IDS, perm_mask=torch.zeros(2, 4, LENGTH)),
        "perm_mask has shape",
    ),
    "target_mapping that is not one-hot": (
        lambda: model_of("xlnet")(IDS, target_mapping=torch.ones(2, 1, LENGTH)),
        "each row of target_mapping is one-hot",
    ),
    "ids that are not integers": (lambda: model_of("xglm")(IDS.float()), "input_ids must hold integers, found torch.float32"),
    "ids that are truth values": (lambda: model_of("xglm")(IDS.bool()), "input_ids must hold integers"),
    "vectors that are integers": (
        lambda: model_of("xglm")(inputs_embeds=torch.zeros(2, LENGTH, 16, dtype=torch.long)),
        "inputs_embeds must hold floating-point numbers, found torch.int64",
    ),
    "vectors of another dtype": (
        lambda: model_of("xglm")(inputs_embeds=torch.zeros(2, LENGTH, 16)),
        "inputs_embeds is torch.float32, the network's weights are torch.float64",
    ),
    "encoder states of another dtype": (
        lambda: model_of("xglm", attention__cross=True)(IDS, encoder_hidden_states=torch.zeros(2, 3, 16)),
        "encoder_hidden_states is torch.float32, the network's weights are torch.float64",
    ),
    "encoder states of another width": (
        lambda: model_of("xglm", attention__cross=True)(IDS, encoder_hidden_states=torch.zeros(2, 3, 8).double()),
        "encoder_hidden_states has shape",
    ),
    "encoder mask of another length": (
        lambda: model_of("xglm", attention__cross=True)(
            IDS, encoder_hidden_states=torch.zeros(2, 3, 16).double(), encoder_attention_mask=torch.ones(2, 4)),
        "encoder_attention_mask has shape",
    ),
    "encoder states without cross-attention": (
        lambda: model_of("xglm")(IDS, encoder_hidden_states=torch.zeros(2, 3, 16)),
        "encoder_hidden_states needs cross-attention: this spec has attention.cross false",
    ),
    "two masks": (lambda: model_of("xlm")(IDS, attention_mask=IDS, lengths=torch.tensor([5, 5])), "only one of attention_mask"),
    "a mask without the rule": (
        lambda: model_of("xglm", attention__mask=["causal"])(IDS, attention_mask=IDS),
        "attention_mask needs the mask rule padding",
    ),
    "empty length": (lambda: model_of("xglm")(IDS[:, :0]), "the input is empty: batch 2, length 0"),
    "empty batch": (lambda: model_of("xglm")(IDS[:0]), "the input is empty: batch 0, length 5"),
    "unknown argument of a head": (
        lambda: model_of("xglm")(IDS, label=IDS), "this head takes no 'label', did you mean 'labels'"),
    "unknown argument of the body": (
        lambda: model_of("xglm")(IDS, atention_mask=IDS), "takes no 'atention_mask', did you mean 'attention_mask'"),
    "labels for a bare backbone": (lambda: model_of("xglm", None)(IDS, labels=IDS), "a bare backbone takes no 'labels'"),
    "labels out of range": (lambda: model_of("xglm")(IDS, labels=IDS * 41), "labels holds 41"),
    "labels of another shape": (lambda: model_of("xglm")(IDS, labels=IDS[:, :2]), "labels has shape"),
    "memory that the spec lacks": (lambda: model_of("xlm")(IDS, use_memory=True), "memory.kind none"),
    "odd batch under reversed_half": (
        lambda: model_of("xlnet", position__reversed_half=True)(IDS[:1]), "position.reversed_half .* found 1 rows"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_one_clear_error(case: str) -> None:
    call, message = CASES[case]
    with pytest.raises(InputError, match=message) as raised:
        call()
    assert "\n" not in str(raised.value)


def memory_of(name: str, batch: int = 2, **changes: Any) -> Any:
    model = model_of(name, **changes)
    return model(**inputs_for(model.spec, batch=batch, permuted=False), use_memory=True).memory


MEMORIES: dict[str, tuple[Call, str]] = {
    "of another spec": (
        lambda: model_of("xglm")(IDS, memory=memory_of("transformer-xl")), "memory was made by 'transformer-xl'"),
    "of another depth": (lambda: model_of("xglm")(IDS, memory=memory_of("xglm", dims__layers=3)), "3 layers"),
    "of another batch": (lambda: model_of("xglm")(IDS, memory=memory_of("xglm", batch=3)), "3 rows, the input has 2"),
    "of another dtype": (
        lambda: model_of("xglm")(IDS, memory=memory_of("xglm").to(torch.float32)), r"memory.to\(dtype\) casts it"),
    "of another width": (
        lambda: model_of("xglm")(IDS, memory=memory_of("xglm", dims__model=32)), "memory"),
    "where the spec has none": (lambda: model_of("xlm")(IDS, memory=memory_of("xglm")), "memory.kind none"),
}  # fmt: skip


@pytest.mark.parametrize("case", MEMORIES)
def test_a_memory_that_does_not_fit(case: str) -> None:
    call, message = MEMORIES[case]
    with pytest.raises(InputError, match=message):
        call()


def test_the_nearest_layer_of_a_long_input_still_runs() -> None:
    """The last position of a table is usable."""
    model = model_of("xlm", position__size=LENGTH)
    assert model(IDS).logits.shape == (2, LENGTH, 40)
    decoder = model_of("xlm-roberta-xl", position__size=LENGTH + 2)
    assert decoder(IDS * 3).logits.shape == (2, LENGTH, 40)


def test_rotary_places_go_into_a_memory_of_keys() -> None:
    model, ids = built(rotary_with_memory()), torch.arange(6).remainder(5)[None] + 1
    places = torch.tensor([[7, 8, 9, 20, 21, 22]])
    whole = model(ids, position_ids=places)
    assert whole.memory is None, "hidden states would be turned by counted places"
    first = model(
        ids[:, :3], position_ids=places[:, :3], memory=model.start_memory(1), use_memory=True
    )
    second = model(ids[:, 3:], position_ids=places[:, 3:], memory=first.memory)
    agree(second.last_hidden_state, whole.last_hidden_state[:, 3:], "states", 1e-10)


def test_masks_and_mappings_may_be_of_any_number_type() -> None:
    model, silenced = (
        built(family("xlnet"), dtype=torch.float32),
        torch.tensor([1.0, 0.0, 1.0, 1.0]),
    )
    mapping = torch.eye(LENGTH).expand(2, -1, -1)
    expected = model(IDS, target_mapping=mapping, head_mask=silenced).logits
    for kind in (torch.bool, torch.float64, torch.bfloat16, torch.long):
        found = model(IDS, target_mapping=mapping.to(kind), head_mask=silenced.to(kind)).logits
        assert torch.equal(found, expected), kind


def test_pairs_of_rows_and_encoder_states_hold_for_query_rows_too() -> None:
    """A query row sees of the encoder what the content row of its target sees."""
    spec = family("xlnet", **{"attention.cross": True, "dims.layers": 1})
    model, states = built(spec), torch.randn(2, 4, spec.dims.model, dtype=torch.float64)
    pairs = torch.rand(2, LENGTH, 4) < 0.5
    for targets in (torch.arange(LENGTH), torch.tensor([3, 1])):
        call = {"encoder_hidden_states": states, "encoder_attention_mask": pairs}
        mapping = torch.nn.functional.one_hot(targets, LENGTH).expand(2, -1, -1)
        one = model(IDS, target_mapping=mapping, **call).last_hidden_state
        other = model(IDS, target_mapping=mapping.flip(1), **call).last_hidden_state
        agree(other.flip(1), one, "targets in another order", 1e-12)

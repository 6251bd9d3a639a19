"""Families and values of an axis that say the same thing give the same numbers, by different ways
through the code.
"""

from typing import Any

import torch
from hypothesis import given
from hypothesis import strategies as st

from engine import Model, Spec
from engine.laws.calls import answer, inputs_for, order_mask
from engine.laws.compare import agree
from engine.network.positions.table import sinusoid
from tests.searching import examples
from tests.strategies import built, family, valid_specs

LENGTH = 6
XL = {"embeddings.scale": "none", "position.clamp": None, "attention.mask": ["padding", "causal"]}


def take(model: Model, other: Model, **renamed: torch.Tensor) -> None:
    """Give `model` the weights of `other` under the same names, and `renamed` ones."""
    weights = {
        name: value for name, value in other.state_dict().items() if name in model.state_dict()
    }
    missing = model.load_state_dict(
        {**weights, **{name.replace("__", "."): value for name, value in renamed.items()}}
    )
    assert not missing.unexpected_keys


def relaid(spec: Spec, **changes: Any) -> Spec:
    """The spec with dotted keys (written with __) changed."""
    from engine import load_spec

    return load_spec(spec, {key.replace("__", "."): value for key, value in changes.items()})


def test_xlnet_one_way_without_segments_is_transformer_xl() -> None:
    """XLNet's factorization order from left to right over three segments of memory =
    Transformer-XL's causal mask.
    """
    plain = {
        "ffn.activation": "gelu",
        "norm.eps": 1e-12,
        "memory.initial": "empty",
        "memory.length": 9,
    }
    tokens = {
        "embeddings.tables.tokens": {"width": None, "cutoffs": [], "divisor": 1},
        "dims.head": 4,
    }
    xl = family(
        "transformer-xl",
        **XL,
        **plain,
        **tokens,
        **{"heads.output": {"kind": "linear", "tied": True, "tied_projections": False}},
    )
    net = family("xlnet", **{"memory.length": 9, "memory.padding": "hidden"})
    ours, theirs = built(net, None), built(xl, None, seed=1)
    weights = ours.state_dict()
    theirs.load_state_dict({name: weights[name] for name in theirs.state_dict()})
    one_way = order_mask(torch.arange(LENGTH).expand(2, -1))
    memories: tuple[Any, Any] = (None, None)
    for segment in range(3):
        inputs = inputs_for(net, length=LENGTH, seed=segment, permuted=False, optional=False)
        left = ours(
            **inputs,
            perm_mask=one_way,
            memory=memories[0],
            use_memory=True,
            output_hidden_states=True,
        )
        right = theirs(**inputs, memory=memories[1], use_memory=True, output_hidden_states=True)
        agree(left.hidden_states, right.hidden_states, f"states of segment {segment}", 1e-9)
        memories = left.memory, right.memory


def test_an_xlm_roberta_xl_decoder_over_sinusoid_rows_is_xglm() -> None:
    decoder = {
        "attention.mask": ["padding", "causal"],
        "memory": {"kind": "keys_values"},
        "position.count": "all",
    }
    ours, theirs = built(family("xglm"), None), built(family("xlm-roberta-xl", **decoder), None)
    padding = theirs.spec.embeddings.tables.tokens.padding
    weights = {
        name: value for name, value in ours.state_dict().items() if name in theirs.state_dict()
    }
    weights["embeddings.tokens.tables.0"] = weights["embeddings.tokens.tables.0"] * 16**0.5
    size = theirs.spec.position.size
    assert size is not None and padding is not None
    # XGLM counts from 2, XLM-RoBERTa-XL from behind the padding row.
    rows = torch.arange(size) - (padding + 1) + int(ours.spec.position.start)
    weights["embeddings.positions.weight"] = sinusoid(rows, 16, ours.spec.position.basis).double()
    weights["embeddings.segments"] = torch.zeros(1, 16)
    theirs.load_state_dict(weights, strict=False)
    inputs = inputs_for(ours.spec, length=LENGTH, padded=True)
    left, right = (
        model(**inputs, output_hidden_states=True).hidden_states for model in (ours, theirs)
    )
    real = inputs["attention_mask"].bool()
    agree([state[real] for state in left], [state[real] for state in right], "states", 1e-9)


def test_bert_whose_types_are_tokens_is_xlm() -> None:
    shrunk = {
        "dims.layers": 2,
        "dims.model": 16,
        "dims.heads": 4,
        "dims.inner": 64,
        "dims.vocab": 40,
    }
    from engine import load_spec

    bert = built(
        load_spec("variants/bert-base", {**shrunk, "embeddings.tables.tokens.padding": 2}), None
    )
    xlm = built(family("xlm", **{"position.size": 512}), None, seed=1)
    weights = {name: value for name, value in bert.state_dict().items() if name in xlm.state_dict()}
    weights["embeddings.tokens.tables.0"][:2] = bert.embeddings.segments.detach()
    bert.load_state_dict(weights, strict=False)
    xlm.load_state_dict(weights, strict=False)
    inputs = inputs_for(bert.spec, length=LENGTH, padded=True)
    left, right = (model(**inputs).last_hidden_state for model in (bert, xlm))
    real = inputs["attention_mask"].bool()
    agree(left[real], right[real], "states", 1e-9)
    assert float(right[~real].detach().abs().max()) == 0 < float(left[~real].detach().abs().max())


@examples(12)
@given(valid_specs(positions=("sinusoid",)), st.integers(0, 999))
def test_sinusoids_are_a_learned_table_of_their_rows(spec: Spec, seed: int) -> None:
    position = spec.position
    table = {"kind": "learned", "size": 40, "start": position.start, "count": position.count}
    model = built(spec, seed=seed)
    other = built(Spec.model_validate({**spec.to_dict(), "position": table}), seed=seed)
    sinusoids: Any = model.embeddings.positions
    sinusoids.fill()  # a stored table was randomised
    # A stored table is rounded once, at the end; others are made in single precision.
    numbers = torch.arange(40, dtype=torch.float64 if position.stored else torch.float32)
    rows = sinusoid(numbers, spec.embedding_width, position.basis).double()
    if position.padding_row == "zero":
        rows[spec.embeddings.tables.tokens.padding] = 0
    take(other, model, embeddings__positions__weight=rows)
    inputs = inputs_for(spec, seed=seed)
    agree(answer(other(**inputs)), answer(model(**inputs)), "answers", 1e-9)


@examples(15)
@given(valid_specs(), st.integers(0, 999))
def test_shared_keys_are_repeated_keys(spec: Spec, seed: int) -> None:
    """Grouped key/value heads equal a full set in which each group's weights stand repeated."""
    dims = spec.dims
    assert dims.kv_heads is not None
    full = relaid(spec, dims__kv_heads=dims.heads)
    model, other = built(spec, seed=seed), built(full, seed=seed + 1)
    weights = dict(model.state_dict())
    for name in weights:
        norm, repeats = spec.attention.head_norm, dims.heads // dims.kv_heads
        own = norm is not None and (norm.own or norm.over == "all")
        of_heads = ("key", "value", "key_norm") if own else ("key", "value")
        if name.split(".")[-2] in of_heads and "attention" in name:
            shape = weights[name].shape
            groups = weights[name].reshape(dims.kv_heads, -1)
            whole = groups.repeat_interleave(repeats, dim=0)
            weights[name] = whole.reshape(shape[0] * repeats, *shape[1:])
    other.load_state_dict(weights)
    inputs = inputs_for(spec, seed=seed, targets=2)
    agree(answer(other(**inputs)), answer(model(**inputs)), "answers", 1e-6)


@examples(15)
@given(valid_specs(causal=True, padding=False, streams="one"), st.integers(0, 999))
def test_masks_that_reach_everywhere_are_no_masks(spec: Spec, seed: int) -> None:
    wide = {**spec.to_dict()["attention"], "mask": ["causal"], "window": None}
    plain = Spec.model_validate({**spec.to_dict(), "attention": wide})
    window = Spec.model_validate({**spec.to_dict(), "attention": {**wide, "window": 99}})
    pairs = Spec.model_validate(
        {**spec.to_dict(), "memory": {"kind": "none"}, "attention": {**wide, "mask": ["padding"]}}
    )
    model = built(plain, seed=seed)
    inputs = inputs_for(spec, length=LENGTH, seed=seed)
    expected = answer(model(**inputs))
    agree(answer(built(window, seed=seed)(**inputs)), expected, "answers under a window of 99")
    if spec.memory.kind != "recurrent" or spec.memory.initial == "empty":
        triangle = torch.ones(LENGTH, LENGTH).tril().expand(2, -1, -1)
        agree(
            answer(built(pairs, seed=seed)(**inputs, attention_mask=triangle)),
            expected,
            "answers under a triangle",
        )


@examples(15)
@given(valid_specs(causal=False, streams="two", padding=False), st.integers(0, 999))
def test_an_order_from_left_to_right_is_the_causal_mask(spec: Spec, seed: int) -> None:
    attention = {**spec.to_dict()["attention"], "window": None, "mask": ["permutation"]}
    free = Spec.model_validate({**spec.to_dict(), "attention": attention})
    causal = Spec.model_validate(
        {**spec.to_dict(), "attention": {**attention, "mask": ["causal", "permutation"]}}
    )
    inputs = inputs_for(spec, length=LENGTH, seed=seed, permuted=False)
    inputs |= {"perm_mask": order_mask(torch.arange(LENGTH).expand(2, -1))}
    inputs["target_mapping"] = torch.eye(LENGTH).expand(2, -1, -1)
    agree(
        answer(built(causal, seed=seed)(**inputs)),
        answer(built(free, seed=seed)(**inputs)),
        "answers",
        1e-9,
    )


@examples(15)
@given(valid_specs(positions=("relative_key",), causal=True), st.integers(0, 999))
def test_distances_shared_by_heads_are_distances_of_each_head(spec: Spec, seed: int) -> None:
    """Under a causal mask, relative_key equals learned_relative with the same vectors for all heads
    and no bias.
    """
    size = spec.position.size
    assert size is not None
    apart = Spec.model_validate(
        {**spec.to_dict(), "position": {"kind": "learned_relative", "size": size}}
    )
    model, other = built(spec, seed=seed), built(apart, seed=seed + 1)
    weights = dict(model.state_dict())
    for name in list(weights):
        if name.endswith("scores.table"):
            rows = weights[name][size - 1 :].flip(0)  # farthest first
            weights[name] = rows[:, None].expand(-1, spec.dims.heads, -1)
            weights[f"{name}_bias"] = torch.zeros(size, spec.dims.heads)
    other.load_state_dict(weights)
    inputs = inputs_for(spec, length=LENGTH, seed=seed)
    agree(answer(other(**inputs)), answer(model(**inputs)), "answers", 1e-9)


@examples(12)
@given(
    valid_specs(positions=("none",), memories=("none",), streams="one", padding=False),
    st.integers(0, 999),
)
def test_sinusoids_from_the_end_are_sinusoids_counted_backwards(spec: Spec, seed: int) -> None:
    bottom = {**spec.to_dict()["embeddings"], "width": None}
    data = {**spec.to_dict(), "embeddings": bottom, "layers": None}
    output = {**data["heads"]["output"], "tied": False, "tied_projections": False, "kind": "linear",
              "dense_bias": True, "cutoffs": None, "divisor": None}  # fmt: skip
    data["heads"] = {**data["heads"], "output": output}
    ahead = Spec.model_validate({**data, "position": {"kind": "sinusoid", "basis": "half_split"}})
    behind = Spec.model_validate({**data, "position": {"kind": "from_end", "table": "sinusoid"}})
    inputs = inputs_for(spec, length=LENGTH, seed=seed)
    places = torch.arange(LENGTH - 1, -1, -1).expand(2, -1)
    expected = answer(built(ahead, seed=seed)(**inputs, position_ids=places))
    agree(answer(built(behind, seed=seed)(**inputs)), expected, "answers", 1e-9)


@examples(12)
@given(valid_specs(head="causal_lm", settle={"heads.output.kind": "linear"}), st.integers(0, 999))
def test_one_cluster_is_a_plain_softmax(spec: Spec, seed: int) -> None:
    tokens = {**spec.to_dict()["embeddings"]["tables"]["tokens"], "cutoffs": [], "divisor": 1, "width": None,
              "projection_bias": False}  # fmt: skip
    bottom = {**spec.to_dict()["embeddings"], "width": None}
    bottom["tables"] = {**bottom["tables"], "tokens": tokens}
    heads = {"default": "causal_lm", "output": {"kind": "linear", "tied": False, "bias": True}}
    data = {**spec.to_dict(), "embeddings": bottom, "heads": heads}
    plain = Spec.model_validate(data)
    data["heads"] = {"default": "causal_lm", "output": {"kind": "adaptive", "tied": False}}
    model, other = built(plain, seed=seed), built(Spec.model_validate(data), seed=seed + 1)
    weights = dict(model.state_dict())
    weights["head.output.tables.0"] = weights.pop("head.output.weight")
    weights["head.output.biases.0"] = weights.pop("head.output.bias")
    other.load_state_dict(weights)
    inputs = inputs_for(spec, seed=seed)
    agree(
        answer(other(**inputs)), answer(model(**inputs)).log_softmax(-1), "log-probabilities", 1e-5
    )

"""XLM against transformers: XLMModel and XLMWithLMHeadModel."""

from typing import Any

import pytest
import torch
from transformers import XLMConfig, XLMModel, XLMWithLMHeadModel

from engine import CheckpointError, build_model, load_model
from engine.laws.calls import randomise
from tests.parity.both import agree, labels_of, padded, tokens
from tests.parity.helpers import assert_close_relative, converted, drop_alike

VOCAB, LENGTH, LAYERS, HEADS, WIDTH = 61, 9, 3, 4, 24


def config(**changes: Any) -> XLMConfig:
    settings = {
        "vocab_size": VOCAB, "emb_dim": WIDTH, "n_layers": LAYERS, "n_heads": HEADS, "max_position_embeddings": 40,
        "dropout": 0.0, "attention_dropout": 0.0, "n_langs": 3, "layer_norm_eps": 1e-6,
    }  # fmt: skip
    return XLMConfig(**{**settings, **changes})


def pair(kind: Any = XLMModel, seed: int = 0, **changes: Any) -> tuple[Any, Any]:
    theirs = randomise(kind(config(**changes)), seed)
    return theirs, converted(theirs)


def drawn(batch: int = 3, seed: int = 0) -> dict[str, torch.Tensor]:
    """Tokens, languages and token types, without padding."""
    generator = torch.Generator().manual_seed(seed)
    return {
        "input_ids": tokens(batch, LENGTH, VOCAB, seed),
        "langs": torch.randint(0, 3, (batch, LENGTH), generator=generator),
        "token_type_ids": torch.randint(0, VOCAB, (batch, LENGTH), generator=generator),
    }


VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "sinusoids": {"sinusoidal_embeddings": True},
    "causal": {"causal": True},
    "relu": {"gelu_activation": False},
    "languages unused": {"use_lang_emb": False},
    "one language": {"n_langs": 1},
    "untied": {"tie_word_embeddings": False},
    "other padding id": {"pad_index": 7, "pad_token_id": 7},
}


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("kind", [XLMModel, XLMWithLMHeadModel])
def test_options(kind: Any, name: str) -> None:
    theirs, ours = pair(kind, **VARIANTS[name])
    inputs = drawn()
    if theirs.config.n_langs == 1 or not theirs.config.use_lang_emb:
        assert ours.spec.embeddings.tables.languages is not None
        agree(theirs, ours, inputs, changes={"langs": None})
    else:
        agree(theirs, ours, inputs)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("without", ["langs", "token_type_ids", "both"])
def test_arguments_left_out(causal: bool, without: str) -> None:
    theirs, ours = pair(causal=causal)
    left_out = ("langs", "token_type_ids") if without == "both" else (without,)
    agree(theirs, ours, {name: value for name, value in drawn().items() if name not in left_out})


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("how", ["attention_mask", "lengths", "inferred"])
def test_padding_on_the_right(causal: bool, how: str) -> None:
    """Padded states are zero after every block, and a causal network sees them: both as published."""
    theirs, ours = pair(XLMWithLMHeadModel, causal=causal, sinusoidal_embeddings=True)
    inputs = drawn()
    inputs["input_ids"], mask = padded(inputs["input_ids"], 2, [0, 3, 5], "right")
    inputs["labels"] = labels_of(inputs["input_ids"], mask)
    inputs |= {
        "attention_mask": {"attention_mask": mask},
        "lengths": {"lengths": mask.sum(1)},
        "inferred": {},
    }[how]
    agree(theirs, ours, inputs)


def test_a_mask_with_holes() -> None:
    theirs, ours = pair()
    mask = torch.ones(3, LENGTH, dtype=torch.long)
    mask[0, 2], mask[1, 5:7] = 0, 0
    position_ids = torch.arange(LENGTH).expand(3, -1)
    agree(theirs, ours, drawn() | {"attention_mask": mask, "position_ids": position_ids})


@pytest.mark.parametrize("causal", [False, True])
def test_padding_on_the_left_counts_columns_as_published(causal: bool) -> None:
    """Published code counts columns, so padding on the left moves a token: `count: columns` repeats
    that trap.
    """
    theirs, ours = pair(XLMWithLMHeadModel, causal=causal)
    inputs = drawn()
    inputs["input_ids"], mask = padded(inputs["input_ids"], 2, [0, 2, 4], "left")
    inputs |= {"attention_mask": mask, "labels": labels_of(inputs["input_ids"], mask)}
    columns = converted(theirs, overrides={"position.count": "columns"})
    agree(theirs, columns, inputs)
    counted = (mask.cumsum(1) - 1).clamp(min=0)
    agree(theirs, ours, inputs | {"position_ids": counted}, changes={"position_ids": None})
    with torch.no_grad():
        apart = ours(**inputs).logits - columns(**inputs).logits
    assert (
        float(apart[0].abs().max()) == 0.0 and float(apart[1, 2:].abs().min(-1).values.max()) > 1e-3
    )


def test_left_padding_changes_nothing_for_a_masked_network() -> None:
    _, ours = pair()
    ids = tokens(1, LENGTH, VOCAB)
    left = torch.cat((torch.full((1, 4), 2), ids), dim=1)
    mask = (left != 2).long()
    with torch.no_grad():
        alone, together = (
            ours(ids).last_hidden_state,
            ours(left, attention_mask=mask).last_hidden_state[:, 4:],
        )
    torch.testing.assert_close(alone, together)


def test_position_ids() -> None:
    theirs, ours = pair(XLMWithLMHeadModel)
    positions = torch.randint(0, 40, (3, LENGTH), generator=torch.Generator().manual_seed(5))
    agree(theirs, ours, drawn() | {"position_ids": positions})


def test_inputs_embeds() -> None:
    theirs, ours = pair()
    vectors = torch.randn(2, LENGTH, WIDTH, generator=torch.Generator().manual_seed(1))
    mask = padded(tokens(2, LENGTH, VOCAB), 2, [0, 3], "right")[1]
    agree(
        theirs, ours, {"inputs_embeds": vectors, "langs": drawn(2)["langs"], "attention_mask": mask}
    )


@pytest.mark.parametrize("shape", [(HEADS,), (LAYERS, HEADS)])
def test_head_mask(shape: tuple[int, ...]) -> None:
    theirs, ours = pair(causal=len(shape) == 1)
    mask = torch.rand(shape, generator=torch.Generator().manual_seed(2)).round()
    assert 0 < float(mask.mean()) < 1
    agree(theirs, ours, drawn() | {"head_mask": mask})


def test_labels_are_not_shifted() -> None:
    """Documentation says that labels are shifted inside; published code never shifted them."""
    theirs, ours = pair(XLMWithLMHeadModel)
    inputs = drawn()
    inputs["labels"] = labels_of(inputs["input_ids"])
    agree(theirs, ours, inputs)
    with torch.no_grad():
        losses = ours(**inputs).losses
    assert torch.equal(losses == 0, inputs["labels"] == -100)


def test_memory_over_pieces() -> None:
    """A causal network remembers keys and values, where published code computes all tokens anew for
    each.
    """
    theirs, ours = pair(XLMWithLMHeadModel, causal=True)
    inputs, memory, parts, done = drawn(), None, [], 0
    with torch.no_grad():
        for size in (1, 4, 3, 1):
            piece = {name: value[:, done : done + size] for name, value in inputs.items()}
            result = ours(**piece, memory=memory, use_memory=True)
            memory, done = result.memory, done + size
            parts.append(result.logits)
        assert_close_relative(torch.cat(parts, dim=1), theirs.eval()(**inputs).logits, "logits")
        assert ours(**inputs).memory is None


def test_sinusoids_of_a_new_model_are_the_published_ones() -> None:
    published = XLMModel(config(sinusoidal_embeddings=True)).position_embeddings.weight
    sizes = {"dims.layers": 1, "dims.model": WIDTH, "dims.heads": 2, "dims.vocab": VOCAB}
    fixed = {"kind": "sinusoid", "basis": "interleaved", "stored": True, "size": 40}
    model = build_model("xlm", head=None, overrides={**sizes, "position": fixed})
    table = model.get_parameter("embeddings.positions.weight")
    assert not table.requires_grad
    torch.testing.assert_close(table.detach(), published.detach(), rtol=0, atol=2e-6)


def test_adaptive_softmax_is_refused_in_a_config_and_works_in_a_spec(tmp_path: Any) -> None:
    """`asm: true` never worked where it was published, so no checkpoint has it; a spec can ask for
    one that works.
    """
    theirs = XLMModel(config())
    theirs.config.asm = True
    theirs.save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=r"asm is True; this family has: False"):
        load_model(tmp_path)
    sizes = {"dims.layers": 2, "dims.model": WIDTH, "dims.heads": 2, "dims.vocab": VOCAB}
    model = build_model(
        "xlm",
        overrides={**sizes, "heads.output": {"kind": "adaptive", "cutoffs": (10, 30)}},
        seed=0,
    )
    ids = tokens(2, LENGTH, VOCAB)
    labels = labels_of(ids)
    result = model.eval()(ids, labels=labels, output_logits=True)
    torch.testing.assert_close(result.logits.exp().sum(-1), torch.ones(2, LENGTH))
    picked = result.logits.gather(-1, labels.clamp(min=0)[..., None]).squeeze(-1)[labels != -100]
    torch.testing.assert_close(result.loss, -picked.mean())
    torch.autograd.backward(result.loss)
    assert all(parameter.grad is not None for parameter in model.head.parameters())


@pytest.mark.parametrize("place", ["dropout", "attention_dropout", "all"])
def test_dropout_stands_where_it_is_published(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same seed drops the same numbers where the same places are visited in the same order."""
    drop_alike(monkeypatch)
    names = ["dropout", "attention_dropout"] if place == "all" else [place]
    dropouts: dict[str, Any] = dict.fromkeys(names, 0.4)
    theirs, ours = pair(**dropouts)
    ids, results = tokens(3, LENGTH, VOCAB), []
    for model in (theirs.train(), ours.train()):
        torch.manual_seed(1)
        results.append(model(ids, output_attentions=True))
    assert_close_relative(
        results[1].last_hidden_state, results[0].last_hidden_state, "states after dropout"
    )
    assert (
        float((ours.eval()(ids).last_hidden_state - results[1].last_hidden_state).abs().max()) > 0.1
    )

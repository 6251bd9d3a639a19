"""Networks with an encoder, written only in YAML: numbers, gradients, decoding and weights both ways."""

import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as t

from engine import InputError, build_model, load_model, run_unpadded, save_model
from engine.laws.calls import randomise
from tests.parity.both import agree, padded, tokens
from tests.parity.helpers import converted

VOCAB, WIDTH = 53, 32
SOURCE, TEXT = 7, 5


@dataclass(frozen=True)
class Row:
    """A spec, a published config, and the classes without and with a language-model head.

    `columns`: the published encoder counts positions by columns, so that padding on the left moves
    them.
    """

    spec: str
    config: Any
    bare: Any
    head: Any
    changes: dict[str, Any] = field(default_factory=dict)
    columns: bool = False

    def settings(self) -> Any:
        """A tiny config without dropout."""
        return self.config(attn_implementation="eager", vocab_size=VOCAB, **self.changes)


T5_TINY = {"d_model": WIDTH, "d_kv": 6, "d_ff": 40, "num_layers": 2, "num_heads": 2,
           "dropout_rate": 0.0, "relative_attention_num_buckets": 8, "relative_attention_max_distance": 6,
           "decoder_start_token_id": 0}  # fmt: skip
BART_TINY = {"d_model": WIDTH, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4,
             "decoder_attention_heads": 2, "encoder_ffn_dim": 40, "decoder_ffn_dim": 24, "max_position_embeddings": 30,
             "dropout": 0.0, "attention_dropout": 0.0, "activation_dropout": 0.0}  # fmt: skip
MARIAN_TINY = {
    **BART_TINY,
    "decoder_vocab_size": VOCAB,
    "pad_token_id": 3,
    "decoder_start_token_id": 3,
}
ROWS = {
    "t5": Row("t5-small", t.T5Config, t.T5Model, t.T5ForConditionalGeneration, T5_TINY),
    "t5 1.1": Row(
        "t5-v1.1-small", t.T5Config, t.T5Model, t.T5ForConditionalGeneration,
        {**T5_TINY, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False},
    ),
    "bart": Row(
        "bart-base", t.BartConfig, t.BartModel, t.BartForConditionalGeneration, BART_TINY, columns=True
    ),
    "bart, scaled": Row(
        "bart-base", t.BartConfig, None, t.BartForConditionalGeneration, {**BART_TINY, "scale_embedding": True},
        columns=True,
    ),
    "mbart": Row(
        "mbart-large", t.MBartConfig, t.MBartModel, t.MBartForConditionalGeneration,
        {**BART_TINY, "scale_embedding": True}, columns=True,
    ),
    "pegasus": Row(
        "pegasus-large", t.PegasusConfig, t.PegasusModel, t.PegasusForConditionalGeneration, BART_TINY, columns=True
    ),
    "blenderbot": Row(
        "blenderbot-3b", t.BlenderbotConfig, None, t.BlenderbotForConditionalGeneration, BART_TINY, columns=True
    ),
    "m2m-100": Row(
        "m2m-100-418m", t.M2M100Config, t.M2M100Model, t.M2M100ForConditionalGeneration,
        {**BART_TINY, "encoder_layerdrop": 0.0, "decoder_layerdrop": 0.0},
    ),
    "marian": Row("opus-mt", t.MarianConfig, t.MarianModel, t.MarianMTModel, MARIAN_TINY, columns=True),
}  # fmt: skip
SMALL = {
    "dims.layers": 2,
    "dims.model": 16,
    "dims.inner": 24,
    "dims.vocab": 40,
    "encoder.dims.layers": 1,
}
BART_SMALL = {**SMALL, "dims.heads": 2, "encoder.dims": {"layers": 1, "heads": 4, "inner": 20}}
BOTH = [(name, head) for name, row in ROWS.items() for head in (False, True) if head or row.bare]


def pair(name: str, head: bool = True) -> tuple[Any, Any]:
    row = ROWS[name]
    theirs = (row.head if head else row.bare)(row.settings())
    fixed = {
        key: value.clone() for key, value in theirs.named_parameters() if not value.requires_grad
    }
    theirs = randomise(theirs)
    for key, value in fixed.items():  # sinusoids, which some files leave out
        theirs.get_parameter(key).data = value
    if hasattr(theirs, "final_logits_bias"):
        theirs.final_logits_bias.normal_(generator=torch.Generator().manual_seed(1))
    return theirs, converted(theirs)


def call(ours: Any, side: str | None = None) -> dict[str, Any]:
    ids = tokens(3, SOURCE, VOCAB)
    if side is None:
        return {"input_ids": ids}
    ids, mask = padded(ids, ours.spec.tokens.padding, [0, 2, 4], side)
    return {"input_ids": ids, "attention_mask": mask}


def until(texts: torch.Tensor, end: int) -> list[list[int]]:
    """Texts up to their end, behind which published beam search writes its token where padding is 0."""
    rows = [row.tolist() for row in texts]
    return [row[: row.index(end, 1) + 1] if end in row[1:] else row for row in rows]


@pytest.mark.parametrize(("name", "head"), BOTH)
def test_numbers_and_gradients(name: str, head: bool) -> None:
    theirs, ours = pair(name, head)
    assert not ours.load_report.config_left_over and not ours.load_report.remarks, ours.load_report
    text = tokens(3, TEXT, VOCAB, seed=1)
    labels = text.clone()
    labels[1, -2:] = -100
    given = {"labels": labels} if head else {"decoder_input_ids": text}
    sides = [None, "right"] if ROWS[name].columns else [None, "right", "left"]
    for side in sides:
        inputs = call(ours, side)
        agree(theirs, ours, inputs | given, real=inputs.get("attention_mask"))


@pytest.mark.parametrize("name", ROWS)
def test_decoding(name: str) -> None:
    theirs, ours = pair(name)
    inputs, theirs = call(ours, "right"), theirs.eval()
    if ours.spec.tokens.decoder_start == "last":
        # Published code puts its bos before what does not begin with it.
        inputs["decoder_input_ids"] = torch.nn.functional.pad(tokens(3, 1, VOCAB, 2), (1, 0))
    for beams in ({}, {"num_beams": 3}, {"num_beams": 3, "num_return_sequences": 2}):
        asked = {**inputs, **beams, "max_new_tokens": 8, "min_new_tokens": 3}
        expected = theirs.generate(**asked, do_sample=False, forced_eos_token_id=None)
        found = ours.generate(**asked)
        end = ours.spec.tokens.eos
        assert until(found, end) == until(expected, end), beams
    again = ours.generate(**inputs, max_new_tokens=8, decoding="recompute")
    assert torch.equal(again, ours.generate(**inputs, max_new_tokens=8))


@pytest.mark.parametrize(("name", "head"), BOTH)
def test_export_opens_elsewhere_with_the_same_numbers(
    name: str, head: bool, tmp_path: Path
) -> None:
    theirs, ours = pair(name, head)
    save_model(ours, tmp_path, format="huggingface")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        back, report = type(theirs).from_pretrained(
            tmp_path, attn_implementation="eager", output_loading_info=True
        )
    assert not any(report.values()), report
    inputs = call(ours) | {"decoder_input_ids": tokens(3, TEXT, VOCAB, seed=1)}
    with torch.no_grad():
        assert torch.equal(back.eval()(**inputs)[0], theirs.eval()(**inputs)[0])
        assert torch.equal(load_model(tmp_path)(**inputs)[0], ours(**inputs)[0])
    kept = theirs.config.to_dict()
    changed = {key for key, value in back.config.to_dict().items() if value != kept.get(key, value)}
    assert changed <= {"architectures", "dtype", "torch_dtype", "_name_or_path"}


def test_what_a_call_of_two_networks_refuses() -> None:
    model: Any = build_model("t5-small", overrides=SMALL, seed=0).eval()
    ids, text = tokens(2, 4, 40), tokens(2, 3, 40, seed=1)
    states = model.encode(ids).states
    memory = model(ids, decoder_input_ids=text).memory
    for call, said in (
        ({"input_ids": ids}, "decoder_input_ids"),
        ({"decoder_input_ids": text}, "give the source"),
        ({"input_ids": ids, "encoder_hidden_states": states, "labels": text}, "not both"),
        ({"input_ids": ids, "memory": memory, "decoder_input_ids": text}, "holds its source"),
        ({"langs": ids, "encoder_hidden_states": states, "labels": text}, "langs needs"),
    ):
        with pytest.raises(InputError, match=said):
            model(**call)
    with pytest.raises(InputError, match="padding of two kinds"):
        run_unpadded(model, input_ids=ids, labels=text)
    given = model(encoder_hidden_states=states, labels=text)
    assert torch.equal(given.logits, model(ids, labels=text).logits)


def test_scores_are_the_losses_of_labels() -> None:
    model: Any = build_model("t5-small", overrides=SMALL, seed=0, dtype=torch.float64).eval()
    ids, text = tokens(2, 4, 40), tokens(2, 3, 40, seed=1)
    text[1, 2:] = -100
    scores = model.score(ids, labels=text)
    torch.testing.assert_close(-scores.log_probs.double(), model(ids, labels=text).losses)
    assert torch.equal(scores.counted, text != -100)


def test_export_and_growth() -> None:
    model: Any = build_model("bart-base", overrides=BART_SMALL, seed=0).eval()
    ids, text = tokens(2, 4, 40), tokens(2, 3, 40, seed=1)
    call = {"decoder_input_ids": text, "use_memory": False}
    program = torch.export.export(model, (ids,), call).module()
    torch.testing.assert_close(program(ids, **call).logits, model(ids, **call).logits)
    before = model(ids, **call).logits
    model.resize_vocabulary(44)
    assert model.encoder.embeddings.tokens.tables[0] is model.embeddings.tokens.tables[0]
    torch.testing.assert_close(model(ids, **call).logits[..., :40], before)

"""What config.json says comes in, and goes out again in the same words; what it cannot say is
refused.
"""

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as t
from hypothesis import given
from hypothesis import strategies as st

from engine import Model, load_model, save_model
from engine.laws.calls import randomise
from tests.searching import examples

Fields = dict[str, Any]
SHARE = st.sampled_from([0.0, 0.1, 0.25])
COMMON: dict[str, Any] = {
    "tie_word_embeddings": st.booleans(),
    "id2label": st.sampled_from([{0: "no", 1: "yes"}, {0: "a", 1: "b", 2: "c"}]),
    "problem_type": st.sampled_from([None, "regression", "multi_label_classification"]),
    "task_specific_params": st.sampled_from(
        [None, {"text-generation": {"max_length": 30, "do_sample": True}}]
    ),
    "prefix": st.sampled_from([None, "Once "]),
    "finetuning_task": st.sampled_from([None, "sst2"]),
    "own_field": st.sampled_from([None, 3, [1, {"a": 2.5}], "text"]),
}
SUMMARY: dict[str, Any] = {
    "summary_type": st.sampled_from(["last", "first", "mean", "cls_index"]),
    "summary_use_proj": st.booleans(),
    "summary_activation": st.sampled_from(["tanh", "gelu", "relu"]),
    "summary_last_dropout": SHARE,
    "start_n_top": st.integers(1, 6),
    "end_n_top": st.integers(1, 6),
}
ACTIVATION = st.sampled_from(["gelu", "relu", "gelu_new", "silu", "swish"])
IDS = st.integers(0, 52)
FAMILIES: dict[str, tuple[Any, tuple[Any, ...], Fields, Fields]] = {
    "xlnet": (
        t.XLNetConfig,
        (
            t.XLNetModel,
            t.XLNetLMHeadModel,
            t.XLNetForSequenceClassification,
            t.XLNetForTokenClassification,
        ),
        {"vocab_size": 53, "d_model": 16, "n_layer": 2, "n_head": 2, "d_inner": 24},
        {
            **SUMMARY,
            "ff_activation": ACTIVATION,
            "attn_type": st.sampled_from(["bi", "uni"]),
            "initializer_range": st.sampled_from([0.02, 0.5]),
            "layer_norm_eps": st.sampled_from([1e-12, 1e-3]),
            "dropout": SHARE,
            "mem_len": st.sampled_from([None, 0, 4, 512]),
            "reuse_len": st.sampled_from([None, 0, 2]),
            "use_mems_eval": st.booleans(),
            "use_mems_train": st.booleans(),
            "bi_data": st.booleans(),
            "clamp_len": st.sampled_from([-1, 0, 3]),
            "same_length": st.booleans(),
            "pad_token_id": IDS,
            "bos_token_id": IDS,
            "eos_token_id": IDS,
        },
    ),
    "xlm": (
        t.XLMConfig,
        (
            t.XLMModel,
            t.XLMWithLMHeadModel,
            t.XLMForSequenceClassification,
            t.XLMForQuestionAnsweringSimple,
        ),
        {"vocab_size": 53, "emb_dim": 16, "n_layers": 2, "n_heads": 2},
        {
            **SUMMARY,
            "max_position_embeddings": st.sampled_from([12, 512]),
            "dropout": SHARE,
            "attention_dropout": SHARE,
            "gelu_activation": st.booleans(),
            "sinusoidal_embeddings": st.booleans(),
            "causal": st.booleans(),
            "n_langs": st.sampled_from([1, 3]),
            "use_lang_emb": st.booleans(),
            "embed_init_std": st.sampled_from([0.1, 2048**-0.5]),
            "layer_norm_eps": st.sampled_from([1e-12, 1e-3]),
            "init_std": st.sampled_from([0.02, 0.5]),
            "bos_index": IDS,
            "eos_index": IDS,
            "pad_index": IDS,
            "unk_index": IDS,
            "mask_index": IDS,
            "mask_token_id": IDS,
            "lang_id": st.sampled_from([0, 1]),
            "pad_token_id": st.sampled_from([2]),
            "summary_proj_to_labels": st.just(True),
            "summary_first_dropout": SHARE,
            "lang2id": st.sampled_from([None, {"de": 0, "en": 1}]),
            "id2lang": st.sampled_from([None, {"0": "de", "1": "en"}]),
        },
    ),
    "xlm-roberta-xl": (
        t.XLMRobertaXLConfig,
        (t.XLMRobertaXLModel, t.XLMRobertaXLForMaskedLM, t.XLMRobertaXLForTokenClassification),
        {
            "vocab_size": 53,
            "hidden_size": 16,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 24,
        },
        {
            "hidden_act": ACTIVATION,
            "hidden_dropout_prob": SHARE,
            "attention_probs_dropout_prob": SHARE,
            "max_position_embeddings": st.sampled_from([70, 514]),
            "type_vocab_size": st.sampled_from([1, 2]),
            "initializer_range": st.sampled_from([0.02, 0.5]),
            "layer_norm_eps": st.sampled_from([1e-5, 1e-3]),
            "pad_token_id": st.sampled_from([1, 0, 7]),
            "bos_token_id": IDS,
            "eos_token_id": st.sampled_from([2, 9, [2, 9]]),
            "position_embedding_type": st.sampled_from(
                ["absolute", "relative_key", "relative_key_query"]
            ),
            "use_cache": st.booleans(),
            "classifier_dropout": st.sampled_from([None, 0.2]),
        },
    ),
    "xglm": (
        t.XGLMConfig,
        (t.XGLMModel, t.XGLMForCausalLM),
        {"vocab_size": 53, "d_model": 16, "ffn_dim": 24, "num_layers": 2, "attention_heads": 2},
        {
            "activation_function": ACTIVATION,
            "max_position_embeddings": st.sampled_from([40, 2048, 4096]),
            "dropout": SHARE,
            "attention_dropout": SHARE,
            "activation_dropout": SHARE,
            "layerdrop": SHARE,
            "init_std": st.sampled_from([0.02, 0.5]),
            "scale_embedding": st.booleans(),
            "use_cache": st.booleans(),
            "decoder_start_token_id": IDS,
            "pad_token_id": st.sampled_from([1, 0, 2, 9, None]),
            "bos_token_id": IDS,
            "eos_token_id": st.sampled_from([2, 9, [2, 9]]),
        },
    ),
    "transformer-xl": (
        t.TransfoXLConfig,
        (t.TransfoXLModel, t.TransfoXLLMHeadModel, t.TransfoXLForSequenceClassification),
        {
            "vocab_size": 53,
            "cutoffs": [10, 20],
            "d_model": 16,
            "d_embed": 16,
            "n_head": 2,
            "d_head": 6,
            "d_inner": 24,
            "n_layer": 2,
        },
        {
            "div_val": st.sampled_from([1, 2]),
            "pre_lnorm": st.booleans(),
            "mem_len": st.sampled_from([5, 1600]),  # 0 leaves same_length nothing to see
            "clamp_len": st.sampled_from([-1, 0, 4, 1000]),
            "same_length": st.booleans(),
            "tie_projs": st.sampled_from([[False, True, True], [False, False, False]]),
            "proj_share_all_but_first": st.booleans(),
            "attn_type": st.just(0),
            "sample_softmax": st.just(-1),  # theirs has no other
            "adaptive": st.booleans(),
            "untie_r": st.booleans(),
            "dropout": SHARE,
            "dropatt": SHARE,
            "init": st.sampled_from(["normal", "uniform"]),
            "init_range": st.sampled_from([0.01, 0.5]),
            "init_std": st.sampled_from([0.02, 0.5]),
            "proj_init_std": st.sampled_from([0.01, 0.3]),
            "layer_norm_epsilon": st.sampled_from([1e-5, 1e-3]),
            "pad_token_id": IDS,
            "eos_token_id": IDS,
        },
    ),
}
# Crash in every call since transformers 4.36, and still hold a config.json and weights.
SILENT = (t.TransfoXLModel, t.TransfoXLLMHeadModel, t.TransfoXLForSequenceClassification)


@st.composite
def published_models(draw: Any) -> Any:
    name = draw(st.sampled_from(sorted(FAMILIES)))
    config, kinds, sizes, fields = FAMILIES[name]
    chosen = draw(st.sets(st.sampled_from([*COMMON, *fields]), max_size=8))
    given_fields = {field: draw({**COMMON, **fields}[field]) for field in sorted(chosen)}
    kind = draw(st.sampled_from(kinds))
    if kind is t.XLMForSequenceClassification:
        given_fields.pop(
            "summary_use_proj", None
        )  # without it that head gives as many scores as states are wide
    if "QuestionAnswering" in kind.__name__:
        given_fields.pop("id2label", None)  # that head scores two places, whatever is named
    absent = ("pad_token_id", "mem_len")
    told = {
        field: value
        for field, value in given_fields.items()
        if value is not None or field in absent
    }
    return kind, config(**sizes, **told)


def fields_of(folder: Path) -> Fields:
    known = json.loads((folder / "config.json").read_text())
    return {
        name: value
        for name, value in known.items()
        if name not in ("dtype", "torch_dtype", "transformers_version")
    }


def quietly(folder: Path, **options: Any) -> Model:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return load_model(folder, **options)


def answers(model: Any, bare: bool) -> torch.Tensor:
    with torch.no_grad():
        out = model(torch.tensor([[11, 12, 13, 14, 15]]))
    if bare:
        return out.last_hidden_state
    return out.start_logits if getattr(out, "logits", None) is None else out.logits


@examples(30)
@given(drawn=published_models(), through_ours=st.booleans())
def test_every_field_comes_back(
    drawn: Any, through_ours: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """transformers → ours (→ our own folder → ours) → transformers: the same fields, and the same
    answers.
    """
    kind, config = drawn
    folder = tmp_path_factory.mktemp("fields")
    theirs = randomise(kind(config).eval())
    # Biases that layers share are no tensors that transformers writes as safetensors.
    shares = getattr(config, "untie_r", True) is False
    theirs.save_pretrained(folder / "theirs", safe_serialization=not shares)
    ours = quietly(folder / "theirs")
    unread = ours.load_report.unused  # a table of places beside distances, which no code reads
    if through_ours:
        save_model(ours, folder / "ours")
        ours = load_model(folder / "ours")
    save_model(ours, folder / "back", format="huggingface")
    before, after = fields_of(folder / "theirs"), fields_of(folder / "back")
    assert {name: after.get(name) for name in before} == before
    generation = folder / "theirs" / "generation_config.json"
    if generation.exists():
        assert json.loads((folder / "back" / generation.name).read_text()) == json.loads(
            generation.read_text()
        )
    back = kind.from_pretrained(folder / "back").eval()
    weights, expected = back.state_dict(), theirs.state_dict()
    assert weights.keys() == expected.keys()
    assert all(torch.equal(weights[name], expected[name]) for name in weights if name not in unread)
    bare = kind.__name__.endswith("Model") and "LMHead" not in kind.__name__
    mirrored = config.model_type == "xlnet" and config.bi_data  # takes an even number of rows
    if not (mirrored or kind in SILENT):
        torch.testing.assert_close(answers(back, bare), answers(theirs, bare))

"""Weights both ways: every published class to ours and back, in every file format, to the last bit."""

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as t
from torch import Tensor

from engine import Model, load_model, save_model
from engine.laws.calls import randomise
from engine.parameters.ties import shared_names
from tests.parity.both import tokens

VOCAB, LENGTH = 53, 7
XLM = {
    "vocab_size": VOCAB,
    "emb_dim": 16,
    "n_layers": 2,
    "n_heads": 2,
    "max_position_embeddings": 24,
    "n_langs": 3,
}
XLM_R = {"vocab_size": VOCAB, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24,
         "max_position_embeddings": 24}  # fmt: skip
XGLM = {"vocab_size": VOCAB, "d_model": 16, "ffn_dim": 24, "num_layers": 2, "attention_heads": 2}
XLNET = {"vocab_size": VOCAB, "d_model": 16, "n_layer": 2, "n_head": 2, "d_inner": 24}
TXL = {"vocab_size": VOCAB, "cutoffs": [10, 20], "d_model": 16, "d_embed": 16, "n_head": 2, "d_head": 6, "d_inner": 24,
       "n_layer": 2, "mem_len": 5, "clamp_len": 4, "div_val": 2}  # fmt: skip
DECODER = {"is_decoder": True, "add_cross_attention": True}
TXL_CLASSES = (t.TransfoXLModel, t.TransfoXLLMHeadModel)

CASES: dict[str, tuple[Any, dict[str, Any], tuple[Any, ...]]] = {
    "xlnet": (t.XLNetConfig, XLNET, (t.XLNetModel, t.XLNetLMHeadModel)),
    "xlnet, options": (
        t.XLNetConfig,
        {**XLNET, "attn_type": "uni", "mem_len": 4, "reuse_len": 2, "clamp_len": 3, "bi_data": True, "same_length": True,
         "ff_activation": "relu", "tie_word_embeddings": False, "dropout": 0.3},
        (t.XLNetModel, t.XLNetLMHeadModel),
    ),
    "xlm": (t.XLMConfig, XLM, (t.XLMModel, t.XLMWithLMHeadModel)),
    "xlm, options": (
        t.XLMConfig,
        {**XLM, "causal": True, "sinusoidal_embeddings": True, "gelu_activation": False, "use_lang_emb": False,
         "tie_word_embeddings": False, "dropout": 0.2, "attention_dropout": 0.3, "mask_index": 7},
        (t.XLMModel, t.XLMWithLMHeadModel),
    ),
    "xlm-roberta-xl": (
        t.XLMRobertaXLConfig, XLM_R, (t.XLMRobertaXLModel, t.XLMRobertaXLForMaskedLM, t.XLMRobertaXLForCausalLM)
    ),
    "xlm-roberta-xl, decoder": (
        t.XLMRobertaXLConfig,
        {**XLM_R, **DECODER, "tie_word_embeddings": False, "hidden_act": "silu"},
        (t.XLMRobertaXLModel, t.XLMRobertaXLForCausalLM),
    ),
    "xlm-roberta-xl, distances": (
        t.XLMRobertaXLConfig,
        {**XLM_R, "position_embedding_type": "relative_key", "hidden_act": "gelu_new"},
        (t.XLMRobertaXLModel, t.XLMRobertaXLForMaskedLM),
    ),
    "transformer-xl": (t.TransfoXLConfig, TXL, TXL_CLASSES),
    "transformer-xl, options": (
        t.TransfoXLConfig,
        {**TXL, "untie_r": False, "pre_lnorm": True, "same_length": False, "tie_word_embeddings": False, "div_val": 1},
        TXL_CLASSES,
    ),
    "xglm": (t.XGLMConfig, XGLM, (t.XGLMModel, t.XGLMForCausalLM)),
    "xglm, options": (
        t.XGLMConfig,
        {**XGLM, "add_cross_attention": True, "scale_embedding": False, "tie_word_embeddings": False, "layerdrop": 0.1,
         "activation_function": "relu", "use_cache": False},
        (t.XGLMModel, t.XGLMForCausalLM),
    ),
}  # fmt: skip
EVERY = [(name, kind) for name, (_, _, kinds) in CASES.items() for kind in kinds]
PLAIN = [(name, kinds[-1]) for name, (_, _, kinds) in CASES.items() if "," not in name]
every = pytest.mark.parametrize(
    ("name", "kind"), EVERY, ids=[f"{kind.__name__}-{name}" for name, kind in EVERY]
)
plain = pytest.mark.parametrize(("name", "kind"), PLAIN, ids=[name for name, _ in PLAIN])


def published(name: str, kind: Any) -> Any:
    config, settings, _ = CASES[name]
    return randomise(kind(config(**settings)).eval())


def opened(folder: Path, **options: Any) -> Model:
    """Our model from a folder, in which nothing may be missing or left over."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # Relative distances leave the published table of positions without use.
        warnings.filterwarnings("ignore", "[^;]*no use: [a-z.]*position_embeddings.weight$")
        return load_model(folder, **options)


def results(model: Any) -> Tensor:
    """Logits, or the last states, of a fixed input."""
    with torch.no_grad():
        output = model(tokens(2, LENGTH, VOCAB, seed=5))
    return output.last_hidden_state if getattr(output, "logits", None) is None else output.logits


def assert_same_published(back: Any, theirs: Any) -> None:
    """The same tensors by name, sharing the same storage, and where the class still runs the same
    results.
    """
    ours, expected = back.state_dict(), theirs.state_dict()
    unused = {
        name
        for name in expected
        if "position_embeddings" in name and "relative" in str(theirs.config)
    }
    assert ours.keys() == expected.keys()
    assert not [
        name
        for name in expected
        if name not in unused and not torch.equal(ours[name], expected[name])
    ]
    if not isinstance(theirs, TXL_CLASSES):  # crashes in every call since transformers 4.36
        assert torch.equal(results(back), results(theirs))


def reopen(kind: Any, folder: Path) -> Any:
    """transformers' model from a folder, in which nothing that it uses and does not compute may be
    missing or left over.
    """
    back, report = kind.from_pretrained(folder, output_loading_info=True)
    missing = [name for name in report["missing_keys"] if not name.endswith("pos_emb.inv_freq")]
    assert not [
        name
        for name in missing
        if "position_embeddings" not in name or "relative" not in str(back.config)
    ]
    assert not report["unexpected_keys"] and not report["mismatched_keys"]
    return back.eval()


def changed(back: Any, theirs: Any) -> set[str]:
    """Fields of config.json that an export changed or lost, apart from who wrote it and in which
    dtype.
    """
    ours, expected = back.config.to_dict(), theirs.config.to_dict()
    fields = {name for name, value in expected.items() if ours.get(name) != value}
    return fields - {
        "_name_or_path",
        "architectures",
        "dtype",
        "torch_dtype",
        "transformers_version",
    }


def saved(theirs: Any, folder: Path) -> Path:
    """A folder that transformers wrote; its safetensors refuse Transformer-XL's shared biases."""
    safe = getattr(theirs.config, "untie_r", True) or not isinstance(theirs, TXL_CLASSES)
    theirs.save_pretrained(folder, safe_serialization=safe)
    return folder


@every
def test_there_and_back(name: str, kind: Any, tmp_path: Path) -> None:
    theirs = published(name, kind)
    ours = opened(saved(theirs, tmp_path / "theirs"))
    save_model(ours, tmp_path / "exported", format="huggingface")
    back = reopen(kind, tmp_path / "exported")
    assert_same_published(back, theirs)
    assert changed(back, theirs) == set()
    assert torch.equal(results(opened(tmp_path / "exported")), results(ours))


@every
def test_own_format(name: str, kind: Any, tmp_path: Path) -> None:
    ours = opened(saved(published(name, kind), tmp_path / "theirs"))
    for shard_bytes in (10**9, 4000):
        folder = tmp_path / f"ours-{shard_bytes}"
        save_model(ours, folder, shard_bytes=shard_bytes)
        assert (folder / "model.safetensors.index.json").exists() == (shard_bytes == 4000)
        back = opened(folder)
        assert back.spec == ours.spec and shared_names(back) == shared_names(ours)
        found, expected = dict(back.named_parameters()), dict(ours.named_parameters())
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[key], expected[key]) for key in expected)
        assert torch.equal(results(back), results(ours))


@plain
@pytest.mark.parametrize("safe", [True, False])
@pytest.mark.parametrize("size", ["1GB", "4KB"])
def test_published_files(name: str, kind: Any, safe: bool, size: str, tmp_path: Path) -> None:
    """safetensors and pytorch_model.bin, whole and in shards: the same model."""
    theirs = published(name, kind)
    theirs.save_pretrained(tmp_path, safe_serialization=safe, max_shard_size=size)
    pattern = "model*.safetensors" if safe else "pytorch_model*.bin"
    assert (len(list(tmp_path.glob(pattern))) > 1) == (size == "4KB")
    ours = opened(tmp_path)
    theirs.save_pretrained(tmp_path / "plain")
    expected = dict(opened(tmp_path / "plain").named_parameters())
    assert all(torch.equal(value, expected[key]) for key, value in ours.named_parameters())


@plain
def test_shards_of_an_export(name: str, kind: Any, tmp_path: Path) -> None:
    theirs = published(name, kind)
    theirs.save_pretrained(tmp_path / "theirs")
    save_model(
        opened(tmp_path / "theirs"), tmp_path / "exported", format="huggingface", shard_bytes=4000
    )
    assert len(list((tmp_path / "exported").glob("model-*-of-*.safetensors"))) > 1
    assert_same_published(reopen(kind, tmp_path / "exported"), theirs)


@plain
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_dtype_on_load(name: str, kind: Any, dtype: torch.dtype, tmp_path: Path) -> None:
    theirs = published(name, kind)
    theirs.save_pretrained(tmp_path / "single")
    theirs.to(dtype).save_pretrained(tmp_path / "cast")
    whole = dict(opened(tmp_path / "single").named_parameters())
    cast = dict(opened(tmp_path / "single", dtype=dtype).named_parameters())
    stored = dict(opened(tmp_path / "cast").named_parameters())
    assert {value.dtype for value in whole.values()} == {torch.float32}
    for key, value in whole.items():
        assert cast[key].dtype == stored[key].dtype == dtype
        assert torch.equal(cast[key], value.to(dtype)) and torch.equal(stored[key], value.to(dtype))


@plain
def test_a_body_with_and_without_its_head(name: str, kind: Any, tmp_path: Path) -> None:
    """A bare backbone opens a checkpoint that has a head, and a head is added to one that has none,
    and says so.
    """
    theirs = published(name, kind)
    theirs.save_pretrained(tmp_path / "whole")
    with (
        pytest.warns(UserWarning, match="left over|initialised anew")
        if _own_weights(name)
        else warnings.catch_warnings()
    ):
        body = load_model(tmp_path / "whole", head=None)
    assert body.head is None
    whole = opened(tmp_path / "whole")
    for key, value in body.named_parameters():
        if not key.startswith("pooler."):
            assert torch.equal(value, whole.get_parameter(key)), key
    save_model(body, tmp_path / "body", format="huggingface")
    head = whole.spec.heads.default
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        again = load_model(tmp_path / "body", head=head)
    new = {
        key
        for key, names in shared_names(again).items()
        if all(part.startswith("head.") for part in names)
    }
    assert set(again.load_report.initialised) == new


def _own_weights(name: str) -> bool:
    """Whether the family's head has weights that it shares with nothing (XGLM's has none)."""
    return name != "xglm"

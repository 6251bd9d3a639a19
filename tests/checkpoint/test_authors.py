"""Files of the authors' code, opened without it: the same numbers as what transformers' own
conversion gives.
"""

import sys
from argparse import Namespace
from pathlib import Path
from types import ModuleType

import pytest
import torch
import transformers as t

from engine import SpecError, load_model, save_model
from engine.laws.calls import randomise
from tests.checkpoint.folders import as_bin, loaded, refused, small, tensors

IDS = torch.tensor([[4, 17, 23, 42, 9], [8, 30, 11, 5, 6]])
XLM = {
    "vocab_size": 60,
    "emb_dim": 32,
    "n_layers": 2,
    "n_heads": 4,
    "max_position_embeddings": 24,
    "n_langs": 3,
}
XLM_R = {"vocab_size": 60, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48,
         "max_position_embeddings": 24}  # fmt: skip
XGLM = {"vocab_size": 60, "d_model": 32, "ffn_dim": 48, "num_layers": 2, "attention_heads": 4}


def xlm(sinusoidal=False):
    """A checkpoint of facebookresearch/XLM, from a converted network: the conversion only puts a
    prefix before names.
    """
    theirs = t.XLMWithLMHeadModel(t.XLMConfig(**XLM, sinusoidal_embeddings=sinusoidal))
    params = {
        "n_words": 60, "emb_dim": 32, "n_layers": 2, "n_heads": 4, "dropout": 0.1, "attention_dropout": 0.1, "n_langs": 3,
        "gelu_activation": True, "sinusoidal_embeddings": sinusoidal, "asm": False, "share_inout_emb": True,
        "pad_index": 2, "eos_index": 1, "bos_index": 0, "unk_index": 3, "mask_index": 5, "lang2id": {"de": 0, "en": 1, "fr": 2},
        "mlm_steps": [("en", None)], "encoder_only": True, "pred_probs": torch.tensor([0.8, 0.1, 0.1]),
    }  # fmt: skip
    content = {
        "epoch": 3,
        "params": params,
        "dico_id2word": {0: "<s>"},
        "dico_word2id": {"<s>": 0},
        "dico_counts": {},
    }
    return theirs, content, lambda name: ("model", f"module.{name.removeprefix('transformer.')}")


def xglm(old=False):
    theirs = t.XGLMForCausalLM(t.XGLMConfig(**XGLM))
    settings = {
        "decoder_layers": 2, "decoder_attention_heads": 4, "decoder_ffn_embed_dim": 48, "decoder_embed_dim": 32,
        "decoder_layerdrop": 0.0, "dropout": 0.1, "attention_dropout": 0.1, "activation_dropout": 0.0,
        "activation_fn": "gelu", "no_scale_embedding": False, "share_decoder_input_output_embed": True,
        "decoder_normalize_before": True, "decoder_learned_pos": False, "layernorm_embedding": False,
    }  # fmt: skip
    content = (
        {"args": Namespace(**settings), "cfg": None}
        if old
        else {"args": None, "cfg": {"model": settings}}
    )

    def named(name):
        return (
            "model",
            "decoder.output_projection.weight"
            if name == "lm_head.weight"
            else name.replace("model.", "decoder."),
        )

    return theirs, {**content, "extra_state": {"epoch": 2}}, named


def xlm_roberta_xl():
    theirs = t.XLMRobertaXLForMaskedLM(t.XLMRobertaXLConfig(**XLM_R, type_vocab_size=1))
    settings = Namespace(
        encoder_layers=2, encoder_attention_heads=4, encoder_ffn_embed_dim=48, encoder_embed_dim=32, dropout=0.1,
        attention_dropout=0.1, activation_fn="gelu", encoder_normalize_before=True, untie_weights_roberta=False,
    )  # fmt: skip
    changes = {
        "roberta.embeddings.word_embeddings": "embed_tokens", "roberta.embeddings.position_embeddings": "embed_positions",
        "roberta.encoder.layer.": "layers.", "attention.self.query": "self_attn.q_proj",
        "attention.self.key": "self_attn.k_proj", "attention.self.value": "self_attn.v_proj",
        "attention.output.dense": "self_attn.out_proj", "attention.self_attn_layer_norm": "self_attn_layer_norm",
        "intermediate.dense": "fc1", "output.dense": "fc2", "roberta.encoder.LayerNorm": "layer_norm",
        "LayerNorm": "final_layer_norm", "lm_head.decoder.weight": "lm_head.weight",
    }  # fmt: skip

    def named(name):
        if "token_type" in name or name == "lm_head.decoder.bias":
            return None
        for old, new in changes.items():
            name = name.replace(old, new)
        return "model", f"encoder.{name}" if name.startswith(
            "lm_head"
        ) else f"encoder.sentence_encoder.{name}"

    return theirs, {"cfg": {"model": settings}, "args": None}, named


CASES = {
    "xlm": xlm,
    "xlm, sinusoids": lambda: xlm(sinusoidal=True),
    "xglm": xglm,
    "xglm, older": lambda: xglm(old=True),
    "xlm-roberta-xl": xlm_roberta_xl,
}


def written(name, path, **options):
    theirs, content, named = CASES[name]()
    randomise(theirs.eval())
    if name == "xlm-roberta-xl":
        torch.nn.init.zeros_(theirs.roberta.embeddings.token_type_embeddings.weight)
    for key, tensor in theirs.state_dict().items():
        if (
            (place := named(key)) is not None
            and "position_ids" not in key
            and "embed_positions.weights" not in key
        ):
            content.setdefault(place[0], {})[place[1]] = tensor
    torch.save(content, path, **options)
    return theirs


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("zipped", [True, False])
def test_the_numbers_of_the_converted_network(name, zipped, tmp_path):
    path = tmp_path / "model.pt"
    theirs = written(name, path, _use_new_zipfile_serialization=zipped)
    model = loaded(path)
    assert not model.load_report
    with torch.no_grad():
        assert torch.allclose(model(IDS).logits, theirs(IDS).logits, atol=1e-5, rtol=1e-5)
    assert torch.equal(
        loaded(tmp_path).embeddings.tokens.tables[0], model.embeddings.tokens.tables[0]
    )
    save_model(model, tmp_path / "new", format="huggingface")
    again = type(theirs).from_pretrained(tmp_path / "new")
    with torch.no_grad():
        assert torch.allclose(again(IDS).logits, theirs(IDS).logits, atol=1e-5, rtol=1e-5)


def test_nothing_in_a_file_is_run(tmp_path):
    class Touches:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "mark",))

    theirs, content, named = xglm()
    content |= {
        "optimizer": Touches(),
        "model": {named(name)[1]: tensor for name, tensor in theirs.state_dict().items()},
    }
    torch.save(content, tmp_path / "model.pt")
    loaded(tmp_path / "model.pt")
    assert not (tmp_path / "mark").exists()
    torch.load(tmp_path / "model.pt", weights_only=False)
    assert (tmp_path / "mark").exists()  # the trap works where code may run


def test_a_whole_network_names_the_way(tmp_path, monkeypatch):
    module = ModuleType("mem_transformer")
    network = type("MemTransformerLM", (torch.nn.Linear,), {"__module__": "mem_transformer"})
    monkeypatch.setattr(module, "MemTransformerLM", network, raising=False)
    monkeypatch.setitem(sys.modules, "mem_transformer", module)
    torch.save(module.MemTransformerLM(2, 2), tmp_path / "model.pt")
    refused(
        tmp_path / "model.pt", "holds a MemTransformerLM", "model.state_dict()", "pytorch_model.bin"
    )


def test_settings_that_no_network_of_ours_has(tmp_path):
    written("xlm", tmp_path / "model.pth")
    saved = torch.load(tmp_path / "model.pth", weights_only=False)
    torch.save({**saved, "params": {**saved["params"], "use_memory": True}}, tmp_path / "model.pth")
    refused(tmp_path / "model.pth", "use_memory is True")
    torch.save({**saved, "params": {**saved["params"], "n_heads": 5}}, tmp_path / "model.pth")
    refused(
        tmp_path / "model.pth",
        "model.pth: dims.heads: dims.model 32 is not a multiple",
        error=SpecError,
    )
    torch.save({"model": saved["model"]}, tmp_path / "model.pth")
    refused(tmp_path / "model.pth", "without its settings (params)")
    torch.save({"x": torch.zeros(2)}, tmp_path / "model.pth")
    refused(tmp_path / "model.pth", "a file of the authors of: fairseq's XGLM")
    (tmp_path / "other.pt").write_bytes(b"x")
    refused(tmp_path, "several files of torch (model.pth, other.pt)")
    refused(tmp_path / "other.pt", "is damaged or no weight file: torch.save did not write it")


def test_a_training_programs_file_beside_a_config(theirs):
    expected = tensors(theirs)
    as_bin(theirs, {"args": Namespace(lr=0.1), "model": expected})
    assert torch.equal(
        load_model(theirs).get_parameter("final_norm.weight"), expected["model.layer_norm.weight"]
    )


def test_a_spec_without_such_a_layout(tmp_path):
    written("xglm", tmp_path / "model.pt")
    refused(tmp_path / "model.pt", "no checkpoint.original section", spec="xlnet-base")
    assert load_model(tmp_path / "model.pt", spec="xglm-564m").spec.name == "xglm-564m"
    assert small().spec.checkpoint.original is not None

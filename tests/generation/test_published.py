"""Tokens and scores of transformers: live for 4.56.2's classes, from golden files for
Transformer-XL.
"""

import json
import tempfile
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from engine import Model, load_model
from engine.generation.generate import Generation
from engine.laws.calls import randomise
from tests.parity.helpers import assert_close_relative, converted

GOLDENS = Path(__file__).parents[1] / "goldens" / "transformer_xl"
SIZES = {"dropout": 0.0, "attention_dropout": 0.0}
CALLS: dict[str, dict[str, Any]] = {
    "greedy": {"max_new_tokens": 9},
    "processed": {
        "max_new_tokens": 9,
        "min_new_tokens": 5,
        "repetition_penalty": 1.4,
        "no_repeat_ngram_size": 2,
        "bad_words_ids": [[7], [9, 11]],
    },
    "beam": {"max_new_tokens": 8, "num_beams": 3, "num_return_sequences": 3},
    "beam processed": {
        "max_new_tokens": 8,
        "num_beams": 2,
        "min_new_tokens": 3,
        "repetition_penalty": 1.4,
        "no_repeat_ngram_size": 2,
    },
    "beam long": {
        "max_new_tokens": 8,
        "num_beams": 4,
        "length_penalty": 2.0,
        "early_stopping": "never",
    },
    "beam short": {
        "max_new_tokens": 8,
        "num_beams": 3,
        "length_penalty": -1.0,
        "early_stopping": True,
    },
}


def xglm() -> Any:
    config = transformers.XGLMConfig(
        vocab_size=40,
        d_model=16,
        num_layers=2,
        attention_heads=2,
        ffn_dim=24,
        pad_token_id=1,
        eos_token_id=2,
        **SIZES,
    )
    return randomise(transformers.XGLMForCausalLM(config).eval(), 1)


def xlm_roberta_xl(kind: str) -> Any:
    config = transformers.XLMRobertaXLConfig(
        vocab_size=40, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24, is_decoder=True,
        max_position_embeddings=40, position_embedding_type=kind, pad_token_id=1, eos_token_id=2,
        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    return randomise(transformers.XLMRobertaXLForCausalLM(config).eval(), 2)


def prompts(seed: int = 0) -> Tensor:
    return torch.randint(5, 40, (3, 6), generator=torch.Generator().manual_seed(seed))


def favoured_end(ours: Model, inputs: dict[str, Any]) -> int:
    """A token that greedy decoding meets early, so that texts end at different times."""
    plain = ours.generate(**inputs, max_new_tokens=6, eos_token_id=())
    return int(plain[0, -4])


def compare(theirs: Any, ours: Model, inputs: dict[str, Any], **settings: Any) -> None:
    """The same tokens, and for beams the same scores."""
    beams, ways = settings.get("num_beams", 1) > 1, {"decoding": settings.pop("decoding", "cached")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        published = theirs.generate(
            **inputs,
            do_sample=False,
            return_dict_in_generate=True,
            output_scores=beams,
            pad_token_id=1,
            **settings,
        )
    result = ours.generate(
        **inputs, return_dict_in_generate=True, pad_token_id=1, **settings, **ways
    )
    assert isinstance(result, Generation)
    assert result.sequences.tolist() == published.sequences.tolist()
    if beams:
        assert_close_relative(result.scores, published.sequences_scores)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("padded", [False, True])
def test_xglm(call: str, padded: bool) -> None:
    theirs = xglm()
    ours = converted(theirs)
    inputs = {"input_ids": prompts(), "attention_mask": torch.ones(3, 6, dtype=torch.long)}
    if padded:
        inputs["attention_mask"][1, :3] = 0
        inputs["attention_mask"][2, :1] = 0
        inputs["input_ids"] = torch.where(inputs["attention_mask"] > 0, inputs["input_ids"], 1)
    end = favoured_end(ours, inputs)
    settings = {**CALLS[call], "eos_token_id": end}
    if (
        padded
    ):  # the published penalty falls on padding too; ours would let other rows change the answer
        settings.pop("repetition_penalty", None)
    compare(theirs, ours, inputs, **settings)


@pytest.mark.parametrize("kind", ["absolute", "relative_key", "relative_key_query"])
@pytest.mark.parametrize("call", ["greedy", "beam", "beam short"])
def test_xlm_roberta_xl_decoder(kind: str, call: str) -> None:
    """With relative keys the published cache gives all rows of the prompt the last one's distances:
    compared without.
    """
    theirs = xlm_roberta_xl(kind)
    ours = converted(theirs)
    inputs = {"input_ids": prompts(3)}
    end = favoured_end(ours, inputs)
    theirs.config.use_cache = theirs.generation_config.use_cache = kind == "absolute"
    compare(theirs, ours, inputs, **{**CALLS[call], "eos_token_id": end})


@pytest.mark.parametrize("length", [None, 20, 9])
@pytest.mark.parametrize("decoding", ["recompute", "overlap"])
@pytest.mark.parametrize("call", ["greedy", "beam", "beam long"])
def test_xlnet_as_published(length: int | None, decoding: str, call: str) -> None:
    """Without memory every token sees every other at each step; with it the newest two are computed
    anew.
    """
    config = transformers.XLNetConfig(
        vocab_size=40, d_model=16, n_layer=2, n_head=2, d_inner=24, dropout=0.0, mem_len=length, eos_token_id=2,
        use_mems_eval=decoding == "overlap",
    )  # fmt: skip
    theirs = randomise(transformers.XLNetLMHeadModel(config).eval(), 3)
    ours = converted(theirs)
    inputs = {"input_ids": prompts(4)}
    compare(theirs, ours, inputs, **CALLS[call], decoding=decoding)
    settings = {**CALLS[call], "pad_token_id": 1}
    cached, published = (
        ours.generate(prompts(4), decoding=way, **settings) for way in ("cached", decoding)
    )
    differ = cached.tolist() != published.tolist()
    assert differ or call == "beam long", (
        "the ways differ by what the prompt sees: this case cannot tell"
    )


def golden(name: str) -> tuple[Model, dict[str, Any], dict[str, Tensor]]:
    """The converted model of a golden file, its calls, and its tensors."""
    with safe_open(GOLDENS / f"{name}.safetensors", "pt") as file:
        about = file.metadata()
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    case = json.loads(about["case"])
    with tempfile.TemporaryDirectory() as folder:
        weights = {f"{key}": tensors[f"weights.{key}"].contiguous() for key in case["saved_names"]}
        save_file(weights, Path(folder) / "model.safetensors", metadata={"format": "pt"})
        (Path(folder) / "config.json").write_text(about["config"])
        model = load_model(folder)
    return model.eval(), case["calls"], tensors


@pytest.mark.parametrize("name", ["generate_div1", "generate_div2", "generate_without_memory"])
def test_transformer_xl(name: str) -> None:
    model, calls, tensors = golden(name)
    for call, settings in calls.items():
        settings = {key: value for key, value in settings.items() if key != "do_sample"}
        remembering = settings.pop("remembering")
        prompt = tensors["inputs.input_ids"]
        memory = mask = None
        if remembering:  # published code then reads the last token of the prompt only
            with torch.no_grad():
                memory = model(tensors["inputs.earlier_input_ids"]).memory
            mask = (torch.arange(prompt.shape[1]) == prompt.shape[1] - 1).expand(prompt.shape)
        settings.setdefault("eos_token_id", ())
        if "num_beams" in settings:
            settings["beam_lengths"] = "whole_text"
        result = model.generate(
            prompt, attention_mask=mask, memory=memory, return_dict_in_generate=True, **settings
        )
        assert isinstance(result, Generation)
        expected = tensors[f"outputs.{call}.sequences"]
        written = expected[:, tensors["inputs.input_ids"].shape[1] :]
        assert result.sequences[:, prompt.shape[1] :].tolist() == written.tolist(), call
        if result.scores is not None:
            assert_close_relative(result.scores, tensors[f"outputs.{call}.sequences_scores"], call)

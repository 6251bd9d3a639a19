"""The Transformer-XL authors' models in our terms: their settings as a spec, their tensors under
our names.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from einops import rearrange
from torch import Tensor

from engine import Model, Spec, build_model, load_spec


def spec_of(settings: Mapping[str, Any]) -> Spec:
    """The family's spec with the authors' constructor arguments laid over it."""
    kind, plain = settings["attn_type"], not settings["cutoffs"]
    width = settings["d_embed"] or settings["d_model"]
    cutoffs = tuple(settings["cutoffs"])
    rows = settings["tgt_len"] + settings["ext_len"] + settings["mem_len"]
    clamp = settings["clamp_len"] if settings["clamp_len"] > 0 else None
    positions = [
        {"kind": "relative", "clamp": clamp},
        {"kind": "learned_relative", "size": rows, "clamp": clamp},
        {"kind": "from_end", "table": "sinusoid", "clamp": clamp},
        {"kind": "from_end", "table": "learned", "size": rows},
    ]
    output: dict[str, Any] = {
        "kind": "linear" if plain else "adaptive",
        "tied": settings["tie_weight"],
        "bias": True,
    }
    if settings["sample_softmax"] > 0:
        output |= {"samples": settings["sample_softmax"], "scale": "sqrt_model"}
    tied = settings["tie_projs"]
    return load_spec(
        "transformer-xl",
        {
            "dims.layers": settings["n_layer"],
            "dims.model": settings["d_model"],
            "dims.heads": settings["n_head"],
            "dims.head": settings["d_head"],
            "dims.inner": settings["d_inner"],
            "dims.vocab": settings["n_token"],
            "embeddings.tables.tokens": {
                "width": width,
                "cutoffs": cutoffs,
                "divisor": settings["div_val"],
            },
            "position": positions[kind],
            "attention.query_bias": ("shared", "per_layer", "none", "none")[kind],
            "attention.mask": ["padding", "causal"] + ["same_length"] * settings["same_length"],
            "memory.length": settings["mem_len"],
            "memory.initial": "empty",
            "norm.placement": "pre" if settings["pre_lnorm"] else "post",
            "norm.query": not (settings["pre_lnorm"] and kind > 1),
            "heads.output": {**output, "tied_projections": tied[0] if plain else tuple(tied)},
            "dropout": {
                **dict.fromkeys(
                    ("embeddings", "positions", "residual", "inner", "output"), settings["dropout"]
                ),
                "attention": settings["dropatt"],
            },
        },
    )


def renamed(
    tensors: Mapping[str, Tensor], settings: Mapping[str, Any]
) -> Iterator[tuple[str, Tensor]]:
    """Our name and tensor for each of the authors', which may be weights or gradients; tied ones
    under one name.
    """
    plain = not settings["cutoffs"]
    for name, tensor in tensors.items():
        parts = name.split(".")
        if parts[0] == "layers":
            yield from _of_layer(int(parts[1]), ".".join(parts[2:]), tensor)
        elif parts[0] == "word_emb":
            yield (
                f"embeddings.tokens.{'tables' if parts[1] == 'emb_layers' else 'projections'}.{parts[2]}",
                tensor,
            )
        elif name in ("r_w_bias", "r_r_bias", "r_bias"):
            yield from _biases(name, tensor, settings)
        elif name == "r_emb":
            for layer, rows in enumerate(tensor):
                if settings["attn_type"] == 1:
                    yield f"blocks.{layer}.attention.scores.table", rows
                else:
                    yield f"from_end.tables.{layer}", rearrange(rows, "r h k -> r (h k)")
        elif parts[0] == "out_layer":
            yield f"head.output.{parts[1]}", tensor
        elif parts[1] in ("cluster_weight", "cluster_bias"):
            yield f"head.output.{parts[1]}", tensor.flip(0)  # their cluster i takes column -i
        elif parts[0] == "crit":
            ours = (
                {"weight": "tables", "bias": "biases"}[parts[3]]
                if parts[1] == "out_layers"
                else "projections"
            )
            plain_name = {"tables": "weight", "biases": "bias", "projections": "projection"}[ours]
            yield f"head.output.{plain_name}" if plain else f"head.output.{ours}.{parts[2]}", tensor
        elif name != "pos_emb.inv_freq":
            raise KeyError(name)


def _of_layer(layer: int, name: str, tensor: Tensor) -> Iterator[tuple[str, Tensor]]:
    fused = {"qkv_net": ("query", "key", "value"), "q_net": ("query",), "kv_net": ("key", "value")}
    alone = {
        "dec_attn.o_net": "attention.output",
        "dec_attn.r_net": "attention.scores.projection",
        "dec_attn.layer_norm": "attention_norm",
        "pos_ff.CoreNet.0": "feed_forward.up",
        "pos_ff.CoreNet.3": "feed_forward.down",
        "pos_ff.layer_norm": "feed_forward_norm",
    }
    module, _, last = name.rpartition(".")
    if module in alone:
        yield f"blocks.{layer}.{alone[module]}.{last}", tensor
        return
    members = fused[module.removeprefix("dec_attn.")]
    for member, part in zip(members, tensor.chunk(len(members)), strict=True):
        yield f"blocks.{layer}.attention.{member}.{last}", part


def _biases(name: str, tensor: Tensor, settings: Mapping[str, Any]) -> Iterator[tuple[str, Tensor]]:
    ours = {"r_w_bias": "content_bias", "r_r_bias": "position_bias", "r_bias": "table_bias"}[name]
    for layer in range(settings["n_layer"]):
        yield (
            f"blocks.{layer}.attention.scores.{ours}",
            tensor if settings["attn_type"] == 0 else tensor[layer],
        )


def built(
    settings: Mapping[str, Any], weights: Mapping[str, Tensor], overrides: Mapping[str, Any]
) -> Model:
    """Our model with the authors' weights; labels are aligned with the tokens, as theirs are."""
    model = build_model(spec_of(settings), head="masked_lm", overrides=overrides).eval()
    parameters = dict(model.named_parameters(remove_duplicate=False))
    filled = set()
    with torch.no_grad():
        for name, tensor in renamed(weights, settings):
            parameters[name].copy_(tensor)
            filled.add(id(parameters[name]))
    missing = [name for name, parameter in parameters.items() if id(parameter) not in filled]
    assert not missing, f"the authors have nothing for {missing}"
    return model

"""Make the golden files of Transformer-XL in `tests/goldens/transformer_xl/`.

Needs an interpreter of its own: Python 3.11, torch 2.13.0 (CPU), numpy, transformers 4.35.0 (the
last release whose TransfoXL runs). The project's own environment cannot run it, and no test does:
tests only read the files.

    python make_transformer_xl.py                       # the cases of transformers 4.35.0
    python make_transformer_xl.py --authors PATH        # these, and the cases of the authors' PyTorch code
    python make_transformer_xl.py --only SUBSTRING      # only cases whose name contains SUBSTRING

PATH is the `pytorch` folder of a checkout of github.com/kimiyoung/transformer-xl (it holds
mem_transformer.py and utils/). Every case is seeded by its own name, so it does not depend on which
others are made. README.md says what is in a file.
"""

from __future__ import annotations

import argparse
import copy
import importlib
import json
import os
import struct
import sys
import tempfile
import types
import warnings
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

Tensors = dict[str, Tensor]
DTYPES = {torch.float32: "F32", torch.int64: "I64"}
IGNORED = -100


# --- writing
# ----------------------------------------------------------------------------------------------------------


def write_safetensors(path: Path, tensors: Tensors, metadata: dict[str, str]) -> None:
    """Write one file: the same content gives the same bytes (the safetensors package keeps no order
    of metadata).
    """
    header: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))}
    blobs: list[bytes] = []
    at = 0
    for name, tensor in sorted(tensors.items()):
        blob = tensor.detach().contiguous().numpy().tobytes()
        offsets = [at, at + len(blob)]
        header[name] = {
            "dtype": DTYPES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": offsets,
        }
        blobs.append(blob)
        at += len(blob)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(blobs))


class Case:
    """What one file holds, gathered while the reference code runs."""

    def __init__(self, name: str, source: str) -> None:
        self.name = name
        self.config = ""
        self.facts: dict[str, Any] = {"name": name, "source": source}
        self.tensors: Tensors = {}
        self.random = torch.Generator().manual_seed(zlib.crc32(name.encode()))

    def put(self, prefix: str, **values: Any) -> None:
        """Keep a copy of each tensor, or of each tensor of a sequence under its index; None is left
        out.
        """
        for name, value in values.items():
            if isinstance(value, Tensor):
                self.tensors[f"{prefix}.{name}"] = value.detach().clone()
            elif value is not None:
                self.put(
                    f"{prefix}.{name}", **{str(index): item for index, item in enumerate(value)}
                )

    def normal(self, *shape: int) -> Tensor:
        """Normal values of this case's own generator."""
        return torch.randn(*shape, generator=self.random)

    def tokens(self, rows: int, columns: int, vocabulary: int) -> Tensor:
        """Token ids [rows, columns]: shuffled vocabularies one after another, so that every cluster
        is met.
        """
        count = rows * columns
        rounds = [
            torch.randperm(vocabulary, generator=self.random)
            for _ in range(count // vocabulary + 1)
        ]
        return torch.cat(rounds)[:count].view(rows, columns).contiguous()

    def randomise(self, model: nn.Module, spread: float = 0.3) -> None:
        """Give every parameter values that matter: no zero biases, no unit norms."""
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                value = self.normal(*parameter.shape)
                norm = name.endswith("layer_norm.weight")
                parameter.copy_(
                    1 + 0.3 * value if norm else (spread if value.dim() > 1 else 0.3) * value
                )
        state = model.state_dict()
        self.put("weights", **state)
        owners: dict[tuple[int, torch.Size], list[str]] = {}
        for name, tensor in state.items():
            owners.setdefault((tensor.data_ptr(), tensor.shape), []).append(name)
        self.facts["shared"] = [names for names in owners.values() if len(names) > 1]

    def gradients(
        self, model: nn.Module, loss_of: Callable[[], Tensor], modes: Sequence[bool] = (False, True)
    ) -> None:
        """Gradients of every parameter, taken in eval and in train mode (dropout 0), which must
        agree.
        """
        taken: list[Tensors] = []
        was = model.training
        for training in modes:
            model.train(training)
            model.zero_grad(set_to_none=True)
            torch.autograd.backward(loss_of())
            taken.append(
                {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
            )
        model.train(was)
        missing = [name for name, _ in model.named_parameters() if name not in taken[0]]
        silent = [name for name, gradient in taken[0].items() if not gradient.any()]
        self.facts["parameters_without_gradient"] = missing
        self.facts["parameters_with_zero_gradient"] = silent
        self.facts["train_equals_eval"] = all(
            torch.equal(taken[0][name], taken[-1][name]) for name in taken[0]
        )
        self.put("gradients", **taken[0])

    def save(self, folder: Path) -> int:
        """Write the file; returns its size in bytes."""
        path = folder / f"{self.name}.safetensors"
        write_safetensors(
            path,
            self.tensors,
            {"config": self.config, "case": json.dumps(self.facts, sort_keys=True)},
        )
        return path.stat().st_size


# --- where dropout falls
# ----------------------------------------------------------------------------------------------

BENT: dict[str, Any] = {"dropout": 0.2, "dropatt": 0.3}


def bend(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Stands in for dropout: changes each value where dropout would fall, without drawing."""
    return input + p * torch.sin(2 * input) if training else input


def bending(maker: Callable[..., Case]) -> Callable[..., Case]:
    """A maker of cases that runs in train mode with `bend` for dropout where its case says
    `bent_dropout`.
    """

    def made(name: str, options: dict[str, Any], run: dict[str, Any], *others: Any) -> Case:
        drop = nn.functional.dropout
        try:
            if run.get("bent_dropout"):
                nn.functional.dropout = bend
                options = {**options, **BENT}
            return maker(name, options, run, *others)
        finally:
            nn.functional.dropout = drop

    return made


# --- transformers 4.35.0
# ----------------------------------------------------------------------------------------------

SMALL: dict[str, Any] = {
    "vocab_size": 17, "cutoffs": [5, 9, 13], "d_model": 12, "d_embed": 12, "n_head": 2, "d_head": 5, "d_inner": 14,
    "n_layer": 2, "div_val": 1, "mem_len": 6, "clamp_len": -1, "same_length": False, "pre_lnorm": False,
    "untie_r": True, "proj_share_all_but_first": True, "dropout": 0.0, "dropatt": 0.0,
}  # fmt: skip
DIV_2 = {"div_val": 2, "d_embed": 10, "cutoffs": [7, 13]}

# name -> (what differs from SMALL, how it is run); see `language_model` for the second part
LANGUAGE_MODELS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "lm_as_published": (
        {"div_val": 4, "d_model": 16, "d_embed": 16, "d_head": 8, "cutoffs": [5, 11], "mem_len": 9, "clamp_len": 7,
         "same_length": True}, {}),
    "lm_div1": ({"untie_r": False, "mem_len": 4}, {}),
    "lm_div1_projected": (
        {"d_embed": 10, "pre_lnorm": True, "clamp_len": 4, "same_length": True, "mem_len": 7}, {}),
    "lm_div1_projections_apart": ({"d_embed": 14, "proj_share_all_but_first": False, "same_length": True}, {}),
    "lm_div1_words_apart": ({"d_embed": 10, "tie_word_embeddings": False, "clamp_len": 3}, {}),
    "lm_div1_three_layers": (
        {"n_layer": 3, "n_head": 3, "d_head": 3, "layer_norm_epsilon": 1e-3, "mem_len": 10, "clamp_len": 5}, {}),
    "lm_div2": ({**DIV_2, "same_length": True, "mem_len": 3, "clamp_len": 2}, {}),
    "lm_div2_projections_apart": (
        {**DIV_2, "proj_share_all_but_first": False, "pre_lnorm": True, "untie_r": False, "mem_len": 11}, {}),
    "lm_div2_all_apart": (
        {**DIV_2, "d_embed": 12, "proj_share_all_but_first": False, "tie_word_embeddings": False, "mem_len": 5}, {}),
    "lm_div4_no_memory": (
        {"div_val": 4, "d_embed": 16, "cutoffs": [6, 12], "mem_len": 0, "pre_lnorm": True, "untie_r": False}, {}),
    "lm_one_cluster": ({"cutoffs": [], "adaptive": False, "clamp_len": 4}, {}),
    "lm_one_cluster_projected": ({"cutoffs": [], "d_embed": 10, "same_length": True, "pre_lnorm": True}, {}),
    "lm_one_cluster_div2": ({"cutoffs": [], "div_val": 2}, {}),
    "lm_adaptive_false_ignored": ({"adaptive": False, "cutoffs": [6, 12]}, {}),
    "lm_same_length_without_memory": ({"same_length": True, "mem_len": 0}, {}),
    "lm_segments_unequal": ({"same_length": True, "mem_len": 5, "clamp_len": 6}, {"lengths": [8, 3, 5, 2]}),
    "lm_memory_length_changed": (
        {"same_length": True, "mem_len": 3}, {"memory_lengths": [3, 8, 8, 2], "lengths": [7, 7, 7, 7]}),
    "lm_first_row_ignored": ({"cutoffs": []}, {"ignore_first_row": 2}),
    "lm_head_mask": ({"untie_r": False, "d_embed": 10}, {"head_mask": [1.0, 0.25]}),
    "lm_inputs_embeds": ({**DIV_2, "same_length": True}, {"embedded": True}),
    "lm_bent_dropout": ({"d_embed": 10, "clamp_len": 6}, {"bent_dropout": True}),
}  # fmt: skip

MODELS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "model_div1": ({}, {}),
    "model_div2_pre_norm": (
        {**DIV_2, "pre_lnorm": True, "same_length": True, "clamp_len": 5, "mem_len": 10},
        {},
    ),
    "model_head_mask": (
        {"n_layer": 3, "mem_len": 4},
        {"head_mask": [[1.0, 0.0], [0.5, 1.0], [0.0, 0.75]]},
    ),
    "model_inputs_embeds": ({"untie_r": False, "pre_lnorm": True}, {"embedded": True}),
}

CLASSIFIERS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "classifier_regression": ({"num_labels": 1, "pad_token_id": 3}, {"lengths": [7, 4, 1]}),
    "classifier_single_label": ({**DIV_2, "d_embed": 12, "num_labels": 4, "pad_token_id": 3}, {"lengths": [2, 7, 5]}),
    "classifier_multi_label": (
        {"num_labels": 3, "pad_token_id": 3, "problem_type": "multi_label_classification", "untie_r": False},
        {"lengths": [6, 3, 7]}),
    "classifier_regression_many": (
        {"num_labels": 3, "pad_token_id": 0, "problem_type": "regression", "same_length": True, "pre_lnorm": True},
        {"lengths": [5, 6]}),
    "classifier_no_pad_id": ({"num_labels": 3, "clamp_len": 4}, {"lengths": [6]}),
    "classifier_padded_left": ({"num_labels": 3, "pad_token_id": 3}, {"lengths": [7, 4], "left": True}),
    "classifier_inputs_embeds": ({"num_labels": 2, "pad_token_id": 3}, {"lengths": [6, 6], "embedded": True}),
}  # fmt: skip

GENERATORS: dict[str, dict[str, Any]] = {
    "generate_div1": {
        "vocab_size": 41,
        "cutoffs": [16, 30],
        "mem_len": 6,
        "clamp_len": 8,
        "tie_word_embeddings": False,
    },
    "generate_div2": {
        **DIV_2,
        "vocab_size": 41,
        "cutoffs": [20, 33],
        "mem_len": 20,
        "same_length": True,
        "untie_r": False,
        "pre_lnorm": True,
    },
    "generate_without_memory": {
        "vocab_size": 41,
        "mem_len": 0,
        "cutoffs": [],
        "d_embed": 10,
        "tie_word_embeddings": False,
    },
}

# name -> arguments of generate; "eos" stands for a token that the greedy answer really contains
CALLS: dict[str, dict[str, Any]] = {
    "greedy": {},
    "greedy_eos": {"eos_token_id": "eos"},
    "greedy_remembering": {"remembering": True},
    "greedy_processed": {
        "eos_token_id": "eos", "repetition_penalty": 1.3, "no_repeat_ngram_size": 2, "min_new_tokens": 5,
        "bad_words_ids": [[1], [4, 2]]},
    "beam": {"num_beams": 3},
    "beam_eos": {"eos_token_id": "eos", "num_beams": 3, "num_return_sequences": 3},
    "beam_short": {"eos_token_id": "eos", "num_beams": 3, "length_penalty": -1.0, "early_stopping": True,
                   "num_return_sequences": 2},
    "beam_long": {"eos_token_id": "eos", "num_beams": 3, "length_penalty": 2.0, "early_stopping": "never",
                  "num_return_sequences": 3},
    "beam_zero": {"eos_token_id": "eos", "num_beams": 4, "length_penalty": 0.0, "early_stopping": False},
    "beam_remembering": {"eos_token_id": "eos", "num_beams": 3, "num_return_sequences": 2, "remembering": True},
}  # fmt: skip


def published(case: Case, kind: str, options: dict[str, Any], spread: float = 0.3) -> Any:
    """A model of transformers with random weights; its config.json and the names in its file go
    into the case.
    """
    transformers: Any = importlib.import_module("transformers")
    if transformers.__version__ != "4.35.0":
        raise SystemExit(f"transformers 4.35.0 is needed, this is {transformers.__version__}")
    model = getattr(transformers, kind)(transformers.TransfoXLConfig(**{**SMALL, **options}))
    case.facts["class"] = kind
    case.randomise(model, spread)
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        case.config = Path(folder, "config.json").read_text()
        blob = Path(folder, "model.safetensors").read_bytes()
    header = json.loads(blob[8 : 8 + struct.unpack("<Q", blob[:8])[0]])
    case.facts["saved_names"] = sorted(name for name in header if name != "__metadata__")
    return model.eval()


def asked(
    case: Case, prefix: str, run: dict[str, Any], rows: int, columns: int, model: Any
) -> dict[str, Tensor]:
    """The arguments of one call: token ids or embeddings, and the head mask."""
    config = model.config
    if run.get("embedded"):
        arguments = {"inputs_embeds": case.normal(rows, columns, config.d_model)}
    else:
        arguments = {"input_ids": case.tokens(rows, columns, config.vocab_size)}
    if "head_mask" in run:
        arguments["head_mask"] = torch.tensor(run["head_mask"])
    case.put(prefix, **arguments)
    return arguments


@bending
def language_model(name: str, options: dict[str, Any], run: dict[str, Any]) -> Case:
    """Consecutive segments with memory, each asked for scores and then, with the same memory, for
    losses.
    """
    case = Case(name, "transformers 4.35.0")
    model = published(case, "TransfoXLLMHeadModel", options).train(run.get("bent_dropout", False))
    case.facts["called"] = run
    mems, rows, vocabulary = None, 2, model.config.vocab_size
    for index, length in enumerate(run.get("lengths", [7, 7, 7])):
        here = f"inputs.{index}"
        if "memory_lengths" in run:
            model.reset_memory_length(run["memory_lengths"][index])
        arguments = asked(case, here, run, rows, length, model)
        labels = case.tokens(rows, length, vocabulary)
        labels[0, length // 2] = labels[1, -1] = IGNORED
        if run.get("ignore_first_row") == index:
            labels[0, 1:] = IGNORED
        case.put(here, labels=labels)
        with torch.no_grad():
            answer = model(
                **arguments, mems=mems, output_hidden_states=True, output_attentions=True
            )
            changed = labels.clone()
            lost = model(**arguments, mems=mems, labels=changed)
            hidden = answer.hidden_states[-1]
            ordered = model.crit(hidden, changed, keep_order=True).view(rows, length - 1)
        there = f"outputs.{index}"
        case.put(
            there, prediction_scores=answer.prediction_scores, hidden_states=answer.hidden_states
        )
        case.put(there, attentions=answer.attentions, mems=answer.mems, last_hidden_state=hidden)
        case.put(there, loss=lost.loss, losses=lost.losses, losses_in_order=ordered)
        if not torch.equal(changed, labels):
            case.put(there, labels_after=changed)
        if index == 1:
            case.gradients(
                model,
                lambda a=arguments, m=mems, t=labels: model(**a, mems=m, labels=t.clone()).loss,  # type: ignore
                (True,) if model.training else (False, True),
            )
        mems = answer.mems
    case.facts["gradients_of"] = "outputs.1.loss"
    return case


def bare_model(name: str, options: dict[str, Any], run: dict[str, Any]) -> Case:
    """Consecutive segments with memory through the bare model; gradients of a weighted sum of what
    comes last.
    """
    case = Case(name, "transformers 4.35.0")
    model = published(case, "TransfoXLModel", options)
    case.facts["called"] = run
    mems, rows, length = None, 2, 7
    for index in range(3):
        arguments = asked(case, f"inputs.{index}", run, rows, length, model)
        with torch.no_grad():
            answer = model(
                **arguments, mems=mems, output_hidden_states=True, output_attentions=True
            )
        case.put(f"outputs.{index}", **dict(answer))
        if index == 1:
            weight = case.normal(rows, length, model.config.d_model)
            case.put("inputs.1", weight_of_last_hidden_state=weight)
            case.gradients(
                model,
                lambda a=arguments, m=mems, w=weight: (
                    model(**a, mems=m).last_hidden_state * w
                ).sum(),  # type: ignore
            )
        mems = answer.mems
    case.facts["gradients_of"] = (
        "(outputs.1.last_hidden_state * inputs.1.weight_of_last_hidden_state).sum()"
    )
    return case


def classifier(name: str, options: dict[str, Any], run: dict[str, Any]) -> Case:
    """Two calls, the second one with the memory of the first; gradients of the second loss."""
    case = Case(name, "transformers 4.35.0")
    model = published(case, "TransfoXLForSequenceClassification", options)
    case.facts["called"] = run
    config, lengths, mems = model.config, run["lengths"], None
    rows, columns, kinds = len(lengths), max(lengths), config.num_labels
    for index in range(2):
        here = f"inputs.{index}"
        arguments = asked(case, here, run, rows, columns, model)
        if config.pad_token_id is not None and "input_ids" in arguments:
            ids = arguments["input_ids"]
            ids[ids == config.pad_token_id] = 1 + config.pad_token_id
            for row, length in enumerate(lengths):
                ids[
                    row, slice(0, columns - length) if run.get("left") else slice(length, columns)
                ] = config.pad_token_id
            case.put(here, input_ids=ids)
        if kinds == 1 or config.problem_type == "regression":
            labels = case.normal(rows, kinds).squeeze(-1)
        elif config.problem_type == "multi_label_classification":
            labels = (case.normal(rows, kinds) > 0).float()
        else:
            labels = torch.randint(kinds, (rows,), generator=case.random)
        case.put(here, labels=labels)
        answer = model(**arguments, mems=mems, labels=labels, output_hidden_states=True)
        outputs = {
            "loss": answer.loss,
            "logits": answer.logits,
            "hidden_states": answer.hidden_states,
        }
        case.put(f"outputs.{index}", **outputs, mems=answer.mems)
        if index == 1:
            case.gradients(
                model,
                lambda a=arguments, m=mems, t=labels: model(**a, mems=m, labels=t).loss,  # type: ignore
            )
        mems = answer.mems
    case.facts["gradients_of"] = "outputs.1.loss"
    case.facts["problem_type_after"] = config.problem_type
    return case


def generator(name: str, options: dict[str, Any]) -> Case:
    """Greedy and beam search.

    Slightly other weights must give the same tokens, so that none hangs on rounding.
    """
    case = Case(name, "transformers 4.35.0")
    # widely spread, so that the answers do not repeat themselves
    model = published(case, "TransfoXLLMHeadModel", options, spread=0.6)
    model.generation_config.eos_token_id = None  # else generate falls back on the config's 0
    shaken = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in shaken.parameters():
            parameter.mul_(1 + 1e-5 * case.normal(*parameter.shape))
    rows, vocabulary = 2, model.config.vocab_size
    prompt, earlier = case.tokens(rows, 5, vocabulary), case.tokens(rows, 8, vocabulary)
    case.put("inputs", input_ids=prompt, earlier_input_ids=earlier)
    case.facts["calls"] = {}
    eos = -1
    for call, wanted in CALLS.items():
        arguments = {"max_new_tokens": 9, "do_sample": False, "pad_token_id": 40, **wanted}
        remembering = arguments.pop("remembering", False)
        if remembering and model.config.mem_len == 0:
            continue
        if "eos_token_id" in arguments:
            arguments["eos_token_id"] = eos
        answers = []
        for each in (model, shaken):
            past = {}
            if remembering:
                # transformers does not repeat a list of tensors for the beams: the caller must
                count = arguments.get("num_beams", 1)
                with torch.no_grad():
                    mems = each(earlier).mems
                past = {
                    "past_key_values": [layer.repeat_interleave(count, dim=1) for layer in mems]
                }
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                answers.append(
                    each.generate(
                        prompt,
                        **arguments,
                        **past,
                        output_scores=True,
                        return_dict_in_generate=True,
                    )
                )
        if not torch.equal(answers[0].sequences, answers[1].sequences):
            raise SystemExit(f"{name}, {call}: the tokens hang on rounding; choose other weights")
        if call == "greedy":
            # the latest token to appear anew in the first row's answer: the row ends there, the
            # second where it may
            answer = answers[0].sequences[0, prompt.shape[1] :].tolist()
            eos = list(dict.fromkeys(answer))[-1]
        case.facts["calls"][call] = {**arguments, "remembering": remembering}
        case.put(f"outputs.{call}", sequences=answers[0].sequences)
        case.put(f"outputs.{call}", sequences_scores=getattr(answers[0], "sequences_scores", None))
        if "num_beams" not in arguments:
            case.put(f"outputs.{call}", scores=torch.stack(answers[0].scores))
    return case


# --- the authors' PyTorch code
# ----------------------------------------------------------------------------------------

TINY: dict[str, Any] = {
    "n_token": 17, "n_layer": 2, "n_head": 2, "d_model": 12, "d_head": 5, "d_inner": 14, "dropout": 0.0, "dropatt": 0.0,
    "tie_weight": True, "d_embed": None, "div_val": 1, "tie_projs": [False], "pre_lnorm": False, "tgt_len": 5,
    "ext_len": 0, "mem_len": 4, "cutoffs": [], "same_length": False, "attn_type": 0, "clamp_len": -1,
    "sample_softmax": -1,
}  # fmt: skip
CLUSTERS: dict[str, Any] = {"cutoffs": [7, 13], "tie_projs": [False, True, True]}
NARROW: dict[str, Any] = {**CLUSTERS, "div_val": 2, "d_embed": 10}

# name -> (what differs from TINY, how it is run)
#   resets: the arguments of reset_length before the segment of that index
#   empty_memory: memory of shape [0, batch, width] for the first segment instead of none
AUTHORS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "authors_0_plain": ({}, {}),
    "authors_0_plain_projected": ({"d_embed": 10}, {}),
    "authors_0_plain_projected_tied": ({"d_embed": 10, "tie_projs": [True], "clamp_len": 4}, {}),
    "authors_0_plain_untied": ({"tie_weight": False, "pre_lnorm": True}, {}),
    "authors_0_div1": ({**CLUSTERS, "d_embed": 10, "same_length": True, "mem_len": 7}, {}),
    "authors_0_div2": ({**NARROW, "same_length": True, "mem_len": 3, "clamp_len": 2}, {}),
    "authors_0_div2_pre_norm": ({**NARROW, "pre_lnorm": True, "tie_weight": False, "mem_len": 12}, {}),
    "authors_0_extended": ({"ext_len": 2, "mem_len": 6, "same_length": True}, {}),
    "authors_0_extended_beyond_memory": ({"ext_len": 4, "mem_len": 2, "tgt_len": 3}, {}),
    "authors_0_extended_without_memory": ({"ext_len": 3, "mem_len": 0}, {}),
    "authors_0_without_memory": ({"mem_len": 0, "clamp_len": 3}, {}),
    "authors_0_memory_length_changed": (
        {"same_length": True, "mem_len": 3}, {"resets": {1: [5, 0, 8], 3: [4, 0, 2]}, "segments": 4}),
    "authors_1_plain": ({"attn_type": 1}, {}),
    "authors_1_clamped": ({"attn_type": 1, "clamp_len": 3, "same_length": True}, {}),
    "authors_1_clamped_loosely": ({"attn_type": 1, "clamp_len": 30, "pre_lnorm": True, "mem_len": 6}, {}),
    "authors_1_beyond_table": ({"attn_type": 1, "mem_len": 2}, {"resets": {1: [5, 0, 8]}}),
    "authors_1_extended": ({"attn_type": 1, "ext_len": 2, "mem_len": 3, "pre_lnorm": True}, {}),
    "authors_1_without_memory": ({"attn_type": 1, "mem_len": 0}, {}),
    "authors_1_div2": ({**NARROW, "attn_type": 1, "clamp_len": 6}, {}),
    "authors_2_without_memory": ({"attn_type": 2, "mem_len": 0}, {}),
    "authors_2_without_memory_pre_norm": (
        {"attn_type": 2, "mem_len": 0, "pre_lnorm": True, "clamp_len": 2, "ext_len": 2}, {}),
    "authors_2_memory": ({"attn_type": 2, "mem_len": 7}, {"empty_memory": True}),
    "authors_2_memory_clamped": (
        {"attn_type": 2, "mem_len": 7, "clamp_len": 3, "same_length": True}, {"empty_memory": True}),
    "authors_2_memory_pre_norm": (
        {**NARROW, "attn_type": 2, "mem_len": 3, "pre_lnorm": True}, {"empty_memory": True}),
    "authors_3_plain": ({"attn_type": 3, "d_head": 6, "mem_len": 7}, {}),
    "authors_3_pre_norm": (
        {**NARROW, "attn_type": 3, "d_head": 6, "mem_len": 3, "pre_lnorm": True, "same_length": True}, {}),
    "authors_3_beyond_table": ({"attn_type": 3, "d_head": 6, "mem_len": 2, "tgt_len": 6}, {"resets": {1: [6, 0, 9]}}),
    "authors_3_extended": ({"attn_type": 3, "d_head": 6, "ext_len": 2, "mem_len": 5, "clamp_len": 3}, {}),
    "authors_3_without_memory": ({"attn_type": 3, "d_head": 6, "mem_len": 0}, {}),
    "authors_0_bent_dropout": ({**NARROW}, {"bent_dropout": True}),
    "authors_1_bent_dropout": ({"attn_type": 1, "pre_lnorm": True}, {"bent_dropout": True}),
    "authors_2_bent_dropout": ({"attn_type": 2, "mem_len": 7}, {"bent_dropout": True, "empty_memory": True}),
    "authors_3_bent_dropout": ({"attn_type": 3, "d_head": 6, "pre_lnorm": True, "mem_len": 6}, {"bent_dropout": True}),
    "authors_sampled_softmax": ({"sample_softmax": 6, "mem_len": 4}, {}),
}  # fmt: skip


def authors_module(folder: Path, name: str, *changes: tuple[str, str]) -> types.ModuleType:
    """Import one of the authors' files, with lines that today's torch cannot run changed in memory."""
    text = (folder / f"{name}.py").read_text()
    for old, new in changes:
        if old not in text:
            raise SystemExit(
                f"{folder / name}.py does not hold {old!r}: another version of the authors' code"
            )
        text = text.replace(old, new)
    module = types.ModuleType(name)
    sys.modules[name] = module
    exec(compile(text, f"{name}.py", "exec"), module.__dict__)
    return module


def authors_code(folder: Path) -> types.ModuleType:
    """The authors' mem_transformer, and under it their adaptive and sampled softmax.

    Changed: no CUDA version is asked for; masks are bool, not byte; the sampled softmax ties to the
    only table that there is (as published its constructor names an attribute that does not exist,
    so it never ran).
    """
    utilities = folder / "utils"
    authors_module(
        utilities,
        "proj_adaptive_softmax",
        ("torch.version.cuda.split('.')[0]", "0"),
        ("torch.version.cuda.split('.')[1]", "0"),
    )
    authors_module(utilities, "log_uniform_sampler")
    return authors_module(
        folder,
        "mem_transformer",
        ("sys.path.append('utils')", ""),
        (".byte()", ".bool()"),
        ("self.word_emb.weight", "self.word_emb.emb_layers[0].weight"),
    )


class Listener:
    """What the authors' model does not return: hidden states, attention, what comes last."""

    def __init__(self, model: Any) -> None:
        self.hidden_states: list[Tensor] = []
        self.attentions: list[Tensor] = []
        self.last = torch.empty(0)
        forward, update = model._forward, model._update_mems

        def heard_forward(*arguments: Any, **named: Any) -> Any:
            self.attentions = []
            self.hidden_states = []
            answer = forward(*arguments, **named)
            self.last = answer[0].detach().clone()
            return answer

        def heard_update(hidden: list[Tensor], *others: Any) -> Any:
            self.hidden_states = [each.detach().clone() for each in hidden]
            return update(hidden, *others)

        model._forward, model._update_mems = heard_forward, heard_update
        for layer in model.layers:
            layer.dec_attn.dropatt.register_forward_hook(
                lambda module, given, answer: self.attentions.append(answer.detach().clone())
            )


@bending
def authors_model(
    name: str, options: dict[str, Any], run: dict[str, Any], code: types.ModuleType
) -> Case:
    """Consecutive segments through the authors' model; length first, batch second, as they have it."""
    case = Case(name, "kimiyoung/transformer-xl, pytorch/mem_transformer.py")
    settings = {**TINY, **options}
    case.config = json.dumps(settings, indent=2)
    case.facts.update(called=run, gradients_of="outputs.1.losses.mean()")
    model = code.MemTransformerLM(**copy.deepcopy(settings)).eval()
    case.randomise(model)
    sampled = settings["sample_softmax"] > 0
    training = sampled or run.get("bent_dropout", False)
    if sampled:
        choose_samples(case, model)
    listener = Listener(model)
    rows, count = 3, run.get("segments", 3)
    stream = case.tokens(rows, 1 + count * 6, settings["n_token"]).t().contiguous()
    mems: list[Tensor] = []
    if run.get("empty_memory"):
        mems = [torch.zeros(0, rows, settings["d_model"]) for _ in range(settings["n_layer"] + 1)]
    start = 0
    for index in range(count):
        if index in run.get("resets", {}):
            model.reset_length(*run["resets"][index])
        end = start + model.tgt_len
        data, target = stream[max(0, start - model.ext_len) : end], stream[start + 1 : end + 1]
        start = end
        case.put(f"inputs.{index}", data=data, target=target)

        def call(
            d: Tensor = data, t: Tensor = target, given: tuple[Tensor, ...] = tuple(mems)
        ) -> list[Tensor]:
            # attention types 2 and 3 add to the memory that they are given: let them have a copy
            copies = [memory.clone() for memory in given]
            return list(model(d, t, *copies))

        there = f"outputs.{index}"
        with torch.no_grad():
            model.train(
                training
            )  # sampled: it has no other output layer, in eval mode the published model fails
            losses, *after = call()
        case.put(there, losses=losses, mems=after, last_hidden_state=listener.last)
        case.put(there, hidden_states=listener.hidden_states, attentions=listener.attentions)
        if not sampled:
            with torch.no_grad():
                flat = listener.last[-target.shape[0] :].reshape(-1, settings["d_model"])
                ordered = model.crit(flat, target.reshape(-1), keep_order=True).view_as(losses)
            case.put(there, losses_in_order=ordered)
        if index == 1:
            modes = (True,) if training else (False, True)
            case.gradients(model, lambda c=call: c()[0].mean(), modes)  # type: ignore[misc]
        mems = after
    return case


def choose_samples(case: Case, model: Any) -> None:
    """Replace the random draw of the sampled softmax by fixed ids, some of which are also targets."""
    negatives = torch.tensor([0, 2, 3, 7, 11, 16])
    expected = model.sampler.log_q
    case.put("inputs", negative_samples=negatives, log_expected_count=expected)
    model.sampler.sample = lambda labels: (expected[labels], expected[negatives], negatives)


def sampled_logits(name: str) -> Case:
    """The authors' sampled softmax by itself, on a plain embedding: what the model would ask if it
    were whole.
    """
    case = Case(name, "kimiyoung/transformer-xl, pytorch/utils/log_uniform_sampler.py")
    sampler_code = sys.modules["log_uniform_sampler"]
    vocabulary, width, length, rows = 17, 12, 5, 3
    case.config = json.dumps({"range_max": vocabulary, "n_sample": 6})
    embedding, holder = nn.Embedding(vocabulary, width), nn.Module()
    holder.embedding, holder.bias = embedding, nn.Parameter(torch.zeros(vocabulary))
    holder.sampler = sampler_code.LogUniformSampler(vocabulary, 6)
    case.randomise(holder)
    choose_samples(case, holder)
    labels, inputs = case.tokens(length, rows, vocabulary), case.normal(length, rows, width)
    case.put("inputs", labels=labels, inputs=inputs, probability=holder.sampler.dist)

    def loss() -> Tensor:
        logits = sampler_code.sample_logits(embedding, holder.bias, labels, inputs, holder.sampler)
        losses: Tensor = -logits.log_softmax(-1)[:, :, 0]
        case.put("outputs", logits=logits, losses=losses)
        return losses.mean()

    case.gradients(holder, loss)
    case.facts["gradients_of"] = "outputs.losses.mean()"
    return case


# --- all of them
# ------------------------------------------------------------------------------------------------------


def recipes(authors: Path | None) -> dict[str, Callable[[], Case]]:
    """Every case by name, and how it is made."""
    made: dict[str, Callable[[], Case]] = {}
    for maker, cases in (
        (language_model, LANGUAGE_MODELS),
        (bare_model, MODELS),
        (classifier, CLASSIFIERS),
    ):
        for name, (options, run) in cases.items():
            made[name] = lambda m=maker, n=name, o=options, r=run: m(n, o, r)  # type: ignore[misc]
    for name, options in GENERATORS.items():
        made[name] = lambda n=name, o=options: generator(n, o)  # type: ignore[misc]
    if authors is not None:
        code = authors_code(authors)
        for name, (options, run) in AUTHORS.items():
            made[name] = lambda n=name, o=options, r=run: authors_model(n, o, r, code)  # type: ignore[misc]
        made["authors_sampled_logits"] = lambda: sampled_logits("authors_sampled_logits")
    return made


def main() -> None:
    """Read the command line and make the files."""
    parser = argparse.ArgumentParser(description="Make the golden files of Transformer-XL.")
    parser.add_argument(
        "--authors",
        type=Path,
        help="the authors' pytorch folder; without it their cases are not made",
    )
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "transformer_xl")
    parser.add_argument("--only", default="", help="only cases whose name contains this")
    arguments = parser.parse_args()
    os.environ.setdefault("TRANSFORMERS_OFFLINE", "1")
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    arguments.out.mkdir(parents=True, exist_ok=True)
    total = 0
    for name, make in recipes(arguments.authors).items():
        if arguments.only in name:
            size = make().save(arguments.out)
            total += size
            print(f"{size:8,d}  {name}", file=sys.stderr)
    print(f"{total:8,d}  bytes", file=sys.stderr)


if __name__ == "__main__":
    main()

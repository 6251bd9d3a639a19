"""Networks beyond the five families, written only in YAML: numbers, gradients, memory and weights
both ways.
"""

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from engine import InputError, load_model, save_model
from engine.laws.calls import randomise
from tests.parity.both import Wide, agree, labels_of, padded, tokens, widened
from tests.parity.helpers import (
    assert_close_relative,
    assert_same_gradients,
    converted,
    their_gradients,
)
from tests.parity.variants import LENGTH, VARIANTS, VOCAB, Variant

BOTH = [
    (name, head)
    for name, variant in VARIANTS.items()
    for head in (False, True)
    if (variant.head if head else variant.bare)
]
DECODERS = [
    name
    for name, variant in VARIANTS.items()
    if variant.head and variant.head.__name__.endswith(("CausalLM", "LMHeadModel"))
]

# A longer text turns the keys of its first tokens otherwise.
OUTGROWN = ("llama, dynamic", "phi-3, longrope")

# Networks of experts, whose published loss spreads tokens over them.
BALANCED = ("mixtral", "qwen2 moe, dense below")


def spec_of(variant: Variant, folder: Path) -> str:
    """The spec as a user would give it: a shipped name, or the path of a YAML file."""
    if "\n" not in variant.spec:
        return variant.spec
    path = folder / "spec-of-a-user.yaml"
    path.write_text(variant.spec, encoding="utf-8")
    return str(path)


def pair(name: str, head: bool, folder: Path, **options: Any) -> tuple[Any, Any]:
    variant = VARIANTS[name]
    theirs = randomise((variant.head if head else variant.bare)(variant.settings()))
    return theirs, converted(theirs, spec=spec_of(variant, folder), **options)


@pytest.mark.parametrize(("name", "head"), BOTH)
def test_numbers_and_gradients(name: str, head: bool, tmp_path: Path) -> None:
    theirs, ours = pair(name, head, tmp_path)
    assert ours.load_report is not None and not ours.load_report.config_left_over, str(
        ours.load_report
    )
    inputs = {"input_ids": tokens(3, LENGTH, VOCAB)}
    if ours.spec.embeddings.tables.segments is not None:
        limit = min(2, ours.spec.embeddings.tables.segments.count or 2)
        inputs["token_type_ids"] = torch.arange(3 * LENGTH).view(3, -1) % limit
    without = ("hidden_states",) if VARIANTS[name].projects_last else ()
    agree(
        theirs,
        ours,
        inputs | ({"labels": labels_of(inputs["input_ids"])} if head else {}),
        without=without,
        tolerance=VARIANTS[name].tolerance,
    )


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize(
    "name", [name for name, variant in VARIANTS.items() if variant.counts != "longest"]
)
def test_padding(name: str, side: str, tmp_path: Path) -> None:
    counts = VARIANTS[name].counts
    columns = {"overrides": {"position.count": "columns"}} if counts == "columns" else {}
    head = bool(VARIANTS[name].head)
    theirs, ours = pair(name, head, tmp_path, **columns)
    padding = ours.spec.tokens.padding or 0
    ids, mask = padded(tokens(3, LENGTH, VOCAB), padding, [0, 2, 4], side)
    positions = (
        {"position_ids": (mask.cumsum(1) - 1).clamp(min=0)}
        if (counts, side) == ("given", "left")
        else {}
    )
    inputs = {"input_ids": ids, "attention_mask": mask}
    if head:
        inputs["labels"] = labels_of(ids, mask)
    without = ("hidden_states",) if VARIANTS[name].projects_last else ()
    agree(
        theirs,
        ours,
        inputs,
        real=mask,
        their_only=positions,
        without=without,
        tolerance=VARIANTS[name].tolerance,
    )


@pytest.mark.parametrize("name", BALANCED)
def test_load_balancing_is_part_of_the_loss_in_training(name: str, tmp_path: Path) -> None:
    """Theirs is in evaluation too, which ours measures by labels alone."""
    variant = VARIANTS[name]
    config = variant.settings()
    config.output_router_logits, config.router_aux_loss_coef = True, 0.3
    theirs = widened(randomise(variant.head(config))).train()
    ours = widened(converted(theirs, spec=spec_of(variant, tmp_path))).train()
    ids, mask = padded(tokens(3, LENGTH, VOCAB), 0, [0, 2, 4], "right")
    inputs = {"input_ids": ids, "attention_mask": mask, "labels": labels_of(ids, mask)}
    with Wide():
        one, other = theirs(**inputs), ours(**inputs)
        for output in (one, other):
            torch.autograd.backward(output.loss)
    # Their shares of tokens are of single precision.
    assert_close_relative(other.loss, one.loss, "loss", 1e-7)
    assert_close_relative(other.aux_loss, 0.3 * one.aux_loss, "loss of experts", 1e-7)
    assert_same_gradients(ours, their_gradients(theirs), 1e-7)


@pytest.mark.parametrize("name", OUTGROWN)
def test_decoding_past_the_length_of_training(name: str, tmp_path: Path) -> None:
    theirs, ours = pair(name, True, tmp_path)
    ids = tokens(2, 3, VOCAB)
    with torch.no_grad():
        for _ in range(LENGTH):
            logits = theirs.eval()(ids, use_cache=False).logits
            ids = torch.cat((ids, logits[:, -1:].argmax(-1)), dim=1)
        assert torch.equal(ours.generate(ids[:, :3], max_new_tokens=LENGTH, eos_token_id=None), ids)
        memory = ours(ids[:, :3]).memory
        with pytest.raises(InputError, match="give the whole text without memory"):
            ours(ids[:, 3:], memory=memory)


@pytest.mark.parametrize("name", [name for name in DECODERS if name not in OUTGROWN])
def test_memory_over_pieces(name: str, tmp_path: Path) -> None:
    theirs, ours = pair(name, True, tmp_path)
    ids, memory, parts = tokens(2, LENGTH, VOCAB), None, []
    with torch.no_grad():
        for piece in ids.split([3, 1, 4, 1], dim=1):
            result = ours(piece, memory=memory)
            memory = result.memory
            parts.append(result.logits)
        assert_close_relative(
            torch.cat(parts, dim=1), theirs.eval()(ids, use_cache=False).logits, "logits"
        )


@pytest.mark.parametrize(("name", "head"), BOTH)
def test_export_opens_elsewhere_with_the_same_numbers(
    name: str, head: bool, tmp_path: Path
) -> None:
    theirs, ours = pair(name, head, tmp_path)
    save_model(ours, tmp_path / "exported", format="huggingface")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # Cohere 2's own class reads it.
        warnings.filterwarnings("ignore", "The `sliding_window_pattern` attribute is deprecated")
        back, report = type(theirs).from_pretrained(
            tmp_path / "exported", attn_implementation="eager", output_loading_info=True
        )
    unused = {
        key
        for key in report["missing_keys"]
        if ours.spec.position.kind == "relative_key_query" and "position" in key
    }
    assert (
        set(report["missing_keys"]) == unused
        and not report["unexpected_keys"]
        and not report["mismatched_keys"]
    )
    ids = tokens(2, LENGTH, VOCAB)
    with torch.no_grad():
        assert torch.equal(back.eval()(ids)[0], theirs.eval()(ids)[0])
    kept = theirs.config.to_dict()
    assert {key: value for key, value in back.config.to_dict().items() if value != kept.get(key)}.keys() <= {
        "architectures", "dtype", "torch_dtype", "_name_or_path", "n_inner", "layer_types", "head_dim"
    }  # fmt: skip
    again = load_model(tmp_path / "exported", spec=spec_of(VARIANTS[name], tmp_path))
    with torch.no_grad():
        assert torch.equal(
            again(ids)[0 if not head else "logits"], ours.eval()(ids)[0 if not head else "logits"]
        )

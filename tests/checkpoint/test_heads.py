"""Which tensors a head takes from a checkpoint that was saved with another head."""

import pytest
import torch

from engine import build_model, save_model
from heads import registered_heads
from tests.checkpoint.folders import loaded

NARROW = {"dims.layers": 1, "dims.model": 32, "dims.inner": 128}
FAMILIES = ("xlnet", "xlm", "xlm-roberta-xl", "transformer-xl", "xglm")
# Published code gives these pairs one name for the same tensor; all other pairs of heads share
# nothing.
SUMMARY = {"projection.weight", "projection.bias"}
DENSE = {
    "output.bias",
    "output.dense.bias",
    "output.dense.weight",
    "output.norm.bias",
    "output.norm.weight",
}
SHARED: dict[str, dict[tuple[str, ...], set[str]]] = {
    "xlnet": {
        ("sequence_classification", "multiple_choice"): SUMMARY,
        ("causal_lm", "masked_lm", "permutation_lm"): {"output.bias"},
    },
    "xlm": {
        ("sequence_classification", "multiple_choice"): SUMMARY,
        ("causal_lm", "masked_lm"): {"output.bias"},
    },
    "xlm-roberta-xl": {("causal_lm", "masked_lm"): DENSE},
}


def built(family, head, seed=0):
    try:
        model = build_model(f"tiny/{family}", head, overrides=NARROW, seed=seed)
    except ValueError:
        return None
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator)
    return model


def heads_of(family):
    own = {
        name for name, head in registered_heads().items() if head.__module__.startswith("heads.")
    }
    return [head for head in sorted(own) if built(family, head) is not None]


def shared(family, one, other):
    return next(
        (names for heads, names in SHARED.get(family, {}).items() if {one, other} <= {*heads}),
        set(),
    )


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("format", ["engine", "huggingface"])
def test_every_pair_of_heads(family, format, tmp_path):
    heads = heads_of(family)
    assert len(heads) >= 5
    for one in heads:
        saved = built(family, one)
        if format == "huggingface" and one not in saved.spec.checkpoint.huggingface.architectures:
            continue
        folder = tmp_path / one
        save_model(saved, folder, format=format)
        for other in heads:
            model = loaded(folder, head=other)
            wanted = set()
            if one != other:
                wanted = {f"head.{name} (of {one})" for name in shared(family, one, other)}
            assert set(model.load_report.taken_over) == wanted, (one, other)
            old = dict(saved.named_parameters())
            for name, parameter in model.named_parameters():
                same = name in old and torch.equal(parameter, old[name])
                body = not name.startswith("head.") and name in old
                taken = one == other or body or f"{name} (of {one})" in wanted
                assert same == taken, (one, other, name)
                assert (
                    taken
                    or name in model.load_report.initialised
                    or name in model.load_report.other_shape
                )


def test_one_label_fits_another_head_and_is_told(tmp_path):
    """Published code gives the classifier over tokens and over choices one name."""
    first = build_model("tiny/xlm-roberta-xl", "token_classification", num_labels=1, seed=0)
    save_model(first, tmp_path, format="huggingface")
    second = loaded(tmp_path, head="multiple_choice")
    name = "head.output.weight"
    assert torch.equal(second.get_parameter(name), first.get_parameter(name))
    assert "taken over from another head: head.output.weight (of token_classification)" in str(
        second.load_report
    )

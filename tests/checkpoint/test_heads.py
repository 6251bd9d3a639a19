"""Which tensors a head takes from a checkpoint that was saved with another head."""

import pytest
import torch

from engine import build_model, save_model
from heads import registered_heads
from tests.checkpoint.folders import loaded

NARROW = {"dims.layers": 1, "dims.model": 32, "dims.inner": 128}
FAMILIES = ("xlnet", "xlm", "xlm-roberta-xl", "transformer-xl", "xglm")
# These pairs have one published name for a part that means the same in both; all other pairs of
# heads share nothing, also where a name and, of one label, a shape are equal by chance: the
# classifiers over tokens and over choices of XLM-RoBERTa-XL, and the projections of XLM, which give
# the labels themselves.
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
    "xlm": {("causal_lm", "masked_lm"): {"output.bias"}},
    "xlm-roberta-xl": {("causal_lm", "masked_lm"): DENSE},
}


def one_label(head):
    """The options with which a head that has labels has one."""
    if "num_labels" in registered_heads()[head].Options.model_fields:
        return {"num_labels": 1}
    return {}


def built(family, head, seed=0):
    try:
        model = build_model(f"tiny/{family}", head, overrides=NARROW, seed=seed, **one_label(head))
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


# Our own format has the same names for every family: three have all kinds of parts between them.
BOTH = [("huggingface", family) for family in FAMILIES]
BOTH += [("engine", family) for family in ("xlnet", "xlm-roberta-xl", "transformer-xl")]


@pytest.mark.parametrize(("format", "family"), BOTH)
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
            model = loaded(folder, head=other, **one_label(other))
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


def test_what_another_head_does_not_take_over_is_told(tmp_path):
    """The classifier over tokens has the name and the shape of the one over choices."""
    first = build_model("tiny/xlm-roberta-xl", "token_classification", num_labels=1, seed=0)
    save_model(first, tmp_path, format="huggingface")
    second = loaded(tmp_path, head="multiple_choice")
    report = second.load_report
    assert set(report.initialised) >= {"head.output.weight", "head.output.bias"}
    assert set(report.left_over) == {"classifier.weight", "classifier.bias"}
    assert not torch.equal(
        second.get_parameter("head.output.weight"), first.get_parameter("head.output.weight")
    )

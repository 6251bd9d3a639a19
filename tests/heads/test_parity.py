"""Loss, outputs and gradients of every published head class of transformers 4.56.2."""

import functools
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from engine import load_model, save_model
from tests.heads.published import CLASSES, agree, published, tokens
from tests.parity.helpers import assert_close_relative, converted
from tests.searching import examples

FAMILIES = ("XLNet", "XLM", "XLMRobertaXL")
BEAM = ("XLNet", "XLM")
SIDES = (None, "left", "right")


def case(family: str, head: str, inputs: dict[str, Any], **config: Any) -> None:
    theirs, ours = both(family, head, **config)
    problem = theirs.config.problem_type
    try:
        agree(theirs, ours, inputs)
    finally:  # published code writes down the kind of problem that it has seen first
        theirs.config.problem_type = problem


@functools.cache
def both(family: str, head: str, **config: Any) -> tuple[Any, Any]:
    theirs = published(family, head, **config)
    return theirs, converted(theirs)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("count", "labels", "problem", "padding"),
    [
        (3, None, None, None),
        (3, None, None, "left"),
        (3, None, None, "right"),
        (3, torch.tensor([2, 0, 1]), None, "left"),
        (3, torch.tensor([[2], [-100], [1]]), None, "right"),
        (1, torch.tensor([0.3, -1.2, 2.0]), None, None),
        (1, torch.tensor([[0.3], [-1.2], [2.0]]), None, "left"),
        (3, torch.tensor([[0.0, 1, 1], [0, 0, 0], [1, 0, 0]]), None, "right"),
        (2, torch.tensor([[0.5, 1.5], [2.0, -1.0], [0.0, 0.7]]), "regression", None),
        (4, torch.tensor([3, 1, 0]), "single_label_classification", "left"),
    ],
    ids=[
        "no labels",
        "no labels, left",
        "no labels, right",
        "single",
        "single with ignored",
        "regression",
        "column",
        "multi",
        "regressions",
        "named",
    ],
)
def test_sequence_classification(family, padding, count, labels, problem):
    inputs = {**tokens(family, 3, 6, padding=padding), "labels": labels}
    case(family, "sequence_classification", inputs, num_labels=count, problem_type=problem)


@given(data=st.data())
@examples(16)
def test_every_summary(data):
    def pick(*values):
        return data.draw(st.sampled_from(values))

    family, head = pick("XLNet", "XLM"), pick("sequence_classification", "multiple_choice")
    config = {
        "summary_type": pick("last", "first", "mean", "cls_index"),
        "summary_activation": pick(None, "tanh", "relu", "gelu", "gelu_new"),
        "num_labels": pick(2, 4),
        "summary_use_proj": family == "XLM" or pick(True, False),
    }
    if pick(False, True):
        # With as many labels as the model is wide every combination fits.
        config.update(
            num_labels=12,
            summary_proj_to_labels=pick(True, False),
            summary_use_proj=pick(True, False),
        )
    shape = (2, 3, 5) if head == "multiple_choice" else (3, 5)
    labels = torch.tensor([1, 0, 1][: shape[0]])
    inputs = {**tokens(family, *shape, padding=pick(*SIDES)), "labels": labels}
    case(family, head, inputs, **config)


@pytest.mark.parametrize("padding", SIDES)
@pytest.mark.parametrize("family", FAMILIES)
def test_token_classification(family, padding):
    generator = torch.Generator().manual_seed(1)
    labels = torch.randint(4, (3, 6), generator=generator)
    labels[0, 2], labels[2, 0] = -100, -100
    inputs = tokens(family, 3, 6, padding=padding)
    case(family, "token_classification", {**inputs, "labels": labels}, num_labels=4)
    case(family, "token_classification", inputs, num_labels=4)


@pytest.mark.parametrize("padding", SIDES)
@pytest.mark.parametrize("family", FAMILIES)
def test_multiple_choice(family, padding):
    inputs = tokens(family, 3, 4, 6, padding=padding)
    case(family, "multiple_choice", {**inputs, "labels": torch.tensor([3, 0, 2])})
    case(family, "multiple_choice", {**inputs, "labels": torch.tensor([3, -100, 2])})
    case(family, "multiple_choice", inputs)


@pytest.mark.parametrize("padding", SIDES)
@pytest.mark.parametrize("family", FAMILIES)
def test_question_answering(family, padding):
    inputs = tokens(family, 4, 6, padding=padding)
    case(family, "question_answering", inputs)
    # From the length on a position is ignored; a negative one counts as the first place.
    outside = {
        "start_positions": torch.tensor([0, 5, 6, -3]),
        "end_positions": torch.tensor([99, 1, 2, 5]),
    }
    case(family, "question_answering", {**inputs, **outside})
    columns = {
        "start_positions": torch.tensor([[0], [5], [3], [1]]),
        "end_positions": torch.tensor([[2], [4], [5], [1]]),
    }
    case(family, "question_answering", {**inputs, **columns})


@pytest.mark.parametrize("padding", SIDES)
@pytest.mark.parametrize("family", BEAM)
@pytest.mark.parametrize("index", [None, torch.tensor([0, 4, 5]), torch.tensor([[1], [2], [3]])])
def test_beam_candidates(family, padding, index):
    inputs = {
        **tokens(family, 3, 6, padding=padding),
        "cls_index": None if index is None else index.flatten(),
    }
    case(family, "beam_question_answering", inputs, start_n_top=2, end_n_top=3)
    masked = {"p_mask": torch.tensor([[1.0, 0, 0, 0, 0, 1], [0, 0, 0, 1, 0, 0], [0] * 6])}
    case(family, "beam_question_answering", {**inputs, **masked}, start_n_top=4, end_n_top=3)


@pytest.mark.parametrize("padding", SIDES)
@pytest.mark.parametrize("family", BEAM)
@pytest.mark.parametrize("column", [False, True])
def test_beam_loss(family, padding, column):
    def shaped(*values):
        return torch.tensor(values)[:, None] if column else torch.tensor(values)

    spans = {"start_positions": shaped(0, 3, 4), "end_positions": shaped(2, 5, 4)}
    extra = {"cls_index": shaped(0, 5, 1), "is_impossible": shaped(1.0, 0.0, 1.0)}
    inputs = tokens(family, 3, 6, padding=padding)
    case(family, "beam_question_answering", {**inputs, **spans})
    case(family, "beam_question_answering", {**inputs, **spans, **extra})
    masked = {"p_mask": torch.tensor([[0.0, 0, 0, 0, 1, 1], [1, 1, 0, 0, 0, 0], [0] * 6])}
    case(family, "beam_question_answering", {**inputs, **spans, **extra, **masked})


def test_two_stream_predictions():
    """Heads read the query stream where target_mapping asks for it."""
    mapping = torch.eye(6)[[4, 1, 2]].expand(3, -1, -1).contiguous()
    order = torch.rand(3, 6, 6, generator=torch.Generator().manual_seed(0)).round()
    inputs = {**tokens("XLNet", 3, 6), "target_mapping": mapping, "perm_mask": order}
    case(
        "XLNet",
        "sequence_classification",
        {**inputs, "labels": torch.tensor([0, 1, 1])},
        summary_type="mean",
    )
    case("XLNet", "token_classification", {**inputs, "labels": torch.tensor([[0, 1, 1]] * 3)})
    case(
        "XLNet",
        "question_answering",
        {
            **inputs,
            "start_positions": torch.tensor([0, 1, 2]),
            "end_positions": torch.tensor([2, 1, 3]),
        },
    )


def test_memory_reaches_the_head():
    theirs = published("XLNet", "sequence_classification", mem_len=4, num_labels=3)
    ours = converted(theirs)
    mems = memory = None
    for seed in range(3):
        given = tokens("XLNet", 2, 5, seed=seed)
        expected = theirs(**given, mems=mems, use_mems=True)
        found = ours(**given, memory=memory, use_memory=True)
        mems, memory = expected.mems, found.memory
        assert_close_relative(found.logits, expected.logits, "logits")


@pytest.mark.parametrize(("family", "head"), CLASSES)
def test_weights_and_settings_go_back(family, head, tmp_path):
    """transformers → ours → transformers, and ours → our own format → ours: the same bits and the
    same config.
    """
    names = {0: "no", 1: "maybe", 2: "yes"}
    labels = {"id2label": names, "label2id": {text: number for number, text in names.items()}}
    config: dict[str, Any] = (
        {} if "question" in head else {**labels, "problem_type": "multi_label_classification"}
    )
    if family != "XLMRobertaXL":
        config.update(summary_type="mean", summary_activation="relu", start_n_top=2, end_n_top=4)
        config.update(summary_first_dropout=0.125, summary_last_dropout=0.25)
    else:
        config.update(classifier_dropout=0.125)
    theirs = published(family, head, **config)
    ours = converted(theirs)
    save_model(ours, tmp_path / "theirs", format="huggingface")
    back = type(theirs).from_pretrained(tmp_path / "theirs")
    assert list(back.state_dict()) == list(theirs.state_dict())
    for name, tensor in theirs.state_dict().items():
        assert torch.equal(back.state_dict()[name], tensor), name
    assert back.config.architectures == [type(theirs).__name__]
    for name in ("num_labels", "id2label", "label2id", *config):
        if not (name == "problem_type" and head != "sequence_classification"):
            assert getattr(back.config, name) == getattr(theirs.config, name), name
    save_model(ours, tmp_path / "ours")
    again = load_model(tmp_path / "ours")
    assert not again.load_report
    assert again.spec == ours.spec
    for name, parameter in ours.named_parameters():
        assert torch.equal(again.get_parameter(name), parameter), name


def test_dropouts_are_where_the_published_ones_are():
    def rates(family, head, **config):
        ours = converted(
            published(family, head, dropout=0.5, **config)
            if family != "XLMRobertaXL"
            else published(family, head, hidden_dropout_prob=0.5, **config)
        )
        return [module.p for module in ours.head.modules() if isinstance(module, torch.nn.Dropout)]

    assert rates("XLNet", "sequence_classification", summary_last_dropout=0.25) == [0.0, 0.25]
    assert rates(
        "XLNet", "multiple_choice", summary_first_dropout=0.125, summary_last_dropout=0.25
    ) == [0.125, 0.25]
    assert rates("XLNet", "token_classification") == [0.0]
    assert rates("XLM", "sequence_classification", summary_first_dropout=0.25) == [0.25, 0.0]
    assert rates("XLM", "token_classification") == [0.5]
    assert rates("XLMRobertaXL", "sequence_classification", classifier_dropout=0.25) == [0.25, 0.25]
    assert rates("XLMRobertaXL", "sequence_classification") == [0.5, 0.5]
    assert rates("XLMRobertaXL", "token_classification", classifier_dropout=0.25) == [0.25]
    assert rates("XLMRobertaXL", "multiple_choice", classifier_dropout=0.25) == [0.5, 0.0]

"""Bad input to heads: each one clear error that says what is wrong and what would be right."""

import re
from typing import Any

import pytest
import torch

from engine import InputError, SpecError, build_model, load_spec
from heads import best_spans
from tests.strategies import family

IDS = torch.tensor([[5, 6, 7, 8], [9, 10, 11, 12]])
ROWS = torch.tensor([1, 0])


def built(head, name="xlnet", **options):
    return build_model(family(name), head=head, seed=0, **options).eval()


CALLS = {
    "labels of too many rows": (
        "sequence_classification", {"labels": torch.tensor([0, 1, 1])},
        "labels (single_label_classification) has shape (3,), expected (2,) or (2, 1)",
    ),
    "integers a label": (
        "sequence_classification", {"labels": torch.tensor([[0, 1], [1, 0]])},
        "labels (single_label_classification) has shape (2, 2), expected (2,) or (2, 1)",
    ),
    "floats a row": (
        "sequence_classification", {"labels": torch.tensor([0.0, 1.0])},
        "labels (multi_label_classification) has shape (2,), expected (2, 2)",
    ),
    "two for several labels": (
        "sequence_classification", {"labels": torch.tensor([[0.0, 1.0], [2.0, 0.0]])},
        "labels (multi_label_classification) must lie between 0 and 1",
    ),
    "label id too high": (
        "sequence_classification", {"labels": torch.tensor([0, 2])}, "labels holds 2, outside 0 … 1 (num_labels is 2)",
    ),
    "label id negative": (
        "sequence_classification", {"labels": torch.tensor([0, -1])}, "labels holds -1, outside 0 … 1 (num_labels is 2)",
    ),
    "place without a pooling for it": (
        "sequence_classification", {"cls_index": ROWS}, "cls_index needs pooling.kind cls_index; this head has last",
    ),
    "positions for a classifier": (
        "sequence_classification", {"start_positions": ROWS}, "this head takes no 'start_positions'; allowed: cls_index, labels",
    ),
    "labels a row for tokens": (
        "token_classification", {"labels": ROWS}, "labels has shape (2,), expected (2, 4)",
    ),
    "token label too high": (
        "token_classification", {"labels": torch.full((2, 4), 7)}, "labels holds 7, outside 0 … 1 (num_labels is 2)",
    ),
    "float token labels": (
        "token_classification", {"labels": torch.zeros(2, 4)}, "labels must hold integers, found torch.float32",
    ),
    "texts without choices": (
        "multiple_choice", {}, "multiple_choice takes one text a choice, (batch, choices, length …), found input_ids of "
        "shape (2, 4)",
    ),
    "choice too high": (
        "multiple_choice", {"input_ids": IDS[None], "labels": torch.tensor([2])},
        "labels holds 2, outside 0 … 1 (the number of choices is 2)",
    ),
    "choices a choice": (
        "multiple_choice", {"input_ids": IDS[None], "labels": torch.tensor([[0, 1]])},
        "labels has shape (1, 2), expected (1,) or (1, 1)",
    ),
    "no end": (
        "question_answering", {"start_positions": ROWS},
        "end_positions is missing: give both start_positions and end_positions, or neither",
    ),
    "no start": (
        "beam_question_answering", {"end_positions": ROWS},
        "start_positions is missing: give both start_positions and end_positions, or neither",
    ),
    "float positions": (
        "question_answering", {"start_positions": ROWS.float(), "end_positions": ROWS},
        "start_positions must hold integers, found torch.float32",
    ),
    "positions a token": (
        "question_answering", {"start_positions": IDS, "end_positions": ROWS},
        "start_positions has shape (2, 4), expected (2,) or (2, 1)",
    ),
    "labels for answers": (
        "question_answering", {"labels": ROWS},
        "this head takes no 'labels'; allowed: end_positions, start_positions",
    ),
    "more starts than places": (
        "beam_question_answering", {},
        "start_n_top is 5, but the sequence has 4 places: lower heads.options.beam_question_answering.start_n_top",
    ),
    "impossible without positions": (
        "beam_question_answering", {"is_impossible": ROWS}, "is_impossible needs start_positions and end_positions",
    ),
    "impossible without a token": (
        "beam_question_answering", {"start_positions": ROWS, "end_positions": ROWS, "is_impossible": ROWS},
        "is_impossible needs cls_index, or a pooling that finds the classification token",
    ),
    "impossible is two": (
        "beam_question_answering",
        {"start_positions": ROWS, "end_positions": ROWS, "is_impossible": 2 * ROWS, "cls_index": ROWS},
        "is_impossible must be 1 where there is no answer, else 0",
    ),
    "token outside the text": (
        "beam_question_answering", {"cls_index": torch.tensor([0, 4])},
        "cls_index holds 4, outside 0 … 3 (the length of the sequence is 4)",
    ),
    "mask of another length": (
        "beam_question_answering", {"p_mask": torch.zeros(2, 3)}, "p_mask has shape (2, 3), expected (2, 4)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CALLS)
def test_one_clear_error(case):
    head, arguments, text = CALLS[case]
    model = built(head)
    with pytest.raises(InputError) as caught:
        model(**{"input_ids": IDS, **arguments})
    assert str(caught.value) == text


def test_more_ends_than_places():
    model = built("beam_question_answering", start_n_top=4, end_n_top=6)
    with pytest.raises(
        InputError, match=r"end_n_top is 6, but the sequence has 4 places: lower .*\.end_n_top$"
    ):
        model(IDS)
    assert (
        model(IDS, start_positions=ROWS, end_positions=ROWS).loss > 0
    )  # training needs no candidates


def test_best_spans_needs_candidates():
    model = built("beam_question_answering", start_n_top=2, end_n_top=2)
    loss_only = model(IDS, start_positions=ROWS, end_positions=ROWS)
    with pytest.raises(
        InputError,
        match="no candidates: call the model without positions, or with output_spans=True",
    ):
        best_spans(loss_only, 1)
    with pytest.raises(InputError, match="n is 0, it must be at least 1"):
        best_spans(model(IDS), 0)
    with pytest.raises(InputError, match="max_length is 0, it must be at least 1"):
        best_spans(model(IDS), 1, max_length=0)


def test_a_row_without_the_classification_token():
    model = built("sequence_classification", pooling={"kind": "token", "id": 12})
    with pytest.raises(InputError, match="row 0 of input_ids has no token 12 to pool at"):
        model(IDS)
    with pytest.raises(InputError, match="it needs input_ids"):
        model(inputs_embeds=torch.zeros(2, 4, 16))


BUILDS: dict[str, tuple[str, dict[str, Any], str]] = {
    "no classification token": (
        "xglm", {"pooling": {"kind": "token"}},
        "pooling.kind: token needs its id: give pooling.id, or tokens.classification in the spec",
    ),
    "token outside the vocabulary": (
        "xlm", {"pooling": {"kind": "token", "id": 40}}, "pooling.id: id 40 is outside the vocabulary of 40",
    ),
    "no pooler": (
        "xlnet", {"pooling": {"kind": "pooler"}}, "pooling.kind: pooler needs a pooler: this spec has pooler null",
    ),
    "no layer gives the labels": (
        "xlnet", {"output": False}, "this summary ends 16 wide, but 2 scores are wanted: set output true, or projection",
    ),
    "names and number disagree": (
        "xlnet", {"num_labels": 2, "id2label": {0: "a", 1: "b", 2: "c"}},
        "heads.options.sequence_classification: id2label names 3 labels, but num_labels is 2",
    ),
    "no labels at all": ("xlnet", {"num_labels": 0}, "heads.options.sequence_classification.num_labels"),
    "a number that is text": (
        "xlnet", {"num_labels": "3"},
        "heads.options.sequence_classification.num_labels: should be a whole number, found '3'",
    ),
    "misspelt option": (
        "xlnet", {"num_lables": 3},
        "heads.options.sequence_classification.num_lables: unknown key 'num_lables', did you mean 'num_labels'?",
    ),
    "misspelt nested option": (
        "xlnet", {"pooling": {"kind": "last", "pading": "left_out"}},
        "heads.options.sequence_classification.pooling.pading: unknown key 'pading', did you mean 'padding'?",
    ),
    "unknown kind": (
        "xlnet", {"pooling": {"kind": "lsat"}}, "'lsat' is not one of",
    ),
    "unknown problem": (
        "xlnet", {"problem_type": "regresion"}, "'regresion' is not one of",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BUILDS)
def test_options_that_do_not_fit(case):
    name, options, text = BUILDS[case]
    with pytest.raises(ValueError, match=re.escape(text)):
        built("sequence_classification", name, **options)


SPEC = """extends: {family}
name: mine
heads:
  default: {default}
  options:
    {head}:
      {option}
"""


@pytest.mark.parametrize(
    ("default", "head", "option", "place", "text"),
    [
        ("null", "token_classification", "drpout: 0.1", "7:7", "unknown key 'drpout', did you mean 'dropout'?"),
        ("null", "token_classification", "dropout: 1.5", "7:7", "found 1.5"),
        ("null", "token_clasification", "dropout: 0.1", "6:5", "no head named 'token_clasification', did you mean"),
        ("token_clasification", "multiple_choice", "output: true", "4:3", "no head named 'token_clasification', did you"),
        (
            "null", "sequence_classification", "pooling: {kind: mean, pading: left_out}", "7:29",
            "unknown key 'pading', did you mean 'padding'?",
        ),
        ("null", "beam_question_answering", "start_n_top: 0", "7:7", "should be greater than 0, found 0"),
    ],
)  # fmt: skip
def test_spec_errors_name_the_place(default, head, option, place, text, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(SPEC.format(family="families/xglm", default=default, head=head, option=option))
    with pytest.raises(SpecError) as caught:
        load_spec(path)
    (problem,) = caught.value.problems
    assert str(problem).startswith(f"{path}:{place}: heads."), str(problem)
    assert text in str(problem)

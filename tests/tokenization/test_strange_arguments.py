"""Arguments of kinds that no call takes: each is one TokenizationError that names the argument."""

from typing import Any

import pytest
import torch

from tests.tokenization.sides import Sides
from tests.tokenization.texts import CORPUS
from tokenization import TokenizationError, train_tokenizer

TENSOR = torch.zeros(2)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("add_special_tokens", TENSOR, "valid boolean"),
        ("return_token_type_ids", "no", "valid boolean"),
        ("is_split_into_words", TENSOR, "valid boolean"),
        ("split_special_tokens", 1, "valid boolean"),
        ("padding", TENSOR, ""),
        ("truncation", [], ""),
        ("padding_side", TENSOR, "'left' or 'right'"),
        ("return_tensors", [], "valid string"),
        ("max_length", 2.5, "valid integer"),
        ("stride", TENSOR, "valid integer"),
        ("pad_to_multiple_of", "8", "valid integer"),
    ],
)
def test_settings_of_a_call(sides: dict[str, Sides], name: str, value: Any, says: str) -> None:
    with pytest.raises(TokenizationError, match=f"{name}=.*{says}"):
        sides["xglm"].ours("a text", **{name: value})


@pytest.mark.parametrize(
    ("method", "value", "says"),
    [
        ("convert_tokens_to_string", [1], "tokens are a list of texts, found 1"),
        ("convert_tokens_to_string", TENSOR, "tokens are a list of texts"),
        ("add_tokens", [[5, 6]], r"a token is a text or an AddedToken, found \[5, 6\]"),
        ("add_tokens", 3, "tokens are a list of texts, found 3"),
        ("convert_tokens_to_ids", 3, "tokens are a text or a list of texts, found 3"),
        ("get_special_tokens_mask", ["a"], "ids are whole numbers"),
        ("pad", [[5, 6], [7]], r"each with input_ids, found \[5, 6\]"),
        ("pad", 3, "each with input_ids, found 3"),
        ("pad", [{"input_ids": 3}], "each with input_ids"),
        ("train", [3], "text 0 of corpus is no string: 3"),
        ("train", 3, "corpus is a int"),
    ],
)
def test_first_arguments(sides: dict[str, Sides], method: str, value: Any, says: str) -> None:
    with pytest.raises(TokenizationError, match=says):
        getattr(sides["xglm"].ours, method)(value)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"algorithm": TENSOR}, "algorithm: "),
        ({"padding_typ": 1}, "no option 'padding_typ', did you mean 'padding_type'"),
        ({"format": {"singel": "A"}}, "no option 'format.singel'"),
        ({"model_file": 3}, "model_file: .*valid string, found 3"),
        ({"max_length": torch.empty((), dtype=torch.int64, device="meta")}, "max_length: "),
    ],
)
def test_options_are_named(sides: dict[str, Sides], changes: dict[str, Any], says: str) -> None:
    with pytest.raises(TokenizationError, match=says):
        sides["xglm"].ours.with_options(**changes)
    with pytest.raises(TokenizationError, match=says):
        train_tokenizer({"algorithm": "sentencepiece", **changes}, CORPUS, 300)

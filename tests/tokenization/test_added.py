"""Added tokens: found, stripped and decoded as the published classes do."""

import warnings
from typing import Any

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from tests.searching import examples
from tests.tokenization.sides import FAMILIES, Sides
from tests.tokenization.texts import texts
from tokenization import AddedToken

# The option that lowers a text: its name here, and the published class's.
LOWERING = {
    "xlnet": ("lower_case", "do_lower_case"),
    "transformer-xl": ("lower_case", "lower_case"),
    "xlm": ("lower_case_and_remove_accents", "do_lowercase_and_remove_accent"),
}

CONTENTS = [
    "Würde",
    "wür",
    "a",
    "ab",
    "abC",
    "b c",
    "[X]",
    "[X]]",
    "<s>a",
    " z",
    "Hello",
    "É",
    "</w>",
    "▁",
]
FLAGS = ("lstrip", "rstrip", "single_word", "normalized", "special")
tokens = st.builds(
    lambda content, flags: {"content": content, **flags},
    st.sampled_from(CONTENTS),
    st.fixed_dictionaries({flag: st.booleans() for flag in FLAGS}),
)
spiced = st.lists(
    st.one_of(st.sampled_from([*CONTENTS, " ", "würde", "ABC"]), texts), max_size=7
).map("".join)


@pytest.mark.parametrize("family", FAMILIES)
@examples(10)  # each opens a published class anew, which takes its time
@given(
    added=st.lists(tokens | st.sampled_from(CONTENTS), max_size=4),
    text=spiced,
    lower=st.booleans(),
    whole=st.booleans(),
)
def test_added_tokens(
    sides: dict[str, Sides], family: str, added: list[Any], text: str, lower: bool, whole: bool
) -> None:
    both = sides[family]
    mine: dict[str, Any] = {}
    published: dict[str, Any] = {}
    if family in LOWERING:
        name, published_name = LOWERING[family]
        mine, published = {name: lower}, {published_name: lower}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = both.open_published(**published)
    ours = both.open_ours(**mine)
    for token in added:
        # One at a time: a published class that is given several counts from before the first.
        theirs.add_tokens([token if isinstance(token, str) else tokenizers.AddedToken(**token)])
        ours.add_tokens([token if isinstance(token, str) else AddedToken(**token)])
    assert ours.get_vocab() == theirs.get_vocab()
    expected = theirs(text, split_special_tokens=False).input_ids
    assert ours.tokenize(text, split_special_tokens=whole) == theirs.tokenize(
        text, split_special_tokens=whole
    )
    encoding = ours(text, return_offsets_mapping=True)
    assert ours(text).input_ids == encoding.input_ids == ours([text, ""]).input_ids[0] == expected
    for skip in (False, True):
        assert ours.decode(expected, skip) == theirs.decode(expected, skip_special_tokens=skip)


def test_counting_new_tokens(sides: dict[str, Sides]) -> None:
    ours = sides["xlnet"].open_ours()
    size = len(ours)
    assert ours.add_tokens(["[X]", "[Y]", "[X]", "<s>"]) == 2
    assert len(ours) == size + 2
    assert ours.token_to_id("[Y]") == size + 1
    assert ours.convert_ids_to_tokens(size) == "[X]"
    assert ours.vocab_size == size


def test_special_tokens_by_their_part(sides: dict[str, Sides]) -> None:
    ours = sides["xlnet"].ours
    assert (ours.cls_token, ours.cls_id) == ("<cls>", ours.token_to_id("<cls>"))
    assert sides["xglm"].ours.mask_id is None and sides["transformer-xl"].ours.pad_token is None
    assert ours.cls_token_id == ours.cls_id and repr(ours).startswith("Tokenizer(sentencepiece, ")
    with pytest.raises(AttributeError, match="has no 'cat_id'"):
        _ = ours.cat_id

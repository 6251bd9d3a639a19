"""Slow and fast ways give the same: many texts at once or one by one, the library's merges or our
own.
"""

import copy

from hypothesis import given
from hypothesis import strategies as st

from tests.tokenization.sides import Sides
from tests.tokenization.texts import CORPUS
from tokenization.algorithms.bpe import BytePairAlgorithm
from tokenization.algorithms.fast_merges import fast_merges, in_creation_order
from tokenization.options import BytePairOptions


@given(data=st.data())
def test_library_merges_are_ours(data: st.DataObject) -> None:
    """Any merges at all: the library is used where it is exact, and then it is exact for every
    word.
    """
    symbols = ["a", "b", "a</w>", "b</w>"]
    merges: list[tuple[str, str]] = []
    for _ in range(data.draw(st.integers(1, 6))):
        pair = (data.draw(st.sampled_from(symbols)), data.draw(st.sampled_from(symbols)))
        merges.append(pair)
        symbols.append("".join(pair))
    if data.draw(st.booleans()):
        merges = data.draw(st.permutations(merges))
    ranks = {merge: rank for rank, merge in enumerate(merges)}
    fast = fast_merges(ranks, "</w>")
    assert (fast is not None) == in_creation_order(ranks)
    if fast is None:
        return
    slow = BytePairAlgorithm(
        BytePairOptions(), {symbol: index for index, symbol in enumerate(symbols)}, merges
    )
    words = [
        word
        for word in data.draw(st.lists(st.text("abc", min_size=1, max_size=9), max_size=9))
        if fast.knows(word)
    ]
    assert fast.merge(words) == [slow.merge(word) for word in words]


@given(data=st.data())
def test_any_merges_are_the_published_ones(sides: dict[str, Sides], data: st.DataObject) -> None:
    symbols = st.sampled_from(["a", "b", "ab", "ba", "aa", "a</w>", "b</w>", "ab</w>", "aa</w>"])
    merges = data.draw(st.lists(st.tuples(symbols, symbols), max_size=8))
    theirs = copy.copy(sides["xlm"].published)
    theirs.bpe_ranks, theirs.cache = {merge: rank for rank, merge in enumerate(merges)}, {}
    ours = BytePairAlgorithm(BytePairOptions(), {}, merges)
    for word in data.draw(st.lists(st.text("abc </w>", min_size=1, max_size=9), max_size=9)):
        assert ours.merge(word) == theirs.bpe(word).split(" ")


def test_learned_merges_take_the_fast_way(sides: dict[str, Sides]) -> None:
    ours = sides["xlm"].open_ours().algorithm
    slow = sides["xlm"].open_ours().algorithm
    assert isinstance(ours, BytePairAlgorithm) and isinstance(slow, BytePairAlgorithm)
    slow._fast = None
    assert ours._fast is not None
    languages = ["en"] * len(CORPUS)
    assert ours.tokenize_batch(CORPUS, languages) == slow.tokenize_batch(CORPUS, languages)
    assert any(ours._fast.knows(word) for text in CORPUS for word in text.lower().split())

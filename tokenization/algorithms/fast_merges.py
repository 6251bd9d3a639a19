"""Byte-pair merges on all cores, through the `tokenizers` library, where it gives exactly the same
symbols.
"""

from collections.abc import Mapping, Sequence

from tokenizers import Tokenizer
from tokenizers.models import BPE

from tokenization.algorithms.pair_training import Merge


def in_creation_order(ranks: Mapping[Merge, int]) -> bool:
    """Whether each merge comes after all merges that create its two parts.

    Where it does, joining one rank everywhere before the next (as XLM does) and always joining the
    best pair (as the library does) meet the same pairs in the same order; learned merges do,
    hand-made ones may not.
    """
    created: dict[str, int] = {}
    for (first, second), rank in ranks.items():
        whole = first + second
        created[whole] = max(rank, created.get(whole, rank))
    return all(rank > created.get(part, -1) for pair, rank in ranks.items() for part in pair)


class FastMerges:
    """Merges many words at once; made by `fast_merges`, which checks that the results are exact."""

    def __init__(self, ranks: Mapping[Merge, int], end_of_word: str) -> None:
        merges = sorted(ranks, key=lambda pair: ranks[pair])
        symbols = dict.fromkeys(
            symbol for first, second in merges for symbol in (first, second, first + second)
        )
        vocabulary = {symbol: index for index, symbol in enumerate(symbols)}
        self._known = vocabulary.keys()
        self._end = end_of_word
        self._library = Tokenizer(BPE(vocabulary, merges, end_of_word_suffix=end_of_word))

    def knows(self, word: str) -> bool:
        """Whether every character of a word is one of the merges' own; the library loses track of
        others.
        """
        known = self._known
        return word[-1] + self._end in known and all(char in known for char in word[:-1])

    def merge(self, words: Sequence[str]) -> list[list[str]]:
        """The symbols of words that it knows."""
        return [
            encoding.tokens
            for encoding in self._library.encode_batch(words, add_special_tokens=False)
        ]


def fast_merges(ranks: Mapping[Merge, int], end_of_word: str) -> FastMerges | None:
    """The fast way of these merges, or None where it would not always be exact."""
    if not ranks or not in_creation_order(ranks):
        return None
    return FastMerges(ranks, end_of_word)

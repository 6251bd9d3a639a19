"""Learning byte-pair merges from words (Sennrich et al. 2016, arXiv:1508.07909)."""

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise

from tokenization.errors import TokenizationError

Merge = tuple[str, str]


class _Words:
    """The symbols of every different word, and how often and where each pair of symbols stands."""

    def __init__(self, counts: Counter[str], end_of_word: str) -> None:
        self.symbols = [[*word[:-1], word[-1] + end_of_word] for word in counts]
        self.counts = list(counts.values())
        self.pairs: Counter[Merge] = Counter()
        self.places: dict[Merge, set[int]] = defaultdict(set)
        for index in range(len(self.symbols)):
            self._count(index, 1)

    def _count(self, index: int, sign: int) -> None:
        symbols = self.symbols[index]
        for pair in pairwise(symbols):
            self.pairs[pair] += sign * self.counts[index]
            if sign > 0:
                self.places[pair].add(index)

    def merge(self, pair: Merge) -> set[Merge]:
        """Join a pair everywhere; returns the pairs that became more frequent."""
        changed: set[Merge] = set()
        for index in self.places.pop(pair):
            self._count(index, -1)
            self.symbols[index] = merge_pair(self.symbols[index], pair)
            self._count(index, 1)
            changed.update(pairwise(self.symbols[index]))
        return changed


def merge_pair(symbols: list[str], pair: Merge) -> list[str]:
    """Join every occurrence of a pair, left to right."""
    first, second = pair
    merged, index, last = [], 0, len(symbols) - 1
    while index <= last:
        if index < last and symbols[index] == first and symbols[index + 1] == second:
            merged.append(first + second)
            index += 2
        else:
            merged.append(symbols[index])
            index += 1
    return merged


def learn_merges(
    words: Iterable[str], vocab_size: int, end_of_word: str, reserved: Sequence[str]
) -> tuple[dict[str, int], list[Merge]]:
    """A vocabulary (reserved tokens, single characters, merged symbols) and the merges, most frequent pair first.

    Ties go to the pair that sorts first, so that a corpus always gives the same result. Raises TokenizationError for
    a corpus without words.
    """
    counts = Counter(words)
    if not counts:
        raise TokenizationError("the corpus holds no words to learn merges from")
    table = _Words(counts, end_of_word)
    characters: Counter[str] = Counter()
    for symbols, count in zip(table.symbols, table.counts):
        for symbol in symbols:
            characters[symbol] += count
    ranked = sorted(characters, key=lambda symbol: (-characters[symbol], symbol))
    vocabulary = dict.fromkeys([*reserved, *ranked][: max(vocab_size, len(reserved))])
    merges: list[Merge] = []
    queue = [(-count, pair) for pair, count in table.pairs.items()]
    heapq.heapify(queue)
    while queue and len(vocabulary) < vocab_size:
        count, pair = heapq.heappop(queue)
        if table.pairs[pair] != -count:
            if table.pairs[pair] > 0:
                heapq.heappush(queue, (-table.pairs[pair], pair))
            continue
        if -count < 2:
            break
        merges.append(pair)
        vocabulary.setdefault("".join(pair))
        for changed in table.merge(pair):
            heapq.heappush(queue, (-table.pairs[changed], changed))
        table.pairs.pop(pair, None)
    return {token: index for index, token in enumerate(vocabulary)}, merges

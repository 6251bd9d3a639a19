"""Learning byte-pair merges from words (Sennrich et al. 2016, arXiv:1508.07909), with the
`tokenizers` library.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import WhitespaceSplit
from tokenizers.trainers import BpeTrainer

from tokenization.errors import TokenizationError

Merge = tuple[str, str]
# The library counts words itself; a word goes in this many times at once.
_AT_ONCE = 4096
# A plane of code points that no letter has stands in for the symbols of words.
_PRIVATE = 0xF0000


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
    """A vocabulary (reserved tokens, single characters, merged symbols) and the merges, most
    frequent pair first.

    Characters stand by their frequency; ties between pairs go to the symbols that have been known
    for longer, so that a corpus always gives the same result. Raises TokenizationError for a corpus
    without words.
    """
    counts = Counter(words)
    if not counts:
        raise TokenizationError("the corpus holds no words to learn merges from")
    symbols = {word: [*word[:-1], word[-1] + end_of_word] for word in counts}
    characters: Counter[str] = Counter()
    for word, count in counts.items():
        for symbol in symbols[word]:
            characters[symbol] += count
    ranked = sorted(characters, key=lambda symbol: (-characters[symbol], symbol))
    vocabulary = dict.fromkeys([*reserved, *ranked][: max(vocab_size, len(reserved))])
    merges: list[Merge] = []
    if len(vocabulary) < vocab_size:
        merges = _most_frequent(counts, symbols, ranked, vocab_size)
    for place, (first, second) in enumerate(merges):
        if len(vocabulary) == vocab_size:
            merges = merges[:place]
            break
        vocabulary.setdefault(first + second)
    return {token: index for index, token in enumerate(vocabulary)}, merges


def _most_frequent(
    counts: Counter[str], symbols: dict[str, list[str]], ranked: list[str], vocab_size: int
) -> list[Merge]:
    """Merges of pairs that occur at least twice.

    The library numbers symbols with an end mark in no certain order, and goes by the numbers where
    pairs are equally frequent: each symbol is written as one private character, in the order of
    `ranked`.
    """
    hidden = {symbol: chr(_PRIVATE + place) for place, symbol in enumerate(ranked)}
    shown = {char: symbol for symbol, char in hidden.items()}
    library = Tokenizer(BPE())
    library.pre_tokenizer = WhitespaceSplit()
    trainer = BpeTrainer(vocab_size=len(ranked) + vocab_size, min_frequency=2, show_progress=False)
    library.train_from_iterator(
        _repeated(
            ("".join(hidden[symbol] for symbol in symbols[word]), count)
            for word, count in counts.items()
        ),
        trainer,
    )
    found = json.loads(library.to_str())["model"]["merges"]
    merges = []
    for pair in found:
        if isinstance(pair, str):  # as older versions of the library write it
            pair = pair.split(" ")
        first, second = ("".join(shown[char] for char in symbol) for symbol in pair)
        merges.append((first, second))
    return merges


def _repeated(words: Iterable[tuple[str, int]]) -> Iterator[str]:
    for word, count in words:
        while count > 0:
            yield f"{word} " * min(count, _AT_ONCE)
            count -= _AT_ONCE

"""The corpus as files, which the recipes in recipes/demo read: sentences, pairs and diaries.

`python -m engine.demo.texts FOLDER` writes them.
"""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import permutations
from pathlib import Path

from engine.demo.corpus import LOCALES, Corpus, Fact, diary, make_corpus, sentence

PAIRED = ("de", "en", "es")
"""The languages of pairs, as specs/tiny/xlm.yaml numbers them."""
DIARIES, HELD_OUT_DIARIES, DAYS = 40, 2, 24
# Every held-out fact is said in so many of the languages, and in one pair.
SAID_IN = 3


PAIRS = tuple(permutations(PAIRED, 2))


def write_texts(folder: Path, corpus: Corpus, seed: int = 0) -> None:
    """Write what is learned from into `folder`/corpus, and what is held out into `folder`/held_out.

    `sentences.LOCALE.txt` has a sentence a line, `pairs.jsonl` a sentence with its translation,
    `diaries.text` a text of consecutive days a line.
    """
    everywhere = dict.fromkeys(LOCALES, corpus.train)
    learned = ((fact, pair) for fact in corpus.train for pair in PAIRS)
    _write(folder / "corpus", everywhere, learned, _diaries(seed, DIARIES))
    write_held_out(folder, corpus, seed)


def write_held_out(folder: Path, corpus: Corpus, seed: int = 0) -> None:
    """Write what is held out alone."""
    held_out = corpus.held_out
    some = {
        locale: [fact for at, fact in enumerate(held_out) if (at + number) % len(LOCALES) < SAID_IN]
        for number, locale in enumerate(LOCALES)
    }
    kept = ((fact, PAIRS[at % len(PAIRS)]) for at, fact in enumerate(held_out))
    _write(folder / "held_out", some, kept, _diaries(10**6 + seed, HELD_OUT_DIARIES))


def _write(
    folder: Path,
    facts: Mapping[str, Sequence[Fact]],
    pairs: Iterable[tuple[Fact, tuple[str, str]]],
    diaries: Iterator[str],
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for locale, said in facts.items():
        lines = (sentence(fact, locale) for fact in said)
        _write_lines(folder / f"sentences.{locale}.txt", lines)
    _write_lines(folder / "pairs.jsonl", (_pair(fact, *locales) for fact, locales in pairs))
    _write_lines(folder / "diaries.text", diaries)


def _pair(fact: Fact, first: str, second: str) -> str:
    record = {
        "text": sentence(fact, first),
        "pair": sentence(fact, second),
        "language": first,
        "pair_language": second,
    }
    return json.dumps(record, ensure_ascii=False)


def _diaries(seed: int, each: int) -> Iterator[str]:
    """So many diaries of each language."""
    for number in range(each * len(LOCALES)):
        locale = LOCALES[number % len(LOCALES)]
        yield " ".join(diary(seed + number, locale, DAYS))


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


if __name__ == "__main__":
    write_texts(Path(sys.argv[1]), make_corpus(0))

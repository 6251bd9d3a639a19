"""Tokenizers beside transformers' slow and fast classes in one run: ratios of speed, ours over
theirs.

Run with `python -m benchmarks.tokenization`; `--texts N` sets how many texts, `--rounds N` how
often each side reads them. Vocabularies are trained here; both sides read the same files.
"""

import argparse
import logging
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from tokenization import load_tokenizer, train_tokenizer
from tokenization.files.published import family_section

# (family, published class, whether it has a fast class); the bars are those that the project sets
# itself.
FAMILIES = (
    ("xlnet", "XLNetTokenizer", True),
    ("xlm-roberta-xl", "XLMRobertaTokenizer", True),
    ("xglm", "XGLMTokenizer", True),
    ("xlm", "XLMTokenizer", False),
    ("transformer-xl", "TransfoXLTokenizer", False),
)
ONE_BY_ONE, IN_BATCHES = 2.0, 1.0


def sentences(count: int) -> list[str]:
    """Sentences of many languages, from the names and patterns that Babel holds for each of them."""
    return [text for text, _ in zip(_sentences(), range(count))]


def _sentences() -> Iterator[str]:
    from babel import Locale

    codes = (
        "en",
        "de",
        "fr",
        "es",
        "ru",
        "pl",
        "el",
        "tr",
        "vi",
        "ar",
        "hi",
        "fi",
        "it",
        "pt",
        "cs",
    )
    names = [list(Locale(code).territories.values()) for code in codes]
    spoken = [list(Locale(code).languages.values()) for code in codes]
    place = 0
    while True:
        for lands, tongues in zip(names, spoken):
            land, other = lands[place % len(lands)], lands[(place * 7 + 3) % len(lands)]
            tongue = tongues[(place * 5 + 1) % len(tongues)]
            yield f"{land}, {other} – {place * 37 % 9000 + 1000:,} ({place % 97}.5 %): “{tongue}” & {tongues[place % 50]}?"
            place += 1


def published_class(name: str) -> Any:
    """A tokenizer class of transformers by its name."""
    import transformers

    if name == "TransfoXLTokenizer":
        from transformers.models.deprecated.transfo_xl import TransfoXLTokenizer

        return TransfoXLTokenizer
    return getattr(transformers, name)


def ratio(ours: Callable[[], Any], theirs: Callable[[], Any], rounds: int) -> float:
    """Their time over ours, from alternating rounds: the median of the ratios, so that a busy
    machine hits both.
    """
    found = []
    for _ in range(rounds):
        times = []
        for side in (ours, theirs):
            start = time.perf_counter()
            side()
            times.append(time.perf_counter() - start)
        found.append(times[1] / times[0])
    return sorted(found)[len(found) // 2]


def measure(
    family: str, name: str, has_fast: bool, texts: list[str], rounds: int
) -> tuple[float, float | None]:
    """How much faster we are one text at a time (than the slow class) and in batches (than the fast
    class).
    """
    with tempfile.TemporaryDirectory() as directory:
        train_tokenizer(family_section(family), texts, 4000).save(directory, "huggingface")
        ours = load_tokenizer(directory)
        slow = published_class(name).from_pretrained(directory)
        assert ours(texts).input_ids == slow(texts).input_ids
        one = ratio(
            lambda: [ours(text) for text in texts], lambda: [slow(text) for text in texts], rounds
        )
        if not has_fast:
            return one, None
        fast = published_class(name + "Fast").from_pretrained(directory)
        return one, ratio(lambda: ours(texts), lambda: fast(texts), rounds)


def main(arguments: list[str] | None = None) -> int:
    """Print the ratios; returns 1 where one is under its bar."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=7)
    settings = parser.parse_args(arguments)
    os.environ.setdefault("TRUST_REMOTE_CODE", "True")
    logging.disable(logging.ERROR)
    warnings.simplefilter("ignore")
    texts = sentences(settings.texts)
    print(
        f"{'':16}{'one text at a time':>20}{'in batches':>14}     (times the speed of transformers' slow, fast class)"
    )
    missed = 0
    for family, name, has_fast in FAMILIES:
        one, batch = measure(family, name, has_fast, texts, settings.rounds)
        missed += one < ONE_BY_ONE or (batch is not None and batch < IN_BATCHES)
        print(
            f"{family:16}{one:>19.1f}x{'no fast class' if batch is None else f'{batch:.1f}x':>14}"
        )
    print(
        f"bars: {ONE_BY_ONE:.0f}x one text at a time, {IN_BATCHES:.0f}x in batches; missed by {missed}"
    )
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())

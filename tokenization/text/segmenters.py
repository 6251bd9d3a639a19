"""Word segmentation for languages that Moses does not serve. Each needs a package that an extra
installs.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from tokenization.errors import TokenizationError
from tokenization.extras import import_extra


@dataclass(frozen=True)
class Segmenter:
    """Makes a function from text to words; `first` says that it runs before normalization, as
    published for Chinese.
    """

    make: Callable[[], Callable[[str], list[str]]]
    first: bool = False


_REGISTRY: dict[str, Segmenter] = {}


def register_segmenter(
    name: str, make: Callable[[], Callable[[str], list[str]]], *, first: bool = False
) -> None:
    """Offer a segmenter under a name for the option `segmenters`; `make` is called when it is first
    needed.
    """
    _REGISTRY[name] = Segmenter(make, first)
    segmenter_words.cache_clear()


def find_segmenter(name: str) -> Segmenter:
    """The segmenter of a name; raises TokenizationError naming those that exist."""
    if name not in _REGISTRY:
        raise TokenizationError(f"segmenter {name!r} is not one of {', '.join(sorted(_REGISTRY))}")
    return _REGISTRY[name]


@lru_cache(maxsize=16)
def segmenter_words(name: str) -> Callable[[str], list[str]]:
    """The function from text to words of a segmenter; raises MissingExtraError where its package is
    missing.
    """
    return find_segmenter(name).make()


def _jieba() -> Callable[[str], list[str]]:
    jieba = import_extra("jieba", "chinese", "segmenting Chinese")
    return lambda text: list(jieba.cut(text))


def _rjieba() -> Callable[[str], list[str]]:
    rjieba = import_extra("rjieba", "chinese", "segmenting Chinese")
    return lambda text: list(rjieba.cut(text))


def _pythainlp() -> Callable[[str], list[str]]:
    tokenize = import_extra("pythainlp.tokenize", "thai", "segmenting Thai")
    return lambda text: list(tokenize.word_tokenize(text))


def _kytea() -> Callable[[str], list[str]]:
    kytea = import_extra("Mykytea", "japanese", "segmenting Japanese")
    # KyTea's own place for its model; the variable serves people who keep it elsewhere.
    model = Path(os.environ.get("KYTEA_MODEL", "~/local/share/kytea/model.bin")).expanduser()
    if not model.is_file():
        raise TokenizationError(
            f"KyTea needs its model file at {model}, or where the variable KYTEA_MODEL says"
        )
    segmenter = kytea.Mykytea(f"-model {model}")
    return lambda text: list(segmenter.getWS(text))


register_segmenter("jieba", _jieba, first=True)
register_segmenter("rjieba", _rjieba, first=True)
register_segmenter("pythainlp", _pythainlp)
register_segmenter("kytea", _kytea)

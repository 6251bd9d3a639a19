"""What a caller hands in, sorted out: texts, pairs, words cut outside, and their languages."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from tokenization.errors import TokenizationError
from tokenization.files.unwritable import HALF_CHARACTER


class RawText(NamedTuple):
    """One text as given: whole, or as words cut outside; with its language."""

    words: tuple[str, ...]
    language: str | None
    split: bool = False


_LISTS = (list, tuple)


def read_inputs(
    text: Any, pair: Any, lang: Any, split: bool
) -> tuple[list[tuple[RawText, ...]], bool]:
    """Sort out one text, a pair, or lists of either; the flag says whether it was a list.

    Raises TokenizationError for anything that is no text, and for lists of different lengths.
    """
    if not _holds_texts(text, split):
        texts: tuple[Any, ...] = (text, pair)
        if pair is None:
            texts = (text,)
        return [_item(texts, lang, split)], False
    one_language = not isinstance(lang, _LISTS)
    if pair is not None:
        if not isinstance(pair, _LISTS) or len(pair) != len(text):
            raise TokenizationError(
                f"text is a list of {len(text)}: text_pair must be a list of as many texts"
            )
        rows = list(zip(text, pair))
    elif not split and one_language and all(type(entry) is str for entry in text):
        return [(RawText((entry,), lang),) for entry in text], True
    else:
        rows = [_row(entry, split) for entry in text]
    languages = lang
    if one_language:
        languages = [lang] * len(rows)
    if len(languages) != len(rows):
        raise TokenizationError(f"lang names {len(languages)} languages for {len(rows)} texts")
    return [_item(row, language, split) for row, language in zip(rows, languages)], True


def _holds_texts(given: Any, split: bool) -> bool:
    """Whether what was given is a list of texts, and no text, which may be a list of words."""
    if not isinstance(given, _LISTS):
        return False
    if not split:
        return True
    return bool(given) and isinstance(given[0], _LISTS)


def _row(entry: Any, split: bool) -> tuple[Any, ...]:
    """The text, or the two of a pair, that an entry of a list is."""
    if not _holds_texts(entry, split):
        return (entry,)
    if len(entry) != 2:
        raise TokenizationError(
            f"a list inside a list of texts must be a pair of two texts, not {len(entry)}; for "
            "texts cut into words outside, pass is_split_into_words=True"
        )
    return tuple(entry)


def _item(texts: tuple[Any, ...], lang: Any, split: bool) -> tuple[RawText, ...]:
    """One text or two, of the same language or each of its own."""
    languages = lang
    if not isinstance(lang, _LISTS):
        languages = (lang, lang)
    return tuple(_raw(*entry, split) for entry in zip(texts, languages))


def _raw(text: Any, language: str | None, split: bool) -> RawText:
    words = (text,)
    if split and isinstance(text, _LISTS):
        words = tuple(text)
    for word in words:
        if not isinstance(word, str):
            raise TokenizationError(
                f"a text must be a string, not {type(word).__name__}: {word!r:.60}"
            )
    return RawText(words, language, split)


@contextlib.contextmanager
def readable(items: Sequence[tuple[RawText, ...]]) -> Iterator[None]:
    """Say which text holds half a character where a library that reads UTF-8 cannot take it."""
    try:
        yield
    except (TypeError, RuntimeError, UnicodeEncodeError):
        for number, item in enumerate(items):
            for word in (word for text in item for word in text.words):
                half = HALF_CHARACTER.search(word)
                if half is not None:
                    place = half.start()
                    raise TokenizationError(
                        f"text {number} holds half a character, the lone surrogate "
                        f"{half.group()!a}, at place {place} of "
                        f"{word[max(0, place - 20) : place + 20]!a}: replace it, for instance with "
                        "'\ufffd'"
                    ) from None
        raise
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise TokenizationError(
            f"the vocabulary is damaged: its library broke off ({error})"
        ) from None

"""The errors of tokenization."""

import difflib
from collections.abc import Iterable


def shortened(text: str, most: int = 400) -> str:
    """A text whose middle is left out where it is very long, as values of a damaged file can be."""
    if len(text) <= most:
        return text
    half = most // 2
    return f"{text[:half]} … {len(text) - most:,} characters … {text[-half:]}"


class TokenizationError(ValueError):
    """Something a caller can mend: says what is wrong, where, and what would be right."""

    def __init__(self, message: str) -> None:
        super().__init__(shortened(message, 1_000))


class VocabularyError(TokenizationError):
    """A vocabulary file that is missing, cut short, or not what its name says."""


class MissingExtraError(ImportError):
    """An optional dependency that is not installed; names the extra that brings it."""


def nearest(name: str, allowed: Iterable[str], beside: Iterable[str] = ()) -> str:
    """`, did you mean 'x'?` for the closest allowed name, or the list of allowed names.

    Names `beside` them are right too, and are suggested where they are nearly the same.
    """
    names = [str(choice) for choice in allowed]
    close = difflib.get_close_matches(str(name), [*beside], n=1, cutoff=0.8)
    close = close or difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
    if close:
        return f", did you mean '{close[0]}'?"
    return f"; allowed: {', '.join(sorted(names))}"

"""The language of a text: which one is meant, and its id."""

import difflib
import warnings

from tokenization.errors import TokenizationError
from tokenization.options import CommonOptions


class Languages:
    """Checks the `lang` argument against the options."""

    def __init__(self, options: CommonOptions) -> None:
        self._ids = options.languages
        self._default = options.default_language
        self._missing = options.missing_language
        self._unknown = options.unknown_language

    def resolve(self, lang: str | None) -> tuple[str | None, int | None]:
        """The language that the algorithm works in, and its id for `langs` (None: no `langs`).

        Raises TokenizationError for a language that the tokenizer does not know, or none where one
        is required.
        """
        if lang is None:
            self._complain()
            return self._default, None
        if self._ids is None:
            if self._default is None:
                raise TokenizationError(
                    f"lang={lang!r}: this tokenizer has no use for a language; leave it out"
                )
            return lang, None
        if lang not in self._ids:
            near = difflib.get_close_matches(lang, self._ids, n=1)
            message = f"lang={lang!r} is not one of {', '.join(self._ids)}."
            if near:
                message += f" Did you mean {near[0]!r}?"
            if self._unknown == "error":
                raise TokenizationError(message)
            warnings.warn(message, stacklevel=2)
            return lang, None
        return lang, self._ids[lang]

    def _complain(self) -> None:
        if self._ids is None or len(self._ids) < 2 or self._missing == "ignore":
            return
        message = (
            "no lang is given, so the model gets no language signal; name one of "
            f"{', '.join(self._ids)}"
        )
        if self._missing == "error":
            raise TokenizationError(message)
        warnings.warn(message, stacklevel=2)

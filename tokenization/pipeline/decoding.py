"""From ids back to text."""

import operator
from collections.abc import Sequence
from typing import Any

from tokenization.algorithms.algorithm import Algorithm
from tokenization.errors import TokenizationError
from tokenization.options import CommonOptions
from tokenization.pipeline.added import AddedTokens

# Spaces that English tokenizers put before punctuation and clipped words.
_ENGLISH_SPACES = (
    *((f" {mark}", mark) for mark in ".?!,"),
    (" ' ", "'"),
    *((f" {word}", word) for word in ("n't", "'m", "'s", "'ve", "'re")),
)


class Decoder:
    """Turns ids into tokens and text; added tokens stand apart from the text between them."""

    def __init__(
        self, options: CommonOptions, algorithm: Algorithm[Any], added: AddedTokens
    ) -> None:
        self._algorithm = algorithm
        self._added = added
        self._joined = options.decoding == "joined"
        self._clean_up = options.clean_up_spaces
        self._tokens = _Tokens(algorithm, added)
        self._special_ids = frozenset(added.special_texts.values())
        roles = set(options.special_tokens.by_role().values())
        additional = {token.content for token in options.special_tokens.additional}
        additional |= {text for text in added.special_texts if text not in roles}
        beyond = {
            text for text in additional if added.special_texts.get(text, -1) >= algorithm.size
        }
        self._apart = set(added.by_text)
        if not self._joined:
            self._apart = self._apart - set(added.special_texts) | beyond

    def token(self, token_id: int) -> str:
        """The token of one id."""
        return self._tokens[token_id]

    def tokens(self, ids: Sequence[int], skip_special_tokens: bool) -> list[str]:
        """The tokens of ids."""
        known, skipped = self._tokens, self._special_ids
        if not skip_special_tokens:
            return [known[index] for index in ids]
        return [known[index] for index in ids if index not in skipped]

    def decode(self, ids: Any, skip_special_tokens: bool, clean_up: bool | None) -> str:
        """The text of ids; see Tokenizer.decode."""
        text = self.join_ids(as_list(ids), skip_special_tokens)
        if clean_up is None:
            clean_up = self._clean_up
        if clean_up:
            for spaced, plain in _ENGLISH_SPACES:
                text = text.replace(spaced, plain)
        return text

    def join_ids(self, ids: list[int], skip_special_tokens: bool) -> str:
        """The text of ids, before English spaces are tidied."""
        tokens = self.tokens(ids, skip_special_tokens)
        if not tokens:
            return ""
        if self._apart.isdisjoint(tokens):
            return self._algorithm.join(tokens)
        parts: list[str] = []
        between: list[str] = []
        for token in tokens:
            if token in self._apart:
                self._close(parts, between)
                parts.append(token)
            else:
                between.append(token)
        self._close(parts, between)
        if self._joined:
            return "".join(parts)
        return " ".join(parts)

    def _close(self, parts: list[str], between: list[str]) -> None:
        if between:
            text = self._algorithm.join(between)
            if text:
                parts.append(text)
            between.clear()


class _Tokens(dict[int, str]):
    """Tokens by their ids, found when they are first needed."""

    def __init__(self, algorithm: Algorithm[Any], added: AddedTokens) -> None:
        super().__init__({index: token.content for index, token in added.by_id.items()})
        self._algorithm = algorithm

    def __missing__(self, token_id: int) -> str:
        self[token_id] = token = self._algorithm.token_of(token_id)
        return token


def as_list(ids: Any) -> list[int]:
    """Ids in a list, whether they came as a number, a list, an array or a tensor."""
    listed = ids
    if hasattr(ids, "tolist"):
        listed = ids.tolist()
    if isinstance(listed, int):
        return [listed]
    try:
        return [index if type(index) is int else _index(index) for index in listed]
    except TypeError:
        raise TokenizationError(f"ids are whole numbers, found {ids!r}") from None


def _index(given: Any) -> int:
    if isinstance(given, float) and given.is_integer():
        return int(given)
    return operator.index(given)

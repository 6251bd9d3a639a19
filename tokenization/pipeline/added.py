"""Added and special tokens: their ids, and how a text is cut around them."""

import re
from collections.abc import Iterable
from functools import cached_property
from typing import TypeVar

from tokenization.options import AddedToken
from tokenization.text.aligned import AlignedText
from tokenization.text.edits import LowerCase

Text = TypeVar("Text", str, AlignedText)


class AddedTokens:
    """The tokens that are never split, with their ids.

    `vocabulary` is the model's own: token to id. A token that it holds keeps its id there; another
    gets the id that it names or the next free one. `special_texts` are the special ones, text to
    id. Built in the order of `tokens`, of which the first of each text counts.
    """

    def __init__(
        self, tokens: Iterable[AddedToken], vocabulary: dict[str, int], lower_case: bool
    ) -> None:
        self.lower_case = lower_case
        self.by_text: dict[str, AddedToken] = {}
        self.by_id: dict[int, AddedToken] = {}
        self.special_texts: dict[str, int] = {}
        self._known = dict(vocabulary)
        for token in tokens:
            if token.content not in self.by_text:
                self.add([token])

    def add(self, tokens: Iterable[AddedToken]) -> int:
        """Take in more tokens, or known ones with other flags; returns how many were new to the
        vocabulary.
        """
        before = len(self._known)
        for token in tokens:
            if self.lower_case and token.normalized and not token.special:
                token = token.model_copy(update={"content": token.content.lower()})
            index = token.id
            if index is None:
                index = self._known.get(token.content, len(self._known))
            token = token.model_copy(update={"id": index})
            self._known[token.content] = index
            self.by_text[token.content] = token
            self.by_id[index] = token
            if token.special:
                self.special_texts.setdefault(token.content, index)
        for name in ("_pattern", "lowering"):
            self.__dict__.pop(name, None)
        return len(self._known) - before

    @cached_property
    def _pattern(self) -> re.Pattern[str] | None:
        return _any_of(sorted(self.by_text, key=len, reverse=True))

    @cached_property
    def lowering(self) -> LowerCase | None:
        """The lower-casing that comes before the cut, where text is lower-cased: added tokens keep
        their letters.
        """
        if not self.lower_case:
            return None
        kept = list(self.special_texts)
        kept += [
            text for text, token in self.by_text.items() if not token.special and token.normalized
        ]
        return LowerCase(simple=True, protected=_any_of(kept))

    def cut(self, text: Text) -> list[Text]:
        """Cut a text around added tokens, white space taken from it as each token's flags say; no part is
        empty.
        """
        string = str(text)
        if not string:
            return []
        if self._pattern is None or self._pattern.search(string) is None:
            return [text]
        parts, place = [], 0
        for match in self._pattern.finditer(string):
            parts += [text[place : match.start()], text[match.start() : match.end()]]
            place = match.end()
        parts.append(text[place:])
        parts = [part for part in parts if len(part)]
        for index, part in enumerate(parts):
            token = self.by_text.get(str(part))
            if token is not None and (token.lstrip or token.rstrip or token.single_word):
                self._make_room(parts, index, token)
        return [part for part in parts if len(part)]

    def _make_room(self, parts: list[Text], index: int, token: AddedToken) -> None:
        """Take the white space beside a token that its flags name, and make a token that is not a
        single word part of the text beside it.
        """
        left = right = ""  # as they were before white space is taken
        if index > 0:
            left = str(parts[index - 1])
        if index < len(parts) - 1:
            right = str(parts[index + 1])
        if token.rstrip and right:
            parts[index + 1] = parts[index + 1].lstrip()
        if token.lstrip and left:
            parts[index - 1] = parts[index - 1].rstrip()
        if not token.single_word:
            return
        if left and not left.endswith(" "):
            parts[index - 1] = parts[index - 1] + parts[index]
            parts[index] = parts[index][:0]
        elif right and not right.startswith(" "):
            parts[index + 1] = parts[index] + parts[index + 1]
            parts[index] = parts[index][:0]


def _any_of(texts: list[str]) -> re.Pattern[str] | None:
    """A pattern of any of the texts, the first ones first, None where there are none."""
    if not texts:
        return None
    return re.compile("|".join(map(re.escape, texts)))

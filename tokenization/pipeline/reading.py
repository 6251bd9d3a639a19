"""From texts to the ids of each."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from tokenization.algorithms.algorithm import Algorithm, TokensAndSpans
from tokenization.errors import TokenizationError
from tokenization.pipeline.added import AddedTokens
from tokenization.pipeline.inputs import RawText
from tokenization.pipeline.languages import Languages
from tokenization.text.aligned import AlignedText, Span


class TokenizedText(NamedTuple):
    """The ids of one text; `spans` are offsets `(start, end)` in it, where requested; `language`
    its id.

    `words` are the numbers of the words that tokens belong to, where spans are requested.
    """

    ids: list[int]
    spans: list[Span] | None
    language: int | None
    words: list[int] | None = None


class TextReader:
    """Turns texts into ids: cuts out added tokens and gives the rest to the algorithm."""

    def __init__(
        self,
        algorithm: Algorithm[Any],
        added: AddedTokens,
        ids: Mapping[str, int],
        unknown: int | None,
        languages: Languages,
    ) -> None:
        self._algorithm = algorithm
        self._added = added
        self._ids = ids
        self._unknown = unknown
        self._languages = languages

    def tokens(self, text: str, lang: str | None, whole: bool) -> list[str]:
        """The tokens of one text; `whole` looks for no added tokens in it."""
        language, _ = self._languages.resolve(lang)
        tokens: list[str] = []
        for part in self._parts(text, whole):
            if not whole and part in self._added.by_text:
                tokens.append(part)
            else:
                tokens += self._algorithm.tokenize(part, language)
        return tokens

    def read(
        self, items: Sequence[tuple[RawText, ...]], offsets: bool, whole: bool
    ) -> list[tuple[TokenizedText, ...]]:
        """Tokenize all texts of a call; many of them are given to the algorithm at once."""
        if offsets:
            return self._read_aligned(items, whole)
        if len(items) == 1:
            return [tuple(self._read_one(text, whole) for text in items[0])]
        return self._read_batch(items, whole)

    def _parts(self, text: str, whole: bool) -> list[str]:
        lowering = self._added.lowering
        if lowering is not None:
            text = lowering.apply(text)
        if whole:
            return [text]
        return self._added.cut(text)

    def _to_ids(self, tokens: list[str]) -> list[int]:
        get, unknown = self._ids.get, self._unknown
        if unknown is not None:
            return [get(token, unknown) for token in tokens]
        missing = next((token for token in tokens if token not in self._ids), None)
        if missing is not None:
            raise TokenizationError(
                f"the vocabulary has no token {missing!r} and no unknown token to stand for it"
            )
        return [self._ids[token] for token in tokens]

    def _read_one(self, text: RawText, whole: bool) -> TokenizedText:
        _, language = self._languages.resolve(text.language)
        tokens = [token for word in text.words for token in self.tokens(word, text.language, whole)]
        return TokenizedText(self._to_ids(tokens), None, language)

    def _read_batch(
        self, items: Sequence[tuple[RawText, ...]], whole: bool
    ) -> list[tuple[TokenizedText, ...]]:
        """Cut all texts first, have their parts tokenized together, and put the ids back in their
        places.
        """
        segments: list[str] = []
        languages: list[str | None] = []
        resolved = {
            name: self._languages.resolve(name)
            for name in {text.language for item in items for text in item}
        }
        added = self._added.by_text
        if whole:
            added = {}
        # The id of each part of a text that is an added token, None for those that are tokenized.
        plans: list[list[int | None]] = []
        for item in items:
            for text in item:
                language, _ = resolved[text.language]
                plan: list[int | None] = []
                for part in [part for word in text.words for part in self._parts(word, whole)]:
                    token = added.get(part)
                    if token is None:
                        plan.append(None)
                        segments.append(part)
                        languages.append(language)
                    else:
                        plan.append(token.id)
                plans.append(plan)
        ids = iter(self._segment_ids(segments, languages))
        found = iter([next(ids) if plan == [None] else _fill(plan, ids) for plan in plans])
        ids_of = {name: language_id for name, (_, language_id) in resolved.items()}
        return [
            tuple([TokenizedText(next(found), None, ids_of[text.language]) for text in item])
            for item in items
        ]

    def _segment_ids(self, segments: list[str], languages: list[str | None]) -> list[list[int]]:
        quick = self._algorithm.encode_batch(segments)
        if quick is None:
            return [
                self._to_ids(tokens)
                for tokens in self._algorithm.tokenize_batch(segments, languages)
            ]
        found = []
        for segment, language, ids in zip(segments, languages, quick):
            if ids is None:
                ids = self._to_ids(self._algorithm.tokenize(segment, language))
            found.append(ids)
        return found

    def _read_aligned(
        self, items: Sequence[tuple[RawText, ...]], whole: bool
    ) -> list[tuple[TokenizedText, ...]]:
        """The same with the span of each token in its text."""
        segments: list[AlignedText] = []
        languages: list[str | None] = []
        plans: list[list[TokensAndSpans | None]] = []
        numbers: list[list[int]] = []
        for text in (text for item in items for text in item):
            language, _ = self._languages.resolve(text.language)
            plan: list[TokensAndSpans | None] = []
            parts = [
                (part, n)
                for n, word in enumerate(text.words)
                for part in self._aligned_parts(word, whole)
            ]
            numbers.append([number for _, number in parts])
            for part, _ in parts:
                if not whole and part.text in self._added.by_text:
                    plan.append(([part.text], [part.span(0, len(part))]))
                else:
                    plan.append(None)
                    segments.append(part)
                    languages.append(language)
            plans.append(plan)
        found: Iterator[TokensAndSpans] = iter(())
        if segments:
            found = iter(self._algorithm.tokenize_aligned(segments, languages))
        texts = iter([[next(found) if each is None else each for each in plan] for plan in plans])
        words = iter(numbers)
        return [
            tuple(self._collect(next(texts), text, next(words)) for text in item) for item in items
        ]

    def _aligned_parts(self, word: str, whole: bool) -> list[AlignedText]:
        aligned = AlignedText(word)
        if self._added.lowering is not None:
            aligned = self._added.lowering.apply_aligned(aligned)
        if whole:
            return [aligned]
        return self._added.cut(aligned)

    def _collect(
        self, parts: list[TokensAndSpans], text: RawText, numbers: list[int]
    ) -> TokenizedText:
        tokens = [token for found, _ in parts for token in found]
        spans = [span for _, found in parts for span in found]
        if text.split:
            words = [number for (found, _), number in zip(parts, numbers) for _ in found]
        else:
            words = word_numbers(text.words[0], spans)
        language = None
        if text.language is not None:
            _, language = self._languages.resolve(text.language)
        return TokenizedText(self._to_ids(tokens), spans, language, words)


def word_numbers(text: str, spans: Sequence[Span]) -> list[int]:
    """The number of the word, between white space, in which each span of a text begins.

    A token without characters, such as the mark of a space, belongs to the word behind it.
    """
    numbers, count, between = [], 0, True
    for char in text:
        if char.isspace():
            between = True
            numbers.append(count)
            continue
        if between:
            between = False
            count += 1
        numbers.append(count - 1)
    numbers.append(count)
    return [max(0, min(numbers[start], count - 1)) for start, _ in spans]


def _fill(plan: list[int | None], ids: Iterator[list[int]]) -> list[int]:
    filled: list[int] = []
    for token_id in plan:
        if token_id is None:
            filled += next(ids)
        else:
            filled.append(token_id)
    return filled

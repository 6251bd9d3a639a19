"""SentencePiece: text is normalized, and the piece model finds its most likely segmentation."""

import io
import unicodedata
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import sentencepiece
from typing_extensions import Self

from tokenization.algorithms.algorithm import TokensAndSpans
from tokenization.algorithms.digit_comma import SPACE, DigitCommas, ends_in_number
from tokenization.errors import TokenizationError, VocabularyError
from tokenization.files.piece_file import check_piece_file
from tokenization.files.vocabulary_files import read_file
from tokenization.options import SentencePieceOptions
from tokenization.text.aligned import AlignedText, Span
from tokenization.text.character_edits import Decompose
from tokenization.text.edits import (
    CollapseSpace,
    Edit,
    LowerCase,
    Substitute,
    apply_edits,
    apply_edits_aligned,
    lowered_as_read,
)

_OWN_PIECES = {"unk": "<unk>", "bos": "<s>", "eos": "</s>"}


def piece_edits(options: SentencePieceOptions) -> list[Edit]:
    """What is done to a text before the piece model sees it."""
    edits: list[Edit] = []
    if options.remove_space:
        edits.append(CollapseSpace())
    if options.normalize_quotes:
        edits += [Substitute("``", '"'), Substitute("''", '"')]
    if not options.keep_accents:
        edits.append(Decompose("NFKD", drop=lambda char: unicodedata.combining(char) != 0))
    if options.lower_case:
        edits.append(LowerCase())
    return edits


class PieceAlgorithm:
    """A piece model, given as the bytes of its file; raises VocabularyError if they are not one."""

    library = None

    def __init__(self, options: SentencePieceOptions, model: bytes) -> None:
        check_piece_file(model, options.model_file)
        self.options = options
        self._model = model
        sampling = options.sampling
        self._samples = sampling.enable_sampling and sampling.nbest_size not in (0, 1)
        self._threads = -1
        chosen: dict[str, Any] = {}
        if self._samples:
            # A random segmentation is only repeatable from a seed where one thread draws.
            self._threads = 1
            chosen = sampling.model_dump()
        self._processor = sentencepiece.SentencePieceProcessor(**chosen)
        try:
            self._processor.LoadFromSerializedProto(model)
        except RuntimeError as error:
            raise VocabularyError(
                f"{options.model_file}: not a SentencePiece model ({error})"
            ) from None
        self._edits = piece_edits(options)
        self._commas = DigitCommas(self._processor, remembers=not self._samples)
        self._place_ids()
        self.lower_case = options.lower_case

    def _place_ids(self) -> None:
        options, ids, count = self.options, self.options.ids, len(self._processor)
        self.size = count + ids.offset + len(ids.last)
        last = {token: count + ids.offset + index for index, token in enumerate(ids.last)}
        self._moved = {**{token: index for index, token in enumerate(ids.first)}, **last}
        self._moved_tokens = {index: token for token, index in self._moved.items()}
        unknown = self._processor.unk_id()
        pieces = [self._processor.id_to_piece(index) for index in range(count)]
        # These ids are not the last word: unknown text may spell a special token, and numbers may
        # be split again.
        split = (
            index
            for piece, index in zip(pieces, range(count))
            if options.split_digit_comma and ends_in_number(piece)
        )
        self._doubtful = frozenset([unknown, *split])
        # Where ids are moved, the model's own unknown piece has no place; unknown text gets the
        # unknown token.
        self.unknown: int | None = unknown + ids.offset
        if ids.first:
            self.unknown = None
        self.vocabulary = {
            piece: index + ids.offset
            for index, piece in enumerate(pieces)
            if index != unknown or not ids.first
        }
        self.vocabulary.update(self._moved)

    @classmethod
    def load(cls, options: SentencePieceOptions, directory: Path) -> Self:
        return cls(options, read_file(directory / options.model_file))

    @classmethod
    def train(
        cls,
        options: SentencePieceOptions,
        corpus: Iterable[str],
        vocab_size: int | None,
        languages: Iterable[str] | None = None,
    ) -> Self:
        """Train a piece model of at most `vocab_size` ids; raises TokenizationError for a corpus
        without text.
        """
        edits, reserved, own = piece_edits(options), list(options.reserved), _own_pieces(options)
        controls = [token for token in reserved if token not in own.values()]
        outside = options.ids.offset + len(options.ids.last)
        named: dict[str, Any] = {f"{role}_piece": token for role, token in own.items()}
        if reserved:
            for role, token in own.items():
                named[f"{role}_id"] = -1  # no such piece
                if token in reserved:
                    named[f"{role}_id"] = reserved.index(token)
        writer = io.BytesIO()
        try:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=(
                    apply_edits(edits, text) for text in lowered_as_read(corpus, options.lower_case)
                ),
                model_writer=writer,
                vocab_size=(vocab_size or 8000) - outside,
                hard_vocab_limit=False,
                model_type=options.model_type,
                control_symbols=controls,
                pad_id=-1,
                minloglevel=2,
                **named,
            )
        except (RuntimeError, OSError) as error:
            raise TokenizationError(
                f"SentencePiece cannot make a vocabulary of this corpus: {error}"
            ) from None
        return cls(options, writer.getvalue())

    @classmethod
    def held(cls, options: SentencePieceOptions) -> tuple[str, ...]:
        pieces = options.reserved or tuple(_own_pieces(options).values())
        return (*pieces, *options.ids.first, *options.ids.last)

    def with_options(self, options: SentencePieceOptions) -> Self:
        return type(self)(options, self._model)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.options, self._model)

    def tokenize(self, text: str, language: str | None = None) -> list[str]:
        found = self._processor.encode(apply_edits(self._edits, text), return_type=str)
        if not self.options.split_digit_comma:
            return found
        return self._commas.split_all(found)

    def encode_batch(self, texts: list[str]) -> list[list[int] | None] | None:
        if self._samples:
            return None
        doubtful, offset = self._doubtful, self.options.ids.offset
        found = self._processor.encode(self._edited(texts), return_type=int, num_threads=-1)
        if offset == 0:
            return [ids if doubtful.isdisjoint(ids) else None for ids in found]
        return [
            [index + offset for index in ids] if doubtful.isdisjoint(ids) else None for ids in found
        ]

    def _edited(self, texts: list[str]) -> list[str]:
        if not self._edits:
            return texts
        return [apply_edits(self._edits, text) for text in texts]

    def tokenize_batch(self, texts: list[str], languages: Sequence[str | None]) -> list[list[str]]:
        edited = self._edited(texts)
        found = self._processor.encode(edited, return_type=str, num_threads=self._threads)
        if not self.options.split_digit_comma:
            return found
        return [self._commas.split_all(pieces) for pieces in found]

    def tokenize_aligned(
        self, texts: Sequence[AlignedText], languages: Sequence[str | None]
    ) -> list[TokensAndSpans]:
        edited = [apply_edits_aligned(self._edits, text) for text in texts]
        strings = [text.text for text in edited]
        found = self._processor.encode(
            strings, return_type="offset_mapping", num_threads=self._threads
        )
        return [
            self._place(pieces, offsets, text)
            for pieces, offsets, text in zip(
                (each["pieces"] for each in found), (each["offsets"] for each in found), edited
            )
        ]

    def _place(self, pieces: list[str], offsets: list[Span], text: AlignedText) -> TokensAndSpans:
        """Pieces and where they stand in the edited text, made into tokens and where they stand in
        the original.
        """
        string = text.text
        if not string.isascii() and any(
            len(piece) > end - start for piece, (start, end) in zip(pieces, offsets)
        ):
            offsets = self._whole_characters(pieces, offsets, string)
        # The white space before a piece belongs to no token.
        spans = [
            _trim(string, *span) if string[span[0] : span[0] + 1].isspace() else span
            for span in offsets
        ]
        if self.options.split_digit_comma and any(map(ends_in_number, pieces)):
            pieces, spans = self._commas.place(pieces, spans)
        if text.offset == 0:
            return pieces, spans
        return pieces, [text.span(start, end) for start, end in spans]

    def _whole_characters(self, pieces: list[str], offsets: list[Span], string: str) -> list[Span]:
        """Spans that end behind a character, where the model's normalization makes several
        characters of it (…, ½).

        The library ends a piece that holds only some of them in front of the character.
        """
        normalized, places = self._processor.Normalize(string, with_offsets=True)
        if len(normalized) != sum(map(len, pieces)):
            # Bytes that stand for unknown characters have no place in the normalized text.
            return offsets
        spans: list[Span] = []
        stop = 0
        for piece, (start, end) in zip(pieces, offsets):
            stop += len(piece)
            is_own_mark = stop == 1 and piece == SPACE
            if places[stop] == places[stop - 1] and not is_own_mark:
                end = places[min(bisect_right(places, places[stop]), len(places) - 1)]
            spans.append((start, end))
        return spans

    def token_of(self, token_id: int) -> str:
        token = self._moved_tokens.get(token_id)
        if token is not None:
            return token
        index = token_id - self.options.ids.offset
        if not 0 <= index < len(self._processor):
            raise TokenizationError(
                f"there is no token {token_id}: the vocabulary has ids 0 to {self.size - 1}"
            )
        return self._processor.id_to_piece(index)

    def join(self, tokens: list[str]) -> str:
        return "".join(tokens).replace(SPACE, " ").strip()

    def files(self) -> dict[str, bytes]:
        return {self.options.model_file: self._model}

    @property
    def processor(self) -> Any:
        """The SentencePiece processor itself."""
        return self._processor


def _own_pieces(options: SentencePieceOptions) -> dict[str, str]:
    """The pieces of the roles that the trainer knows itself."""
    roles: dict[str, str] = dict(options.special_tokens.by_role().items())
    return {role: roles.get(role, token) for role, token in _OWN_PIECES.items()}


def _trim(string: str, start: int, end: int) -> Span:
    while start < end and string[start].isspace():
        start += 1
    return start, end

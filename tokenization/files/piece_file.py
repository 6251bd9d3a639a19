"""The few fields of a SentencePiece model file that the library does not hand out.

The file is a protocol buffer; field numbers are those of sentencepiece_model.proto
(google/sentencepiece).
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from tokenization.errors import VocabularyError

_PIECES, _TRAINER, _NORMALIZER = 1, 2, 3
_CHARACTER_MAP = 2
_MODEL_TYPE = 3


def _varint(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[place]
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return value, place


def fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a message, number and value; raises IndexError where the data ends inside one."""
    place = 0
    while place < len(data):
        key, place = _varint(data, place)
        kind = key & 7
        if kind == 0:
            value, place = _varint(data, place)
            yield key >> 3, value
            continue
        if kind == 2:
            length, place = _varint(data, place)
        elif kind == 1:
            length = 8
        elif kind == 5:
            length = 4
        else:
            raise IndexError
        if place + length > len(data):
            raise IndexError
        yield key >> 3, data[place : place + length]
        place += length


def check_piece_file(data: bytes, name: str) -> None:
    """Raise VocabularyError unless the data is a whole piece model: pieces, trainer and normalizer
    settings.
    """
    try:
        found = {number for number, _ in fields(data)}
    except IndexError:
        raise VocabularyError(
            f"{name}: not a SentencePiece model, or cut short ({len(data)} bytes)"
        ) from None
    if not {_PIECES, _TRAINER, _NORMALIZER} <= found:
        raise VocabularyError(
            f"{name}: not a whole SentencePiece model: parts are missing; is it cut short?"
        )


@dataclass(frozen=True)
class Piece:
    """A piece of the model, the logarithm of its probability, and its kind (1 normal, 3 control, 4
    user defined).
    """

    text: str
    score: float
    kind: int


def pieces(data: bytes) -> list[Piece]:
    """The pieces of a model in the order of their ids."""
    found = []
    for number, value in fields(data):
        if number == _PIECES and isinstance(value, bytes):
            parts = dict(fields(value))
            text, score, kind = parts.get(1, b""), parts.get(2, b"\0\0\0\0"), parts.get(3, 1)
            if isinstance(text, bytes) and isinstance(score, bytes) and isinstance(kind, int):
                found.append(Piece(text.decode("utf-8"), struct.unpack("<f", score)[0], kind))
    return found


def is_unigram(data: bytes) -> bool:
    """Whether the model is one of the unigram language model."""
    trainer = next(value for number, value in fields(data) if number == _TRAINER)
    return isinstance(trainer, bytes) and dict(fields(trainer)).get(_MODEL_TYPE, 1) == 1


def character_map(data: bytes) -> bytes:
    """The compiled character map of the model's normalizer (empty: none)."""
    for number, value in fields(data):
        if number == _NORMALIZER and isinstance(value, bytes):
            for inner, content in fields(value):
                if inner == _CHARACTER_MAP and isinstance(content, bytes):
                    return content
    return b""

"""The order of special tokens around one text or two, and the token types that go with it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

from tokenization.errors import TokenizationError
from tokenization.options import Format, Role

T = TypeVar("T")


@dataclass(frozen=True)
class Place:
    """One place of a sequence: text number `text` (0 or 1), or else the special token `token_id`;
    with its type.
    """

    kind: int
    text: int | None = None
    token_id: int = 0


_BARE_PAIR = (Place(0, text=0), Place(0, text=1))


class SequenceFormat:
    """Puts special tokens around ids; raises TokenizationError where the format names a role
    without a token.
    """

    def __init__(
        self,
        options: Format,
        special_ids: dict[Role, int],
        given: tuple[tuple[Place, ...], tuple[Place, ...]] | None = None,
    ) -> None:
        self._options = options
        self._special_ids = special_ids
        self._given = given

    def _places(self, template: str) -> tuple[Place, ...]:
        places = []
        for what, _, kind in (place.partition(":") for place in template.split()):
            if what in "AB":
                places.append(Place(int(kind or 0), text="AB".index(what)))
                continue
            role = what
            if what == "start":
                role = self._options.start
            if role not in self._special_ids:
                raise TokenizationError(
                    f"the format {template!r} needs the special token {role!r}, which "
                    "special_tokens does not name"
                )
            places.append(Place(int(kind or 0), token_id=self._special_ids[role]))
        return tuple(places)

    @cached_property
    def single(self) -> tuple[Place, ...]:
        if self._given is not None:
            return self._given[0]
        return self._places(self._options.single)

    @cached_property
    def pair(self) -> tuple[Place, ...]:
        if self._given is not None:
            return self._given[1]
        return self._places(self._options.pair)

    def places(self, pair: bool, add_special_tokens: bool) -> tuple[Place, ...]:
        """The places of a single sequence or a pair; without special tokens all types are 0, as
        published.
        """
        if add_special_tokens:
            return self.pair if pair else self.single
        if pair:
            return _BARE_PAIR
        return _BARE_PAIR[:1]


def spread_ids(places: Sequence[Place], texts: Sequence[list[int]]) -> list[int]:
    """The ids of a sequence: each text's own ids in its place, special tokens in theirs."""
    ids: list[int] = []
    for place in places:
        if place.text is None:
            ids.append(place.token_id)
        else:
            ids += texts[place.text]
    return ids


def spread(places: Sequence[Place], texts: Sequence[list[T]], special: T) -> list[T]:
    """The values of a sequence's tokens, `special` for each special token."""
    values: list[T] = []
    for place in places:
        if place.text is None:
            values.append(special)
        else:
            values += texts[place.text]
    return values

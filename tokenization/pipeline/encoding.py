"""What a call returns, and how rows become equally long and become tensors."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tokenization.errors import TokenizationError
from tokenization.options import Side
from tokenization.pipeline.request import Padding, Tensors


class Encoding(dict[str, Any]):
    """A dictionary of parallel lists or tensors `(rows, tokens)`, whose entries are attributes as
    well.
    """

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(
                f"this encoding has no {name!r}; it has {', '.join(self) or 'nothing'}"
            ) from None

    def remember(self, again: "Callable[[], Encoding]") -> None:
        """How the same texts are encoded with the numbers of their words, which few callers
        need.
        """
        vars(self)["again"] = again

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (dict(self),)

    def word_ids(self, row: int = 0) -> list[int | None]:
        """The number of the word to which each token of a row belongs, None for special tokens and
        padding.

        Words are those that were given (is_split_into_words), or stand between white space. Raises
        TokenizationError for an encoding that no call of a tokenizer gave.
        """
        again: Callable[[], Encoding] | None = vars(self).get("again")
        if again is None:
            raise TokenizationError(
                "only what a call of a tokenizer returned knows its words: call it on the text"
            )
        found: Any = again()["word_ids"]
        if found and isinstance(found[0], list):
            found = found[row]
        return list(found)

    def to(self, device: Any) -> "Encoding":
        """Move the tensors to a device; lists and arrays stay as they are."""
        moved = Encoding(self)
        for name, value in self.items():
            if hasattr(value, "to"):
                moved[name] = value.to(device)
        return moved


class Padder:
    """Makes rows equally long: `fill` gives the value of padding for each name; other names are
    left alone.

    A language id is repeated from the token at the edge, so that a padded row still is of one
    language.
    """

    def __init__(self, fill: Mapping[str, Any]) -> None:
        self._fill = fill

    def pad_row(self, row: dict[str, Any], length: int, side: Side) -> dict[str, Any]:
        """Pad the lists of one row up to `length` tokens."""
        missing = length - len(row["input_ids"])
        if missing <= 0:
            return row
        padded = dict(row)
        for name, values in row.items():
            if name == "langs":
                fill = _edge(values, side)
            elif name in self._fill:
                fill = self._fill[name]
            else:
                continue
            if side == "right":
                padded[name] = values + [fill] * missing
            else:
                padded[name] = [fill] * missing + values
        return padded

    def pad_rows(self, rows: list[dict[str, Any]], padding: Padding) -> list[dict[str, Any]]:
        """Pad rows to the same length."""
        if padding.strategy == "do_not_pad":
            return rows
        length = padding.max_length
        if padding.strategy == "longest":
            length = max((len(row["input_ids"]) for row in rows), default=0)
        if length is None:
            return rows
        if padding.multiple:
            length = -(-length // padding.multiple) * padding.multiple
        return [self.pad_row(row, length, padding.side) for row in rows]


def _edge(languages: list[int], side: Side) -> int:
    if not languages:
        return 0
    if side == "right":
        return languages[-1]
    return languages[0]


def stack(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Turn a list of rows into a row of lists."""
    if not rows:
        return {"input_ids": []}
    return {name: [row[name] for row in rows] for name in rows[0]}


def to_tensors(encoding: dict[str, Any], kind: Tensors | None) -> Encoding:
    """Turn every entry into an array (`np`) or tensor (`pt`) of integers; raises TokenizationError
    if rows differ.
    """
    if kind is None:
        return Encoding(encoding)
    import numpy

    arrays = {}
    for name, value in encoding.items():
        try:
            array = numpy.asarray(value, dtype=numpy.int64)
        except ValueError:
            raise TokenizationError(
                f"the rows of {name!r} have different lengths and make no tensor: ask for padding=True "
                "(and truncation=True with a max_length)"
            ) from None
        arrays[name] = array
    if kind == "np":
        return Encoding(arrays)
    import torch

    return Encoding({name: torch.from_numpy(array) for name, array in arrays.items()})

"""The base of every section that a person writes: tokenizer options, the axes of a spec, heads,
generation.
"""

import operator
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator


class Section(BaseModel):
    """A frozen section that refuses unknown keys and values of another type, infinities among them;
    lists become tuples.

    A whole number of another library (numpy's, a tensor of one element) is taken as one. Raises
    pydantic's ValidationError.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )

    @model_validator(mode="before")
    @classmethod
    def _unchanging(cls, data: Any) -> Any:
        if isinstance(data, Mapping):
            return {key: _plain(value) for key, value in data.items()}
        return data


# By far the most values, which need no look at what they may be beside that.
_SCALARS = (str, int, float, bool, type(None))


def _plain(value: Any) -> Any:
    if type(value) in _SCALARS:
        return value
    if isinstance(value, Mapping):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return tuple(_plain(part) for part in value)
    if hasattr(value, "__index__") and not isinstance(value, int):
        try:
            return operator.index(value)
        except (RuntimeError, TypeError, ValueError):
            return value
    return value

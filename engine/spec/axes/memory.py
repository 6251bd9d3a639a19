"""What earlier tokens leave for later calls: one section for each kind of memory."""

from typing import Annotated, Literal

from pydantic import Field

from engine.spec.axes.base import Axis, Index, Size


class NoMemory(Axis):
    """Nothing is kept."""

    kind: Literal["none"]
    """Kind of memory."""


class KeysValues(Axis):
    """Keys and values of earlier tokens."""

    kind: Literal["keys_values"]
    """Kind of memory."""
    train: bool = False
    """Whether memory is returned in training where a call does not say."""
    eval: bool = True
    """Whether memory is returned in evaluation where a call does not say."""


class Recurrent(Axis):
    """Inputs of every block for earlier tokens (Dai et al. 2019, 3.2)."""

    kind: Literal["recurrent"]
    """Kind of memory."""
    length: Index | None = None
    """Tokens that are kept; null: all."""
    reuse: Size | None = None
    """Tokens of the newest segment that enter; null: all."""
    initial: Literal["empty", "zeros"] = "empty"
    """`zeros` starts with a memory full of zero states, which is attended to."""
    padding: Literal["attended", "hidden"] = "hidden"
    """Whether later segments see remembered padding."""
    train: bool = True
    """Whether memory is returned in training where a call does not say."""
    eval: bool = True
    """Whether memory is returned in evaluation where a call does not say."""


Memory = Annotated[NoMemory | KeysValues | Recurrent, Field(discriminator="kind")]

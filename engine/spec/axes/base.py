"""The base of every axis, and the numbers that fields hold."""

from typing import Annotated, Any, Literal

from pydantic import Field, ValidatorFunctionWrapHandler, WithJsonSchema, WrapValidator

from tokenization.section import Section

# Bounds above every real network, so that a typing error is found before anything is allocated.
Size = Annotated[int, Field(gt=0, le=2**31 - 1)]
Index = Annotated[int, Field(ge=0, le=2**31 - 1)]
Depth = Annotated[int, Field(gt=0, le=10_000)]
Spread = Annotated[float, Field(ge=0.0, le=1e3)]
Probability = Annotated[float, Field(ge=0.0, lt=1.0)]
# A factor, and a bound that a smooth function approaches.
Factor = Annotated[float, Field(gt=0.0, le=1e9)]
Activation = Literal[
    "gelu",
    "gelu_tanh",
    "gelu_10",
    "quick_gelu",
    "relu",
    "relu2",
    "relu6",
    "leaky_relu",
    "silu",
    "mish",
    "sigmoid",
    "tanh",
    "laplace",
    "linear",
]


def _or_null(value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
    if value is None:
        return None
    return validate(value)


# A size that a spec may leave open: null until the whole spec is read, which fills it in.
_SIZE_OR_NULL = [{"type": "integer", "exclusiveMinimum": 0, "maximum": 2**31 - 1}, {"type": "null"}]
Filled = Annotated[
    Size, WrapValidator(_or_null), WithJsonSchema({"anyOf": _SIZE_OR_NULL, "default": None})
]


class Axis(Section):
    """An axis of a spec."""

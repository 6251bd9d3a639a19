"""One call to a published model and to ours, everything that both give compared, in eval and in
train mode.
"""

import copy
from collections.abc import Container, Mapping
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from engine import Model
from tests.parity.helpers import (
    assert_close_relative,
    assert_same_gradients,
    their_gradients,
    weighted,
)

OURS = {"cross_attn_head_mask": "cross_head_mask"}


class Wide(TorchFunctionMode):
    """Float64 stays float64 where code asks for float32, so that what is left between two models is
    no rounding.
    """

    def __enter__(self) -> "Wide":
        self.previous = torch.get_default_dtype()
        torch.set_default_dtype(torch.float64)
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        torch.set_default_dtype(self.previous)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if not kwargs and len(args) < 2 and func is not Tensor.float:
            return func(*args)  # by far the most: sizes, dtypes, plain functions
        kwargs = dict(kwargs or {})
        if args and isinstance(args[0], Tensor) and args[0].dtype == torch.float64:
            if func is Tensor.float:
                return args[0]
            args = tuple(
                torch.float64 if argument is torch.float32 else argument for argument in args
            )
            if kwargs.get("dtype") is torch.float32:
                kwargs["dtype"] = torch.float64
        return func(*args, **kwargs)


def agree(  # noqa: PLR0913
    theirs: nn.Module,
    ours: Model,
    inputs: Mapping[str, Any],
    *,
    changes: Mapping[str, Any] | None = None,
    real: Tensor | None = None,
    their_only: Mapping[str, Any] | None = None,
    tolerance: float | None = None,
    without: Container[str] = (),
) -> None:
    """Assert that hidden states, attentions, logits, loss and gradients agree, in eval and in train
    mode (dropout is 0).

    Outputs are compared in float32 in eval mode; in float64, where rounding hides nothing, again in
    eval mode, and with gradients in train mode (`tolerance` as in helpers). `changes` replaces
    arguments for ours (None leaves one out); `their_only` are added for the published model. With
    `real` (b i), True for real tokens, other rows are left out: a row of padding that sees nobody
    means nothing. Outputs named in `without` are left out.
    """
    mine = {OURS.get(name, name): value for name, value in inputs.items()} | dict(changes or {})
    mine = {name: value for name, value in mine.items() if value is not None}
    published = {**inputs, **(their_only or {})}
    flags = {"output_hidden_states": True, "output_attentions": True}
    with torch.no_grad():
        one, other = theirs.eval()(**fresh(published), **flags), ours.eval()(**mine, **flags)
        compare(other, one, real, without=without)
    theirs, ours = widened(theirs), widened(ours)
    published, mine = fresh(published, torch.float64), fresh(mine, torch.float64)
    with Wide(), torch.no_grad():
        other, one = ours(**mine, **flags), theirs(**fresh(published), **flags)
    compare(other, one, real, tolerance, without)
    for model in (theirs.train(), ours.train()):
        model.zero_grad(set_to_none=True)
    with Wide():
        one, other = theirs(**published), ours(**mine)
        for output in (one, other):
            torch.autograd.backward(scalar(output, real))
    compare(other, one, real, tolerance, without)
    assert_same_gradients(ours, used_gradients(theirs, ours), tolerance)


def in_dtype(body: Any, dtype: torch.dtype) -> None:
    """Cast the sinusoids, which published code leaves in float32 whatever the weights are."""
    positions = body.relative_positional_encoding
    body.relative_positional_encoding = lambda *sizes, **named: positions(*sizes, **named).to(dtype)


def widened(model: Any) -> Any:
    """A copy with parameters in float64; buffers, such as tables of angles, stay as they were
    computed, and its description is the same object.
    """
    described = [getattr(model, name, None) for name in ("config", "spec")]
    model = copy.deepcopy(model, {id(one): one for one in described if one is not None})
    for parameter in model.parameters():
        parameter.data = parameter.data.double()
    return model


def compare(
    found: Any,
    published: Any,
    real: Tensor | None = None,
    tolerance: float | None = None,
    without: Container[str] = (),
) -> None:
    """Assert that all that an output of ours and a published one have in common agrees, at real
    tokens.
    """
    compared = 0
    for name in (
        "loss", "logits", "last_hidden_state", "pooler_output", "hidden_states",
        "encoder_last_hidden_state", "encoder_hidden_states",
    ):  # fmt: skip
        expected = None if name in without else _published(published, name)
        if expected is not None:
            assert_close_relative(_at(found[name], real), _at(expected, real), name, tolerance)
            compared += 1
    for name in ("attentions", "cross_attentions", "encoder_attentions"):
        expected = _published(published, name)
        if expected is not None and any(part is not None for part in expected):
            rows = [_at(part.transpose(1, 2), real) for part in getattr(found, name) or ()]
            assert_close_relative(
                rows, [_at(part.transpose(1, 2), real) for part in expected], name, tolerance
            )
            compared += 1
    assert compared, "the published output has nothing to compare"


def _published(output: Any, name: str) -> Any:
    """What a published output has under our name; beside an encoder what is the decoder's has a
    longer one.
    """
    return getattr(output, name, getattr(output, f"decoder_{name}", None))


def scalar(output: Any, real: Tensor | None = None) -> Tensor:
    """The loss of an output, or else a scalar to which every logit, or state and pooled vector,
    contributes.
    """
    if getattr(output, "loss", None) is not None:
        return output.loss
    if getattr(output, "logits", None) is not None:
        return weighted(_at(output.logits, real))
    pooled = getattr(output, "pooler_output", None)
    total = weighted(_at(output.last_hidden_state, real))
    return total if pooled is None else total + weighted(pooled, seed=1)


def used_gradients(theirs: nn.Module, ours: Model) -> dict[str, Tensor | None]:
    """Gradients by published name, without what the layout lists as kept but unused, or fixed;
    those must have none.
    """
    layout = ours.spec.checkpoint.huggingface
    assert layout is not None
    kept: dict[str, Tensor | None] = {}
    for name, gradient in their_gradients(theirs).items():
        if any(
            fnmatchcase(name, pattern) or fnmatchcase(name, f"*.{pattern}")
            for pattern in layout.unused
        ):
            if gradient is None:
                continue
        kept[name] = gradient
    return kept


def tokens(batch: int, length: int, vocab: int, seed: int = 0, first: int = 4) -> Tensor:
    """Token ids (b i) from `first` on, above the special ones."""
    return torch.randint(
        first, vocab, (batch, length), generator=torch.Generator().manual_seed(seed)
    )


def padded(ids: Tensor, padding: int, counts: list[int], side: str) -> tuple[Tensor, Tensor]:
    """Ids with that many padding ids in each row on one side, and the mask (b i)."""
    columns = torch.arange(ids.shape[1])
    if side == "left":
        columns = columns.flip(0)
    mask = columns < (ids.shape[1] - torch.tensor(counts))[:, None]
    return torch.where(mask, ids, padding), mask.long()


def labels_of(ids: Tensor, mask: Tensor | None = None, seed: int = 0) -> Tensor:
    """Ids as labels with -100 at padding, at the first real token and at about a fifth of the rest."""
    drop = torch.rand(ids.shape, generator=torch.Generator().manual_seed(seed)) < 0.2
    real = torch.ones_like(ids) if mask is None else mask
    return torch.where((real > 0) & (real.cumsum(-1) > 1) & ~drop, ids, -100)


def _at(values: Any, real: Tensor | None) -> Any:
    if isinstance(values, list | tuple):
        return [_at(value, real) for value in values]
    return values[real.bool()] if real is not None and values.shape[:2] == real.shape else values


def fresh(inputs: Mapping[str, Any], dtype: torch.dtype | None = None) -> dict[str, Any]:
    """Copies of the tensors, real numbers cast to `dtype`: some published code changes its
    arguments in place.
    """
    return {
        name: value.clone().to(dtype if value.is_floating_point() else None)
        if isinstance(value, Tensor)
        else value
        for name, value in inputs.items()
    }

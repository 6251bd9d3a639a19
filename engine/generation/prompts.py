"""Prompts of unequal lengths: checked, moved to the right edge, and grouped where padding cannot be hidden."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from engine.errors import InputError
from engine.memory import Memory
from engine.output_layer import AdaptiveOutput, LinearOutput
from engine.spec import Spec, axes

if TYPE_CHECKING:
    from engine.model import Model


@dataclass(frozen=True)
class Prompts:
    """Texts (b n) that end together; `mask` (b n) is True for real tokens, None where all are.

    `langs` (b) is the language of each row; `encoder_states` (b s d) and `encoder_mask` are a decoder's encoder.
    """

    tokens: Tensor
    mask: Tensor | None = None
    langs: Tensor | None = None
    encoder_states: Tensor | None = None
    encoder_mask: Tensor | None = None
    memory: Memory | None = None

    def select(self, rows: Tensor, length: int | None = None) -> "Prompts":
        """These rows, cut to their last `length` tokens, which are then all real."""
        mask = None if self.mask is None or length is not None else _unless_all(self.mask[rows])
        return Prompts(
            self.tokens[rows] if length is None else self.tokens[rows][:, -length:],
            mask,
            None if self.langs is None else self.langs[rows],
            None if self.encoder_states is None else self.encoder_states[rows],
            None if self.encoder_mask is None else self.encoder_mask[rows],
            None if self.memory is None else self.memory.select(rows),
        )


def output_layer(model: "Model") -> LinearOutput | AdaptiveOutput:
    """The map from states to tokens of the model's head (raises InputError where it has none)."""
    output = getattr(model.head, "output", None)
    if not isinstance(output, LinearOutput | AdaptiveOutput):
        name = model.spec.heads.default or "a bare backbone"
        raise InputError(f"predicting tokens needs a language-model head, such as causal_lm; this model has {name}")
    return output


def mask_token(model: "Model", given: int | None) -> int:
    """The id that stands for a hidden token (raises InputError where neither the caller nor the spec knows it)."""
    token = given if given is not None else model.spec.tokens.mask
    if token is None:
        raise InputError(
            f"'{model.spec.name}' does not say which id hides a token: give mask_token_id=tokenizer.mask_token_id"
        )
    return token


def check_left_to_right(model: "Model") -> None:
    """Raise InputError for a model that cannot continue a text."""
    spec = model.spec
    output_layer(model)
    if spec.streams.kind == "one" and "causal" not in spec.attention.mask:
        raise InputError(
            f"'{spec.name}' attends both ways, so it cannot continue a text: use fill_mask() or mask_predict(), or override "
            "attention.mask with a causal one if it was trained left to right"
        )
    if isinstance(spec.position, axes.RelativePosition) and spec.position.reversed_half:
        raise InputError(
            "position.reversed_half mirrors half of each training batch: override it with false to generate"
        )


def read_prompts(
    spec: Spec,
    tokens: Tensor,
    mask: Tensor | None,
    langs: Tensor | None = None,
    encoder_states: Tensor | None = None,
    encoder_mask: Tensor | None = None,
    memory: Memory | None = None,
) -> Prompts:
    """Checked prompts, moved to the right edge; ids (b n), mask (b n) with padding on either side, langs (b) or (b n)."""
    if tokens.dim() != 2:
        raise InputError(f"input_ids has shape {tuple(tokens.shape)}, expected (batch, length)")
    if not tokens.numel():
        raise InputError("the prompt is empty: give at least one token, such as the id of the start token")
    if mask is not None and mask.shape != tokens.shape:
        raise InputError(f"attention_mask has shape {tuple(mask.shape)}, expected {tuple(tokens.shape)}")
    padding = spec.embeddings.tables.tokens.padding
    if mask is None and spec.attention.infer_padding == "count" and padding is not None:
        mask = tokens != padding
    if langs is not None:
        if langs.shape not in (tokens.shape[:1], tokens.shape):
            raise InputError(f"langs has shape {tuple(langs.shape)}, expected (batch,) or (batch, length)")
        if langs.dim() == 2:
            if bool((langs != langs[:, :1]).any()):
                raise InputError("langs holds several languages in one row: a generated text has one language")
            langs = langs[:, 0]
    real = None if mask is None else _unless_all(mask > 0)
    if real is not None:
        tokens, real = _to_the_right(tokens, real)
    return Prompts(tokens, real, langs, encoder_states, encoder_mask, memory)


def _to_the_right(tokens: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
    counts = real.sum(1)
    if not bool(counts.all()):
        raise InputError(f"prompt {int((counts == 0).nonzero()[0])} is empty: its attention_mask keeps no token")
    columns = torch.arange(tokens.shape[1], device=tokens.device)
    last = torch.where(real, columns, -1).amax(1)
    if not torch.equal(real, (columns <= last[:, None]) & (columns > (last - counts)[:, None])):
        raise InputError(
            "attention_mask has a gap: the real tokens of a prompt stand together, padding before or after"
        )
    source = (columns + (last + 1)[:, None]) % tokens.shape[1]
    return tokens.gather(1, source), real.gather(1, source)


def groups(spec: Spec, prompts: Prompts) -> list[tuple[Tensor, Prompts]]:
    """Row numbers and prompts of each batch that can run together.

    Padding on the left leaves a row's answers alone where a rule hides it and nothing stands before it; else prompts of
    the same length run together.
    """
    if prompts.mask is None:
        return [(torch.arange(len(prompts.tokens), device=prompts.tokens.device), prompts)]
    zeros = isinstance(spec.memory, axes.Recurrent) and spec.memory.initial == "zeros" and bool(spec.memory.length)
    counted = isinstance(spec.position, axes.LearnedPosition | axes.SinusoidPosition)
    from_edge = counted and spec.position.count == "columns"  # type: ignore[union-attr]
    before = prompts.memory is not None and prompts.memory.length > 0
    if "padding" in spec.attention.mask and not (zeros or from_edge or before):
        return [(torch.arange(len(prompts.tokens), device=prompts.tokens.device), prompts)]
    lengths = prompts.mask.sum(1)
    result = []
    for length in lengths.unique().tolist():
        rows = (lengths == length).nonzero().squeeze(1)
        result.append((rows, prompts.select(rows, length)))
    return result


def room_for(spec: Spec) -> int | None:
    """How many positions a spec has, or None where length has no limit."""
    position = spec.position
    if isinstance(position, axes.RelativeKeyPosition):
        return position.size
    if isinstance(position, axes.LearnedPosition):
        padding = spec.embeddings.tables.tokens.padding or 0
        return position.size - (padding + 1 if position.start == "after_padding" else int(position.start))
    if isinstance(position, axes.SinusoidPosition) and position.size is not None:
        return position.size - position.start
    return None


def check_room(spec: Spec, prompts: Prompts, new: int) -> None:
    """Raise InputError where the prompt, or what is asked for after it, reaches past the last position."""
    size = room_for(spec)
    if size is None:
        return
    length = prompts.tokens.shape[1]
    if prompts.memory is not None:
        seen = prompts.memory.seen
        length += int(seen.max()) if isinstance(seen, Tensor) else seen
    if length > size:
        raise InputError(f"the prompt has {length} tokens but '{spec.name}' has {size} positions: shorten it")
    # The last new token is predicted, not read.
    if length + new - 1 > size:
        raise InputError(
            f"a prompt of {length} tokens and max_new_tokens {new} reach past the {size} positions of '{spec.name}': "
            f"ask for at most {size - length + 1} new tokens"
        )


def _unless_all(mask: Tensor) -> Tensor | None:
    return None if bool(mask.all()) else mask

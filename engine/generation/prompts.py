"""Prompts of unequal lengths: checked, moved to the right edge, and grouped where padding cannot be
hidden.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from engine.arguments import check_count, check_mask, read_ids, read_mask, read_tensor
from engine.errors import InputError
from engine.memory import Memory, check_memory
from engine.network.inputs import expect
from engine.network.output_layer import AdaptiveOutput, LinearOutput
from engine.spec import Spec, axes

if TYPE_CHECKING:
    from engine.model import Model


@dataclass(frozen=True)
class Prompts:
    """Texts (b n) that end together; `mask` (b n) is True for real tokens, None where all are.

    `langs` (b) is the language of each row; `encoder_states` (b s d) and `encoder_mask` are a
    decoder's encoder. `vectors` (b n d) stand in for the ids where they are given; the ids are not
    `named` where they are all there is.
    """

    tokens: Tensor
    mask: Tensor | None = None
    langs: Tensor | None = None
    encoder_states: Tensor | None = None
    encoder_mask: Tensor | None = None
    memory: Memory | None = None
    vectors: Tensor | None = None
    named: bool = True

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
            None if self.vectors is None else self.vectors[rows][:, -(length or 0) :],
            self.named,
        )


def output_layer(model: "Model") -> LinearOutput | AdaptiveOutput:
    """The map from states to tokens of the model's head (raises InputError where it has none)."""
    output = getattr(model.head, "output", None)
    if not isinstance(output, LinearOutput | AdaptiveOutput):
        name = model.spec.heads.default or "a bare backbone"
        raise InputError(
            f"predicting tokens needs a language-model head, such as causal_lm; this model has {name}"
        )
    return output


def mask_token(model: "Model", given: int | None) -> int:
    """The id that stands for a hidden token (raises InputError where neither the caller nor the
    spec knows it).
    """
    token = given if given is not None else model.spec.tokens.mask
    if token is None:
        raise InputError(
            f"'{model.spec.name}' does not say which id hides a token: give mask_token_id=tokenizer.mask_token_id"
        )
    check_count("mask_token_id", token, least=0)
    if token >= model.spec.dims.vocab:
        raise InputError(f"mask_token_id is {token}, outside 0 … {model.spec.dims.vocab - 1}")
    return token


def read_prompts(
    model: "Model",
    tokens: Any,
    mask: Any,
    langs: Any = None,
    encoder_states: Any = None,
    encoder_mask: Any = None,
    memory: Memory | None = None,
    vectors: Any = None,
) -> Prompts:
    """Checked prompts, moved to the right edge.

    Ids (b n) or `vectors` (b n d), mask (b n) with padding on either side, langs (b) or (b n).
    Raises InputError.
    """
    spec, device = model.spec, model.device
    tokens, vectors, named = _tokens(tokens, vectors, spec.embedding_width, device)
    mask = None if mask is None else read_mask("attention_mask", mask, device)
    expect("attention_mask", mask, tuple(tokens.shape))
    check_mask("attention_mask", mask)
    padding = spec.embeddings.tables.tokens.padding
    if mask is None and named and spec.attention.infer_padding == "count" and padding is not None:
        mask = tokens != padding
    if langs is not None:
        langs = read_ids("langs", langs, device)
        if langs.shape not in (tokens.shape[:1], tokens.shape):
            raise InputError(
                f"langs has shape {tuple(langs.shape)}, expected (batch,) or (batch, length)"
            )
        if langs.dim() == 2:
            if bool((langs != langs[:, :1]).any()):
                raise InputError(
                    "langs holds several languages in one row: a generated text has one language"
                )
            langs = langs[:, 0]
    if encoder_states is not None:
        encoder_states = read_tensor("encoder_hidden_states", encoder_states, device)
    if encoder_mask is not None:
        encoder_mask = read_mask("encoder_attention_mask", encoder_mask, device)
    check_encoder(spec, encoder_states, encoder_mask, len(tokens))
    if memory is not None:
        check_given_memory(spec, memory, len(tokens))
    real = None if mask is None else _unless_all(mask > 0)
    if real is not None:
        tokens, real, source = _to_the_right(tokens, real)
        if vectors is not None:
            vectors = vectors.gather(1, source[..., None].expand_as(vectors))
    return Prompts(tokens, real, langs, encoder_states, encoder_mask, memory, vectors, named)


def _tokens(
    tokens: Any, vectors: Any, width: int, device: torch.device
) -> tuple[Tensor, Tensor | None, bool]:
    """Ids (b n), 0 where only vectors (b n d) are given; these; and whether the ids are known."""
    if tokens is None and vectors is None:
        raise InputError("give prompts as input_ids or inputs_embeds")
    if vectors is not None:
        vectors = read_tensor("inputs_embeds", vectors, device)
        if vectors.dim() != 3 or vectors.shape[-1] != width:
            raise InputError(
                f"inputs_embeds has shape {tuple(vectors.shape)}, expected (batch, length, {width})"
            )
    named = tokens is not None
    if named:
        tokens = read_ids("input_ids", tokens, device)
    else:
        tokens = torch.zeros(vectors.shape[:2], dtype=torch.long, device=device)
    if tokens.dim() != 2:
        raise InputError(f"input_ids has shape {tuple(tokens.shape)}, expected (batch, length)")
    if vectors is not None and vectors.shape[:2] != tokens.shape:
        raise InputError(
            f"inputs_embeds has shape {tuple(vectors.shape)}, but input_ids {tuple(tokens.shape)}"
        )
    if not tokens.numel():
        raise InputError(
            "the prompt is empty: give at least one token, such as the id of the start token"
        )
    return tokens, vectors, named


def check_encoder(spec: Spec, states: Tensor | None, mask: Tensor | None, batch: int) -> None:
    """Raise InputError for states of an encoder (b s d) and their mask (b s) that do not go with a
    batch.
    """
    if states is None:  # a memory may hold what they became
        if mask is not None and (not spec.attention.cross or mask.dim() != 2 or len(mask) != batch):
            raise InputError(
                "encoder_attention_mask (batch, length) needs encoder_hidden_states, given here or held by memory"
            )
        return
    if not spec.attention.cross:
        raise InputError(
            "encoder_hidden_states needs cross-attention: this spec has attention.cross false"
        )
    count = states.shape[1] if states.dim() > 1 else 0
    expect("encoder_hidden_states", states, (batch, count, spec.dims.model))
    expect("encoder_attention_mask", mask, (batch, count))


def check_given_memory(spec: Spec, memory: object, batch: int) -> None:
    """Raise InputError for what is no memory of this network and batch."""
    if not isinstance(memory, Memory):
        raise InputError(
            f"memory is a {type(memory).__name__}, expected the Memory that a call gave"
        )
    if spec.memory.kind == "none":
        raise InputError("memory was given but this spec has memory.kind none")
    check_memory(spec, memory, batch)


def _to_the_right(tokens: Tensor, real: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Both with padding on the left, and which column each column was."""
    counts = real.sum(1)
    if not bool(counts.all()):
        raise InputError(
            f"prompt {int((counts == 0).nonzero()[0])} is empty: its attention_mask keeps no token"
        )
    columns = torch.arange(tokens.shape[1], device=tokens.device)
    last = torch.where(real, columns, -1).amax(1)
    if not torch.equal(real, (columns <= last[:, None]) & (columns > (last - counts)[:, None])):
        raise InputError(
            "attention_mask has a gap: the real tokens of a prompt stand together, padding before or after"
        )
    source = (columns + (last + 1)[:, None]) % tokens.shape[1]
    return tokens.gather(1, source), real.gather(1, source), source


def groups(spec: Spec, prompts: Prompts) -> list[tuple[Tensor, Prompts]]:
    """Row numbers and prompts of each batch that can run together.

    Padding on the left leaves a row's answers alone where a rule hides it and nothing stands before
    it; else prompts of the same length run together.
    """
    if prompts.mask is None:
        return [(torch.arange(len(prompts.tokens), device=prompts.tokens.device), prompts)]
    zeros = (
        isinstance(spec.memory, axes.Recurrent)
        and spec.memory.initial == "zeros"
        and bool(spec.memory.length)
    )
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
        return position.size - (
            padding + 1 if position.start == "after_padding" else int(position.start)
        )
    if isinstance(position, axes.SinusoidPosition) and position.size is not None:
        return position.size - position.start
    return None


def check_room(spec: Spec, prompts: Prompts, new: int) -> None:
    """Raise InputError where the prompt, or what is asked for after it, reaches past the last
    position.
    """
    size = room_for(spec)
    if size is None:
        return
    length = prompts.tokens.shape[1]
    if prompts.memory is not None:
        seen = prompts.memory.seen
        length += int(seen.max()) if isinstance(seen, Tensor) else seen
    if length > size:
        raise InputError(
            f"the prompt has {length} tokens but '{spec.name}' has {size} positions: shorten it"
        )
    # The last new token is predicted, not read.
    if length + new - 1 > size:
        raise InputError(
            f"a prompt of {length} tokens and max_new_tokens {new} reach past the {size} positions of '{spec.name}': "
            f"ask for at most {size - length + 1} new tokens"
        )


def _unless_all(mask: Tensor) -> Tensor | None:
    return None if bool(mask.all()) else mask

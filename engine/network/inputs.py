"""From the arguments of a call to checked tensors; an argument that the spec cannot honour is an
error.
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import get_args

import torch
from torch import Tensor

from engine.arguments import (
    check_finite,
    check_flag,
    check_keeps,
    check_mask,
    read_ids,
    read_mask,
    read_tensor,
    readable,
)
from engine.errors import InputError, nearest
from engine.memory import Form, Memory, check_is_memory, check_memory
from engine.network.positions import Position
from engine.spec import Spec


@dataclass(frozen=True)
class Padding:
    """What a call says of padding."""

    by_pair: Tensor | None = None
    """(b i j): True where a token may see a column."""
    real: Tensor | None = None
    """(b i): True for tokens of the call that are no padding."""
    remembered: Tensor | None = None
    """(b m): the same of remembered tokens, where the call speaks of them."""


@dataclass(frozen=True)
class Inputs:
    """The arguments of one call to the body; see `engine.model.Model.forward` for shapes and units."""

    input_ids: Tensor | None = None
    inputs_embeds: Tensor | None = None
    attention_mask: Tensor | None = None
    input_mask: Tensor | None = None
    token_type_ids: Tensor | None = None
    position_ids: Tensor | None = None
    langs: Tensor | None = None
    lengths: Tensor | None = None
    perm_mask: Tensor | None = None
    target_mapping: Tensor | None = None
    head_mask: Tensor | None = None
    cross_head_mask: Tensor | None = None
    encoder_hidden_states: Tensor | None = None
    encoder_attention_mask: Tensor | None = None
    memory: Memory | None = None
    use_memory: bool | Form | None = None
    output_hidden_states: bool = False
    output_attentions: bool = False

    @property
    def shape(self) -> tuple[int, int]:
        """Batch and length of the tokens."""
        given = self.input_ids if self.input_ids is not None else self.inputs_embeds
        assert given is not None
        return given.shape[0], given.shape[1]

    @property
    def ids(self) -> Tensor:
        """The ids of the tokens, where these are not given as vectors."""
        assert self.input_ids is not None
        return self.input_ids

    @property
    def device(self) -> torch.device:
        """Where the tokens are."""
        given = self.input_ids if self.input_ids is not None else self.inputs_embeds
        assert given is not None
        return given.device

    def padding(self, spec: Spec) -> Tensor | None:
        """True for real tokens (b i), or for visible pairs (b i j) as given; None where nothing
        says otherwise.
        """
        if self.attention_mask is not None:
            return self.attention_mask > 0
        if self.input_mask is not None:
            return self.input_mask == 0
        columns = torch.arange(self.shape[1], device=self.device)
        if self.lengths is not None:
            return columns < self.lengths[:, None]
        if spec.attention.infer_padding == "count" and self.input_ids is not None:
            return columns < self.input_ids.ne(spec.embeddings.tables.tokens.padding or 0).sum(
                1, keepdim=True
            )
        return None

    def read_padding(self, spec: Spec) -> Padding:
        """What is known of padding."""
        given, length = self.padding(spec), self.shape[1]
        if given is None:
            return Padding()
        if given.dim() == 3:
            return Padding(by_pair=given)
        remembered = given[:, :-length] if given.shape[1] > length else None
        return Padding(real=given[:, -length:], remembered=remembered)

    @property
    def ahead(self) -> int:
        """How many places after the tokens target_mapping reaches."""
        return 0 if self.target_mapping is None else self.target_mapping.shape[-1] - self.shape[1]

    def targets(self) -> Tensor | None:
        """The content position of each prediction (b p), -1 where a row of target_mapping is empty."""
        if self.target_mapping is None:
            return None
        mapping = _numbers(self.target_mapping)
        return torch.where(mapping.sum(-1) > 0, mapping.argmax(-1), -1)


IDS = ("input_ids", "token_type_ids", "position_ids", "langs", "lengths")
MASKS = (
    "attention_mask", "input_mask", "perm_mask", "target_mapping", "head_mask", "cross_head_mask",
    "encoder_attention_mask",
)  # fmt: skip
STATES = ("inputs_embeds", "encoder_hidden_states")
# What a spec may have no axis for.
AXES = (
    "token_type_ids", "langs", "position_ids", "perm_mask", "target_mapping",
    "encoder_hidden_states",
)  # fmt: skip
# What transformers calls otherwise, with what it is called here.
ELSEWHERE = {
    "past_key_values": "what earlier tokens left behind is memory=, the Memory of an earlier output",
    "past_key_value": "what earlier tokens left behind is memory=, the Memory of an earlier output",
    "mems": "what earlier tokens left behind is memory=, the Memory of an earlier output",
    "cache_params": "what earlier tokens left behind is memory=, the Memory of an earlier output",
    "cache": "what earlier tokens left behind is memory=, the Memory of an earlier output",
    "use_cache": "use_memory= says whether the output holds a memory",
    "use_mems": "use_memory= says whether the output holds a memory",
    "cache_position": "places follow from memory=, or from position_ids",
    "return_dict": "every output reads as a tuple too: output.to_tuple()",
    "num_logits_to_keep": "say logits_to_keep=",
    "decoder_input_ids": "say input_ids=, and encoder_hidden_states= for what they attend to",
    "masked_lm_labels": "say labels=",
    "lm_labels": "say labels=",
    "next_sentence_label": "no head predicts whether a sentence follows",
}
FLAGS = ("output_hidden_states", "output_attentions")
ARGUMENTS = tuple(field.name for field in fields(Inputs))


def read_inputs(inputs: Inputs, device: torch.device) -> Inputs:
    """The same call in tensors, ids as int64; raises InputError for what cannot be read in one way
    only.
    """
    changes: dict[str, Tensor] = {}
    for names, read in ((IDS, read_ids), (MASKS, read_mask), (STATES, read_tensor)):
        for name in names:
            given = getattr(inputs, name)
            if given is not None and not (isinstance(given, Tensor) and given.dtype == torch.int64):
                changes[name] = read(name, given, device)
    return replace(inputs, **changes)  # type: ignore[arg-type]


def unknown(name: str, taken: Iterable[str] | None, inputs: Inputs) -> InputError:
    """What to say of an argument that neither the body nor a head that has `taken` some takes
    (None: a bare body).
    """
    if name in ELSEWHERE:
        return InputError(f"a call takes no '{name}': {ELSEWHERE[name]}")
    if taken is None:
        names = ", ".join(vars(inputs))
        return InputError(f"a bare backbone takes no '{name}', which a head may; it takes {names}")
    return InputError(f"this head takes no '{name}'{nearest(name, taken, vars(inputs))}")


def says_nothing(name: str, given: object) -> bool:
    """Whether an argument of transformers asks for what happens anyway, as wrappers around models
    pass it on.
    """
    return name in ELSEWHERE and (given is None or (name == "return_dict" and given is True))


def _numbers(mapping: Tensor) -> Tensor:
    return mapping.long() if mapping.dtype == torch.bool else mapping


def check(spec: Spec, position: Position, inputs: Inputs, dtype: torch.dtype) -> None:
    """Raise InputError for the first argument that is malformed or that the spec has no axis for.

    `dtype` is that of the network's weights.
    """
    if (inputs.input_ids is None) == (inputs.inputs_embeds is None):
        raise InputError("give exactly one of input_ids and inputs_embeds")
    if inputs.memory is not None:
        check_is_memory(inputs.memory)
    for name in FLAGS:
        check_flag(name, getattr(inputs, name))
    _check_tokens(spec, position, inputs)
    given = {name for name in ARGUMENTS if getattr(inputs, name) is not None}
    if not given.isdisjoint(AXES):
        _check_axes(spec, position, inputs)
    if not given.isdisjoint((*STATES, "encoder_attention_mask")):
        _check_states(spec, inputs, dtype)
    if not given.isdisjoint((*MASKS, "lengths")):
        _check_masks(spec, inputs)
    if not given.isdisjoint(("memory", "use_memory")):
        _check_memory(spec, inputs)


def takes_mask(spec: Spec) -> bool:
    """Whether anything in the network of a spec reads which tokens are padding."""
    return "padding" in spec.attention.mask or spec.block.zero_padding


def in_range(name: str, ids: Tensor, limit: int, axis: str, ignored: int | None = None) -> None:
    """Raise InputError where ids leave [0, limit); `ignored` is let through. Skipped where values
    cannot be read.
    """
    if not readable(ids) or not ids.numel():
        return
    if ids.is_floating_point() or ids.dtype == torch.bool:
        raise InputError(f"{name} must hold integers, found {ids.dtype}")
    seen = ids if ignored is None else ids[ids != ignored]
    if seen.numel() and (int(seen.min()) < 0 or int(seen.max()) >= limit):
        worst = int(seen.min()) if int(seen.min()) < 0 else int(seen.max())
        raise InputError(f"{name} holds {worst}, outside 0 … {limit - 1} ({axis} is {limit})")


def expect(name: str, tensor: Tensor | None, *shapes: tuple[int, ...]) -> None:
    """Raise InputError where a tensor has none of these shapes."""
    if tensor is not None and not any(_same(tensor.shape, shape) for shape in shapes):
        allowed = " or ".join(str(shape) for shape in shapes)
        raise InputError(f"{name} has shape {tuple(tensor.shape)}, expected {allowed}")


def _same(found: torch.Size, expected: tuple[int, ...]) -> bool:
    """Whether shapes agree; sizes are compared only where there are as many, as a comparison binds
    symbols.
    """
    return len(found) == len(expected) and all(
        one == other for one, other in zip(found, expected, strict=True)
    )


def _check_tokens(spec: Spec, position: Position, inputs: Inputs) -> None:
    if inputs.input_ids is not None:
        if inputs.input_ids.dim() != 2:
            raise InputError(
                f"input_ids has shape {tuple(inputs.input_ids.shape)}, expected (batch, length)"
            )
        in_range("input_ids", inputs.input_ids, spec.dims.vocab, "dims.vocab")
    elif inputs.inputs_embeds is not None:
        if (
            inputs.inputs_embeds.dim() != 3
            or inputs.inputs_embeds.shape[-1] != spec.embedding_width
        ):
            raise InputError(
                f"inputs_embeds has shape {tuple(inputs.inputs_embeds.shape)}, expected (batch, length, {spec.embedding_width})"
            )
    if not inputs.shape[0] * inputs.shape[1]:
        raise InputError(f"the input is empty: batch {inputs.shape[0]}, length {inputs.shape[1]}")
    if position.mirrored and inputs.shape[0] % 2:
        raise InputError(
            "position.reversed_half mirrors half the batch and needs an even one, found "
            f"{inputs.shape[0]} rows"
        )


def check_vectors(name: str, given: Tensor | None, dtype: torch.dtype) -> None:
    """Raise InputError for vectors of another dtype than that of the network's weights."""
    if given is not None and not given.is_floating_point():
        raise InputError(f"{name} must hold floating-point numbers, found {given.dtype}")
    if (
        given is not None
        and given.dtype != dtype
        and not torch.is_autocast_enabled(given.device.type)
    ):
        raise InputError(
            f"{name} is {given.dtype}, the network's weights are {dtype}: cast one to the other"
        )


def _check_states(spec: Spec, inputs: Inputs, dtype: torch.dtype) -> None:
    """Vectors that the caller made: their dtype, and the shape of an encoder's."""
    batch, length = inputs.shape
    for name in ("inputs_embeds", "encoder_hidden_states"):
        check_vectors(name, getattr(inputs, name), dtype)
    states, mask = inputs.encoder_hidden_states, inputs.encoder_attention_mask
    if states is not None:
        expect(
            "encoder_hidden_states",
            states,
            (batch, states.shape[1] if states.dim() > 1 else 0, spec.dims.model),
        )
    if mask is not None:
        held = None if inputs.memory is None else inputs.memory.layers[0].cross_keys
        if held is not None:
            count = held.shape[2]
        elif states is not None:
            count = states.shape[1]
        else:
            raise InputError(
                "encoder_attention_mask needs encoder_hidden_states, given here or held by memory"
            )
        expect("encoder_attention_mask", mask, (batch, count), (batch, length, count))


def _check_axes(spec: Spec, position: Position, inputs: Inputs) -> None:
    tables = spec.embeddings.tables
    shape = inputs.shape
    if inputs.token_type_ids is not None:
        if tables.segments is None and "segment" not in spec.attention.score:
            raise InputError(
                "token_type_ids needs embeddings.tables.segments or the score term segment; this spec has neither"
            )
        expect("token_type_ids", inputs.token_type_ids, shape)
        if tables.segments is not None:
            limit = tables.segments.count or spec.dims.vocab
            in_range(
                "token_type_ids", inputs.token_type_ids, limit, "embeddings.tables.segments.count"
            )
    if inputs.langs is not None:
        languages = tables.languages
        if languages is None or not languages.embed or languages.count < 2:
            raise InputError(
                "langs needs embeddings.tables.languages with embed true and a count above 1"
            )
        expect("langs", inputs.langs, shape)
        in_range("langs", inputs.langs, languages.count, "embeddings.tables.languages.count")
    if inputs.position_ids is not None:
        if not position.takes_ids:
            raise InputError(
                "position_ids needs position.kind learned, sinusoid or rotary; this spec has "
                f"{spec.position.kind}"
            )
        expect("position_ids", inputs.position_ids, shape, (1, shape[1]))
        if position.rotates and inputs.memory is not None and not inputs.memory.projected:
            raise InputError(
                "position_ids turn keys, which a memory of hidden states makes anew from counted "
                "places: start with model.start_memory, which holds keys"
            )
    if not spec.two_streams:
        for name in ("perm_mask", "target_mapping"):
            if getattr(inputs, name) is not None:
                raise InputError(
                    f"{name} needs two streams: attention.mask has no rule permutation"
                )
    if inputs.encoder_hidden_states is not None and not spec.attention.cross:
        raise InputError(
            "encoder_hidden_states needs cross-attention: this spec has attention.cross false"
        )


def _check_masks(spec: Spec, inputs: Inputs) -> None:
    batch, length = inputs.shape
    remembered = inputs.memory.length if inputs.memory is not None else 0
    given = [
        name
        for name in ("attention_mask", "input_mask", "lengths")
        if getattr(inputs, name) is not None
    ]
    if len(given) > 1:
        raise InputError(
            f"give only one of attention_mask, input_mask and lengths, found {' and '.join(given)}"
        )
    if given and not takes_mask(spec):
        raise InputError(
            f"{given[0]} needs the mask rule padding; attention.mask has {list(spec.attention.mask)}"
        )
    pairs = ((batch, length, length), (batch, length, remembered + length))
    expect(
        "attention_mask",
        inputs.attention_mask,
        (batch, length),
        (batch, remembered + length),
        *pairs,
    )
    expect("input_mask", inputs.input_mask, (batch, length))
    expect("lengths", inputs.lengths, (batch,))
    if inputs.lengths is not None:
        in_range("lengths", inputs.lengths, length + 1, "the length of the input plus one")
    expect("perm_mask", inputs.perm_mask, (batch, length, length))
    check_mask("attention_mask", inputs.attention_mask)
    check_mask("input_mask", inputs.input_mask, "1 for padding and 0 for what is kept")
    check_mask("perm_mask", inputs.perm_mask, "1 where a token may not see another, else 0")
    check_mask("encoder_attention_mask", inputs.encoder_attention_mask)
    check_keeps("attention_mask", inputs.attention_mask)
    check_keeps("encoder_attention_mask", inputs.encoder_attention_mask)
    if inputs.target_mapping is not None:
        if inputs.target_mapping.dim() != 3:
            shape = tuple(inputs.target_mapping.shape)
            raise InputError(
                f"target_mapping has shape {shape}, expected (batch, predictions, length)"
            )
        places = max(length, inputs.target_mapping.shape[-1])
        expect(
            "target_mapping", inputs.target_mapping, (batch, inputs.target_mapping.shape[1], places)
        )
        if not inputs.target_mapping.shape[1]:
            raise InputError(
                "target_mapping has no rows: leave it out, or ask for at least one token"
            )
        if readable(inputs.target_mapping):
            mapping = _numbers(inputs.target_mapping)
            if bool((mapping * (mapping - 1)).any()) or bool((mapping.sum(-1) > 1).any()):
                raise InputError(
                    "each row of target_mapping is one-hot over the tokens, or all zero for no prediction"
                )
    dims = spec.dims
    expect("head_mask", inputs.head_mask, (dims.heads,), (dims.layers, dims.heads))
    expect("cross_head_mask", inputs.cross_head_mask, (dims.heads,), (dims.layers, dims.heads))
    check_finite("head_mask", inputs.head_mask)
    check_finite("cross_head_mask", inputs.cross_head_mask)


def _check_memory(spec: Spec, inputs: Inputs) -> None:
    memory = inputs.memory
    asked = inputs.use_memory
    forms = get_args(Form)
    if not (
        asked is None or isinstance(asked, bool) or (isinstance(asked, str) and asked in forms)
    ):
        allowed = " or ".join(f"'{form}'" for form in forms)
        raise InputError(f"use_memory is {asked!r}, expected True, False, None or {allowed}")
    if asked and spec.memory.kind == "none":
        raise InputError("use_memory needs a memory: this spec has memory.kind none")
    if memory is None:
        return
    if spec.memory.kind == "none":
        raise InputError("memory was given but this spec has memory.kind none")
    check_memory(spec, memory, inputs.shape[0])

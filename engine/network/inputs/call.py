"""What a call may give, and how it becomes tensors.

b batch, i tokens of the call, m remembered tokens, p predictions, d model width.
"""

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from engine.arguments import read_ids, read_mask, read_tensor
from engine.memory import Form, Memory
from engine.spec import Spec

IDS = ("input_ids", "token_type_ids", "position_ids", "langs", "lengths")
MASKS = (
    "attention_mask", "input_mask", "perm_mask", "target_mapping", "head_mask", "cross_head_mask",
    "encoder_attention_mask",
)  # fmt: skip
STATES = ("inputs_embeds", "encoder_hidden_states")
FLAGS = ("output_hidden_states", "output_attentions")
# What a spec may have no axis for.
AXES = (
    "token_type_ids", "langs", "position_ids", "perm_mask", "target_mapping",
    "encoder_hidden_states",
)  # fmt: skip


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
        mapping = numbers(self.target_mapping)
        return torch.where(mapping.sum(-1) > 0, mapping.argmax(-1), -1)


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


def numbers(mapping: Tensor) -> Tensor:
    """A mapping of truth values in integers, others as they are."""
    return mapping.long() if mapping.dtype == torch.bool else mapping

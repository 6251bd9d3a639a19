"""What a memory keeps: one class a kind of `spec.memory`, behind one interface.

b batch, i tokens of the call, m remembered tokens, d model width, g key/value heads, k head width.
"""

from dataclasses import replace

import torch
from torch import Tensor

from engine.errors import InputError
from engine.memory.layer import LayerMemory
from engine.memory.memory import Form, Keeps, Memory, later
from engine.spec import Spec, axes


class MemoryPolicy:
    """Nothing is kept (`memory.kind: none`), and the interface of all kinds."""

    recomputed = True
    """Whether a block that is computed again in the backward pass may leave something behind."""
    attends_padding = False
    """Whether remembered tokens are attended to, padding or not."""
    starts_full = False
    """Whether the first tokens attend to states before them, whose distance padding changes."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec

    def remembers(self, keeps: Keeps) -> bool:
        """Whether anything is left behind for later tokens."""
        return False

    def longest(self, keeps: Keeps) -> int | None:
        """How many tokens stay at most; None where there is no bound."""
        return None

    def entering(self, new: int, keeps: Keeps) -> int:
        """How many of `new` tokens enter: the next segment goes on behind the last of them."""
        return new

    def by_default(self, training: bool) -> bool:
        """Whether a call that does not say `use_memory` gives a memory."""
        memory = self.spec.memory
        if isinstance(memory, axes.NoMemory):
            return False
        return memory.train if training else memory.eval

    def form(self, past: Memory | None, given: Form | None, learns: bool, keys_stay: bool) -> Form:
        """As `given`, else hidden states while the network `learns`, and keys and values after.

        Hidden states let gradients reach the projections; keys and values are made once, where
        they stay the same (`keys_stay`). Raises InputError for a form that there is not.
        """
        raise NotImplementedError

    def start(self, batch: int, like: Tensor) -> Memory | None:
        """The memory before the first token, in the dtype and on the device of `like`, if any."""
        return None

    def remember(
        self, past: LayerMemory, entered: Tensor, made: LayerMemory, form: Form, keeps: Keeps
    ) -> LayerMemory:
        """What a block leaves, from its past, inputs (b i d), keys and values (b g m+i k)."""
        return made

    def mask_after(self, mask: Tensor, new: int, keeps: Keeps) -> Tensor:
        """The mask (b m+i) of remembered and `new` tokens for those that stay."""
        return mask


class KeysValues(MemoryPolicy):
    """Keys and values of all tokens so far."""

    recomputed = False

    def remembers(self, keeps: Keeps) -> bool:
        """Always."""
        return True

    def form(self, past: Memory | None, given: Form | None, learns: bool, keys_stay: bool) -> Form:
        """Keys and values."""
        if given == "hidden_states":
            raise _no_hidden_states(self.spec, past)
        if given == "keys_values" and not keys_stay:
            raise _no_keys()
        return "keys_values"


class Recurrent(MemoryPolicy):
    """The newest tokens, detached (Dai et al. 2019, 3.2)."""

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        assert isinstance(spec.memory, axes.Recurrent)
        self.axis = spec.memory
        self.attends_padding = spec.memory.padding == "attended"
        self.starts_full = spec.memory.initial == "zeros"

    def remembers(self, keeps: Keeps) -> bool:
        """Unless `memory.length` is 0."""
        return self.longest(keeps) != 0

    def longest(self, keeps: Keeps) -> int | None:
        """`memory.length`, but where memory stands for a whole text."""
        return None if keeps == "all" else self.axis.length

    def entering(self, new: int, keeps: Keeps) -> int:
        """The first `memory.reuse` of a segment, where the spec says so."""
        if keeps != "segments" or self.axis.reuse is None:
            return new
        return new - _larger(0, new - self.axis.reuse)

    def form(self, past: Memory | None, given: Form | None, learns: bool, keys_stay: bool) -> Form:
        """As in the interface; a memory that holds keys and values stays one."""
        held = past is not None and past.projected
        if given == "hidden_states" and held:
            raise _no_hidden_states(self.spec, past)
        if given == "keys_values" and not keys_stay:
            raise _no_keys()
        if held:
            return "keys_values"
        if given is None and (learns or not keys_stay):
            return "hidden_states"
        return given or "keys_values"

    def start(self, batch: int, like: Tensor) -> Memory | None:
        """Zero states where `memory.initial` says so."""
        length = self.axis.length
        if not self.starts_full or not length:
            return None
        shape = (batch, length, self.spec.dims.model)
        states = torch.zeros(shape, dtype=like.dtype, device=like.device)
        layers = tuple(LayerMemory(hidden=states) for _ in range(self.spec.dims.layers))
        return Memory(layers, length, spec=self.spec.name)

    def remember(
        self, past: LayerMemory, entered: Tensor, made: LayerMemory, form: Form, keeps: Keeps
    ) -> LayerMemory:
        """The newest inputs, or keys and values."""
        length, entering = self.longest(keeps), self.entering(entered.shape[1], keeps)
        if form == "hidden_states":
            hidden = entered[:, :entering]
            if past.hidden is not None:
                hidden = torch.cat((past.hidden, hidden), dim=1)
            kept = replace(made, hidden=_newest(hidden, length), keys=None, values=None)
            return kept.detach()
        # Of a segment whose first tokens alone enter, the last ones are cut off.
        stop = made.length - entered.shape[1] + entering
        start = 0 if length is None else _larger(0, stop - length)
        return made.between(start, stop).detach()

    def mask_after(self, mask: Tensor, new: int, keeps: Keeps) -> Tensor:
        """The mask of the newest."""
        stop = mask.shape[1] - new + self.entering(new, keeps)
        return _newest(mask[:, :stop], self.longest(keeps))


_KINDS = {"none": MemoryPolicy, "keys_values": KeysValues, "recurrent": Recurrent}


def memory_policy(spec: Spec) -> MemoryPolicy:
    """What the memory of a spec keeps."""
    return _KINDS[spec.memory.kind](spec)


def remembered_mask(past: Memory, real: Tensor | None, new: Tensor) -> Tensor | None:
    """True for real tokens among the remembered and the `new` ones (b i …), (b m+i).

    `real` (b i) is that of the new ones. None where nothing is known to be padding.
    """
    mask = past.mask
    if mask is None and real is None:
        return None
    batch, length = new.shape[0], new.shape[1]
    if mask is None:
        mask = torch.ones(batch, past.length, dtype=torch.bool, device=new.device)
    if real is None:
        real = torch.ones(batch, length, dtype=torch.bool, device=new.device)
    return torch.cat((mask, real), dim=1)


def memory_after(
    policy: MemoryPolicy,
    past: Memory | None,
    layers: tuple[LayerMemory, ...],
    *,
    mask: Tensor | None,
    new: int,
    seen: Tensor | int,
) -> Memory:
    """The memory after `new` tokens; `mask` (b m+i) covers the remembered and the new ones."""
    keeps: Keeps = "segments" if past is None else past.keeps
    if mask is not None:
        mask = policy.mask_after(mask, new, keeps)
    length, vacant = layers[0].length, None
    if past is not None and past.vacant is not None:
        vacant = later(past.vacant, past.length + policy.entering(new, keeps) - length)
    return Memory(layers, length, mask, seen, policy.spec.name, keeps, vacant)


def _larger(one: int, other: int) -> int:
    """The larger of two sizes, which an exporter may keep open."""
    if isinstance(one, int) and isinstance(other, int):
        return max(one, other)
    larger: int = torch.sym_max(one, other)
    return larger


def _newest(rows: Tensor, length: int | None) -> Tensor:
    """The last `length` of rows (b m …)."""
    if length is None:
        return rows
    start = _larger(0, rows.shape[1] - length)
    return rows.narrow(1, start, rows.shape[1] - start)


def _no_hidden_states(spec: Spec, past: Memory | None) -> InputError:
    owner = f"memory.kind {spec.memory.kind}"
    if past is not None and past.projected:
        owner = "the memory that was given"
    return InputError(f"use_memory asks for hidden_states, {owner} holds keys and values")


def _no_keys() -> InputError:
    return InputError(
        "use_memory asks for keys_values, which change with every token where position.kind is "
        "from_end"
    )

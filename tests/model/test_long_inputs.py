"""Long inputs: what attention holds grows with the length, and blocks of rows change no answer and
no gradient.
"""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from engine import Spec, build_model
from engine.kernels.tuning import tuned
from engine.laws.calls import answer, inputs_for
from engine.laws.compare import agree
from engine.spec.axes import Dropout
from tests.searching import examples
from tests.strategies import built, family, valid_specs

QUIET = {"dropout": dict.fromkeys(Dropout.model_fields, 0.0)}


def tiles_of(rows: int, at_once: int = 0) -> Any:
    """Tiles of so many rows, whose masks are made one by one where all take more than `at_once`
    bytes.
    """
    return tuned(tile_rows=rows, scores_at_once_bytes=at_once)


def learned(model: torch.nn.Module, call: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
    """The answer in training mode, and the gradients of a sum over it."""
    model.zero_grad(set_to_none=True)
    found = answer(model.train()(**call))
    torch.autograd.backward((found * torch.linspace(-1, 1, found.numel()).view(found.shape)).sum())
    return found, {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


@examples(30)
@given(valid_specs(), st.integers(0, 999), st.booleans(), st.booleans(), st.booleans())
def test_blocks_of_rows_change_nothing(
    spec: Spec, seed: int, padded: bool, targets: bool, again: bool
) -> None:
    """Blocks of three rows, their masks made one by one, forwards and backwards, kept or made
    again.
    """
    padded = padded and "padding" in spec.attention.mask
    two = spec.two_streams
    call = inputs_for(
        spec, length=8, seed=seed, padded=padded, targets=2 if targets and two else None
    )
    spec = spec.model_copy(update={"dropout": Dropout(**QUIET["dropout"])})
    model = built(spec, seed=seed)
    with tiles_of(10**6, 10**12):
        whole = answer(model(**call))
        expected, wanted = learned(model, call)
    model.gradient_checkpointing = again
    with tiles_of(3):
        agree(answer(model.eval()(**call)), whole, "answers", 1e-12)
        found, gradients = learned(model, call)
    agree(found, expected, "answers in training", 1e-12)
    largest = max(float(gradient.abs().max()) for gradient in wanted.values())
    for name, gradient in wanted.items():
        assert float((gradients[name] - gradient).abs().max()) <= 1e-11 * largest, name


def test_dropout_is_the_same_when_it_is_made_again() -> None:
    """The backward pass makes each block of rows again with the bits of the forward pass."""
    model = built(family("xlnet"))
    call = inputs_for(model.spec, length=9, seed=1)
    results = []
    for again in (False, True):
        model.gradient_checkpointing = again
        torch.manual_seed(3)
        with tiles_of(3):
            results.append(learned(model, call))
    (plain, wanted), (found, gradients) = results
    assert torch.equal(plain, found)
    agree([gradients[name] for name in wanted], list(wanted.values()), "gradients", 1e-12)


class Held(TorchDispatchMode):
    """The most bytes of tensors that were alive at once, beyond those made before, and the largest
    of them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.alive: dict[int, int] = {}
        self.now = self.most = self.largest = 0

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        known = {
            t.untyped_storage().data_ptr()
            for t in torch.utils._pytree.tree_leaves(args)
            if isinstance(t, Tensor)
        }
        result = function(*args, **(kwargs or {}))
        for tensor in torch.utils._pytree.tree_leaves(result):
            if isinstance(tensor, Tensor) and tensor.untyped_storage().data_ptr() not in known:
                self._note(tensor)
        return result

    def _note(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        size, key = storage.nbytes(), storage._cdata
        if key in self.alive:
            return
        self.alive[key] = size
        self.now += size
        self.most, self.largest = max(self.most, self.now), max(self.largest, size)

        def gone() -> None:
            self.now -= self.alive.pop(key, 0)

        torch.utils.weak.weakref.finalize(storage, gone)


def held(
    name: str, length: int, training: bool, heads: int = 2, /, **given: Any
) -> tuple[int, int]:
    """The most bytes that one pass holds at once, with its backward pass in training, and its
    largest tensor.
    """
    places = {"position.size": 2000} if name == "xlm-roberta-xl" else {}
    spec = family(
        name, **{"dims.model": 8, "dims.heads": heads, "dims.inner": 8, "dims.layers": 2}, **places
    )
    model = build_model(spec, None, seed=0).train(training)
    model.gradient_checkpointing = training
    ids = torch.randint(6, 40, (1, length))
    with Held() as memory, torch.set_grad_enabled(training):
        out = model(ids, use_memory=False, **given)
        if training:
            out.last_hidden_state.sum().backward()
    return memory.most, memory.largest


@pytest.mark.anywhere
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", ["xlnet", "transformer-xl", "xglm", "xlm-roberta-xl"])
def test_memory_grows_with_the_length(name: str, training: bool) -> None:
    """Four times the length takes about four times the memory; no tensor has an entry a pair of
    tokens.
    """
    with tiles_of(32):
        padded = {"attention_mask": torch.ones(1, 192)} if name in ("xlnet", "xglm") else {}
        longer = {key: torch.ones(1, 768) for key in padded}
        short, _ = held(name, 192, training, **padded)
        long, largest = held(name, 768, training, **longer)
    assert long < 6 * short, f"{long} bytes for four times the length of {short}"
    assert largest < 768 * 768


@pytest.mark.anywhere
def test_segments_and_padding_of_a_long_text() -> None:
    """XLNet with every argument that speaks of pairs, made from what is known of single tokens."""
    with tiles_of(32):
        given = {
            "token_type_ids": torch.arange(768)[None] // 600,
            "attention_mask": torch.arange(768)[None] > 9,
        }
        _, largest = held("xlnet", 768, True, **given)
    assert largest < 768 * 768


MEASURE = """
import sys
import torch
from tests.model.test_long_inputs import held, resident
torch.set_num_threads(1)
held("xlnet", 64, True)
before = resident()
most, _ = held("xlnet", int(sys.argv[1]), True, 8)
print(most, resident() - before)
"""


def resident() -> int:
    """The most memory of this process so far, in bytes."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@pytest.mark.anywhere
@pytest.mark.skipif(sys.platform != "linux", reason="counts in kibibytes, and glibc keeps memory")
def test_freed_buffers_go_back_to_the_system() -> None:
    """Kept in pieces, they come to ten times the memory of the tensors."""
    command = [sys.executable, "-c", MEASURE, "1000"]
    ended = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2]
    )
    assert ended.returncode == 0, ended.stderr
    most, grown = map(int, ended.stdout.split())
    assert most > 20 * 2**20
    assert grown < 1.5 * most + 40 * 2**20, (
        f"{grown / 2**20:.0f} MiB for tensors of {most / 2**20:.0f} MiB"
    )

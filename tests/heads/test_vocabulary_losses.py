"""A loss over a large vocabulary has the gradients of the plain one, without the scores of all
tokens at once.
"""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from engine import Spec
from engine.kernels import losses
from engine.kernels.tuning import tuned
from engine.laws.calls import inputs_for
from engine.laws.compare import agree
from heads.language_modeling import LanguageModelHead
from tests.searching import examples
from tests.strategies import built, family, valid_specs


@pytest.fixture
def sliced() -> Iterator[None]:
    """Slices of a few tokens."""
    with tuned(kept_score_bytes=0, score_slice_bytes=1, score_slice_tokens=7):
        yield


def plain(logits: Tensor, labels: Tensor, shifted: bool, log_probabilities: bool) -> Tensor:
    """Mean loss of labels under whole logits, as the literature writes it."""
    logits, labels = (logits[:, :-1], labels[:, 1:]) if shifted else (logits, labels)
    chosen = labels != -100
    found = logits if log_probabilities else logits.log_softmax(-1)
    picked = found.gather(-1, labels.clamp(min=0)[..., None]).squeeze(-1)
    return -(picked * chosen).sum() / chosen.sum().clamp(min=1)


def gradients(model: torch.nn.Module, loss: Tensor) -> dict[str, Tensor]:
    model.zero_grad(set_to_none=True)
    torch.autograd.backward(loss)
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def check(spec: Spec, seed: int, ignored: float) -> None:
    model = built(spec, seed=seed)
    call = inputs_for(spec, batch=2, length=6, seed=seed)
    logits = model(**call).logits
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, spec.dims.vocab, logits.shape[:2], generator=generator)
    labels[torch.rand(labels.shape, generator=generator) < ignored] = -100
    assert isinstance(model.head, LanguageModelHead)
    adaptive = model.head.output.is_log_probability
    expected = plain(logits, labels, model.head.shifted, adaptive)
    wanted = gradients(model, expected)
    ours = model(**call, labels=labels, output_logits=False)
    assert ours.logits is None and ours.loss.dtype == torch.float64
    agree(ours.loss, expected, "loss", 1e-12)
    found = gradients(model, ours.loss)
    largest = max(float(gradient.abs().max()) for gradient in wanted.values())
    for name, gradient in wanted.items():
        other = found.get(name, torch.zeros_like(gradient))
        assert float((other - gradient).abs().max()) <= 1e-12 * max(largest, 1e-300), name
    beside = model(**call, labels=labels, output_logits=True)
    agree(beside.loss, expected, "loss beside logits", 1e-12)
    agree(beside.losses, ours.losses, "losses", 1e-12)
    assert torch.equal(beside.logits, logits)
    found = gradients(model, beside.loss)
    for name, gradient in wanted.items():
        other = found.get(name, torch.zeros_like(gradient))
        assert float((other - gradient).abs().max()) <= 1e-12 * max(largest, 1e-300), name


@examples(15)
@given(valid_specs(head="masked_lm"), st.integers(0, 99), st.sampled_from((0.0, 0.5, 1.0)))
def test_random_specs(spec: Spec, seed: int, ignored: float) -> None:
    with tuned(kept_score_bytes=0, score_slice_bytes=1, score_slice_tokens=7):
        check(spec, seed, ignored)


@pytest.mark.parametrize("name", ["xlnet", "xlm", "xlm-roberta-xl", "transformer-xl", "xglm"])
def test_families(name: str, sliced: Any) -> None:
    check(family(name), 3, 0.5)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-6), (torch.bfloat16, 2e-2)]
)
def test_every_row_may_weigh_differently(
    dtype: torch.dtype, tolerance: float, bias: bool, sliced: Any
) -> None:
    generator = torch.Generator().manual_seed(0)
    shapes = [(9, 8), (50, 8), (50,)]
    given = [torch.randn(shape, generator=generator).to(dtype).requires_grad_() for shape in shapes]
    given = given if bias else given[:2]
    labels = torch.randint(0, 50, (9,), generator=generator)
    weights = torch.randn(9, generator=generator)
    ours = losses.token_losses(given[0], given[1], given[2] if bias else None, labels)
    exact = [tensor.detach().double().requires_grad_() for tensor in given]
    scores = exact[0] @ exact[1].t() + (exact[2] if bias else 0)
    expected = torch.nn.functional.cross_entropy(scores, labels, reduction="none")
    agree(ours.double(), expected, "losses", tolerance)
    found = torch.autograd.grad((ours * weights).sum(), given)
    wanted = torch.autograd.grad((expected * weights).sum(), exact)
    assert [gradient.dtype for gradient in found] == [dtype] * len(given)
    agree([gradient.double() for gradient in found], list(wanted), "gradients", tolerance)


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-6), (torch.bfloat16, 2e-2)]
)
def test_losses_of_scores_that_are_there(dtype: torch.dtype, tolerance: float, sliced: Any) -> None:
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(9, 50, generator=generator).to(dtype).requires_grad_()
    labels, weights = (
        torch.randint(0, 50, (9,), generator=generator),
        torch.randn(9, generator=generator),
    )
    labels[4] = -100
    exact = scores.detach().double().requires_grad_()
    ours = losses.score_losses(scores, labels)
    expected = torch.nn.functional.cross_entropy(exact, labels, reduction="none")
    agree(ours.double(), expected, "losses", tolerance)
    (found,), (wanted,) = (
        torch.autograd.grad((losses * weights).sum(), of)
        for losses, of in ((ours, (scores,)), (expected, (exact,)))
    )
    assert found.dtype == dtype
    agree(found.double(), wanted, "gradients", tolerance)


class Held(TorchDispatchMode):
    """Counts the operations that make a tensor of at least `size` entries of its own."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size, self.seen = size, set[int]()

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        for tensor in torch.utils._pytree.tree_leaves(result):
            if (
                isinstance(tensor, Tensor)
                and tensor.untyped_storage().nbytes() >= self.size * tensor.element_size()
            ):
                self.seen.add(tensor.untyped_storage().data_ptr())
        return result


def test_scores_that_are_there_are_copied_for_their_gradient_alone() -> None:
    scores, labels = torch.randn(64, 3000, requires_grad=True), torch.arange(64)
    with tuned(kept_score_bytes=0, score_slice_bytes=2**14), Held(scores.numel()) as held:
        losses.score_losses(scores, labels).sum().backward()
    assert len(held.seen - {scores.data_ptr()}) == 1


def test_mixed_precision(sliced: Any) -> None:
    """Under autocast the products are those of bfloat16 and gradients stay float32."""
    states, weight = torch.randn(9, 8, requires_grad=True), torch.randn(50, 8, requires_grad=True)
    labels = torch.arange(9)
    with torch.autocast("cpu", torch.bfloat16):
        ours = losses.token_losses(states, weight, None, labels)
        with tuned(kept_score_bytes=10**9):
            expected = losses.token_losses(states, weight, None, labels)
    agree(ours, expected, "losses", 1e-6)
    found, wanted = (
        torch.autograd.grad(losses.sum(), (states, weight)) for losses in (ours, expected)
    )
    assert found[0].dtype == found[1].dtype == torch.float32
    agree(found, wanted, "gradients", 2e-2)


class Largest(TorchDispatchMode):
    """Notes the largest tensor that any operation makes."""

    def __init__(self) -> None:
        super().__init__()
        self.size = 0

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        for tensor in torch.utils._pytree.tree_leaves(result):
            if isinstance(tensor, Tensor):
                self.size = max(
                    self.size, tensor.untyped_storage().nbytes() // tensor.element_size()
                )
        return result


def test_scores_of_all_tokens_are_never_there_at_once() -> None:
    """2 × 48 places over 3,000 tokens: forward and backward hold far fewer than 288,000 scores;
    logits hold them.
    """
    model = built(family("xglm", **{"dims.vocab": 3000}), dtype=torch.float32).train()
    ids = torch.randint(2, 3000, (2, 48))
    table = 3000 * 16
    for wanted, most in ((False, table + 1), (True, 10**9)):
        with tuned(kept_score_bytes=2**16, score_slice_bytes=2**16), Largest() as largest:
            model(ids, labels=ids, output_logits=wanted).loss.backward()
        assert largest.size < most
        assert (largest.size >= ids.numel() * 3000) is wanted


def test_only_labelled_places_are_scored(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = []

    def counted(states: Tensor, *others: Any) -> Tensor:
        rows.append(len(states))
        return losses.token_losses(states, *others)

    monkeypatch.setattr("engine.network.output_layer.token_losses", counted)
    model = built(family("xlm"))
    ids = torch.randint(4, 40, (2, 10))
    labels = torch.full_like(ids, -100)
    labels[0, 3], labels[1, 7] = 5, 6
    model(ids, labels=labels, output_logits=False)
    assert rows == [2]

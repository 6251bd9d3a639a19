"""PyTorch's tools see plain linear layers, and kernels step aside for whatever watches or
transforms them.
"""

import copy
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from engine import Model
from engine.kernels.dropout import dropout
from engine.kernels.linear import build_linear, linear, linear_gelu, onednn_forms
from engine.kernels.losses import score_losses, token_losses
from engine.kernels.norms import rms_norm
from engine.kernels.tuning import tuned
from engine.laws.calls import answer, inputs_for
from engine.laws.compare import agree
from tests.strategies import FAMILIES, built, family


@pytest.fixture(autouse=True)
def eager_kernels() -> Iterator[None]:
    """The fast ways are taken whatever the size and processor, so that a test sees them step aside."""
    with tuned(
        onednn=True,
        onednn_multiplications=0,
        onednn_multiplications_with_one_thread=0,
        onednn_rows=0,
        onednn_rows_with_one_thread=0,
        fused_gelu=True,
        kept_score_bytes=0,
        score_slice_bytes=1,
        score_slice_tokens=7,
    ):
        yield


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def layer_of(inputs: int, outputs: int) -> nn.Linear:
    layer = build_linear(inputs, outputs).requires_grad_(False)
    layer.weight.copy_(drawn(outputs, inputs, seed=3) * 0.3)
    layer.bias.copy_(drawn(outputs, seed=4))
    return layer.requires_grad_()


class Wrapped(nn.Module):
    """A low-rank addition as people write it by hand."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.base = base
        self.down, self.up = (
            nn.Linear(base.in_features, 2, bias=False),
            nn.Linear(2, base.out_features, bias=False),
        )

    def forward(self, states: Tensor) -> Tensor:
        found: Tensor = self.base(states) + self.up(self.down(states))
        return found

    def merged(self) -> nn.Linear:
        layer = copy.deepcopy(self.base)
        layer.weight.data += self.up.weight @ self.down.weight
        return layer


def linear_layers(model: nn.Module) -> list[str]:
    return [name for name, module in model.named_modules() if type(module) is nn.Linear]


@pytest.mark.parametrize("weighted", [True, False])
def test_norms_of_few_operators_are_those_of_torch(weighted: bool) -> None:
    states, weight = drawn(2, 3, 17).double(), drawn(17, seed=1).double() if weighted else None
    expected = functional.rms_norm(states, (17,), weight, 1e-3)
    with torch.no_grad():
        found = rms_norm(states, weight, 1e-3)
        assert not torch.equal(found, states)
        agree(found, expected, "norms", 1e-14)
    taken = states.requires_grad_()
    agree(rms_norm(taken, weight, 1e-3), expected, "norms with gradients", 1e-14)


def told(model: Model) -> Tensor:
    return answer(model(**inputs_for(model.spec, dtype=torch.float32)))


@pytest.mark.parametrize("name", FAMILIES)
def test_every_linear_layer_may_be_wrapped(name: str) -> None:
    live = built(family(name), dtype=torch.float32).eval()
    merged = copy.deepcopy(live)
    names = linear_layers(live.blocks)
    assert any(path.endswith("feed_forward.up") for path in names)
    for path in names:
        wrapper = Wrapped(live.blocks.get_submodule(path))  # type: ignore[arg-type]
        live.blocks.set_submodule(path, wrapper)
        merged.blocks.set_submodule(path, wrapper.merged())
    with torch.no_grad():
        agree(told(live), told(merged), "answer", 1e-5)


@pytest.mark.anywhere
@pytest.mark.parametrize("name", FAMILIES)
def test_peft_on_every_linear_layer(name: str) -> None:
    peft = pytest.importorskip("peft")
    plain = built(family(name), dtype=torch.float32).eval()
    names = [path for path in linear_layers(plain) if path.startswith("blocks.")]
    model = peft.inject_adapter_in_model(
        peft.LoraConfig(target_modules=names, init_lora_weights=False, r=2), copy.deepcopy(plain)
    ).eval()
    with torch.no_grad():
        live = told(model)
        assert float((live - told(plain)).abs().max()) > 1e-3
        for module in model.modules():
            if isinstance(module, peft.tuners.lora.LoraLayer):
                module.merge()
        agree(told(model), live, "answer after merging", 1e-5)


@pytest.mark.parametrize("name", FAMILIES)
def test_hooks_see_the_product(name: str) -> None:
    model = built(family(name), dtype=torch.float32).eval()
    layers = {path: layer for path, layer in model.named_modules() if type(layer) is nn.Linear}
    seen: dict[str, tuple[Tensor, Tensor]] = {}
    with torch.no_grad():
        expected = told(model)
        for path, layer in layers.items():
            layer.register_forward_hook(
                lambda _, given, found, path=path: seen.update({path: (given[0], found)})
            )
        agree(told(model), expected, "answer under hooks", 1e-5)
    assert {path for path in layers if path.startswith("blocks.")} <= set(seen)
    for path, (given, found) in seen.items():
        agree(found, functional.linear(given, layers[path].weight, layers[path].bias), path, 1e-5)


def test_backward_hooks_replaced_forwards_and_global_hooks_are_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    layer, states, seen = layer_of(8, 8), drawn(3, 8), []
    handle = layer.register_full_backward_hook(lambda *_: seen.append("backward"))
    linear(layer, states.requires_grad_()).sum().backward()
    handle.remove()
    handle = nn.modules.module.register_module_forward_hook(lambda *_: seen.append("global"))
    linear_gelu(layer, states)
    handle.remove()
    monkeypatch.setattr(layer, "forward", lambda given: given * 0)
    assert not linear(layer, states).any() and seen == ["backward", "global"]


@pytest.mark.parametrize("name", FAMILIES)
def test_dynamic_quantization_replaces_every_linear_layer(name: str) -> None:
    model = built(family(name), dtype=torch.float32).eval()
    if not torch.backends.quantized.supported_engines[1:]:
        pytest.skip("no engine for quantized products in this build")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        small = torch.ao.quantization.quantize_dynamic(model, {nn.Linear})
        with torch.no_grad():
            near, exact = told(small), told(model)
    assert linear_layers(model) and not linear_layers(small)
    assert 0 < float((near - exact).abs().max()) < 0.2 * float(exact.abs().max())


def multiplications(model: Model) -> int:
    """Those of the layers' products: by hooks, one of each row, input and output."""
    found: list[int] = []

    def count(layer: nn.Module, given: Any, made: Tensor) -> None:
        assert isinstance(layer, nn.Linear)
        found.append(given[0].numel() * layer.out_features)

    handles = [
        layer.register_forward_hook(count) for layer in model.modules() if type(layer) is nn.Linear
    ]
    with torch.no_grad():
        told(model)
    for handle in handles:
        handle.remove()
    return sum(found)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("prepacked", [False, True])
def test_operations_are_counted(name: str, prepacked: bool) -> None:
    """As many as those of the layers of torch.nn, attention and output beside them; forward and
    backward.
    """
    model = built(family(name), dtype=torch.float32).eval()
    hooked = copy.deepcopy(model)
    for layer in hooked.modules():
        if type(layer) is nn.Linear:
            layer.register_forward_hook(lambda *_: None)  # which takes the layer's own forward
    if prepacked and {"plain", "reordered"} <= onednn_forms(torch.float32):
        model.prepack()
    counts = []
    for one in (model, hooked):
        with FlopCounterMode(display=False) as counter:
            told(one).sum().backward()
        counts.append(counter.get_total_flops())
    assert counts[0] == counts[1] > 2 * multiplications(hooked) > 0
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        told(model)
    assert counter.get_total_flops() > 2 * multiplications(hooked)


LAYER, TABLE, BIAS = layer_of(8, 8).requires_grad_(False), drawn(20, 8, seed=1), drawn(20, seed=2)


def kernels(states: Tensor) -> Tensor:
    """States (n 8) through every kernel, to losses (n)."""
    labels = torch.arange(len(states))
    inner = linear(LAYER, linear_gelu(LAYER, states))
    return token_losses(inner, TABLE, BIAS, labels) + score_losses(inner @ TABLE.t(), labels)


def reference(states: Tensor) -> Tensor:
    """The same by PyTorch's own functions."""
    labels = torch.arange(len(states))
    inner = LAYER(functional.gelu(LAYER(states)))
    losses = functional.cross_entropy(inner @ TABLE.t() + BIAS, labels, reduction="none")
    return losses + functional.cross_entropy(inner @ TABLE.t(), labels, reduction="none")


def one_row(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    return lambda row: function(row[None]).sum()


def jacobian_product(function: Callable[[Tensor], Tensor], states: Tensor) -> Tensor:
    with forward_ad.dual_level():
        found = forward_ad.unpack_dual(
            function(forward_ad.make_dual(states, torch.ones_like(states)))
        ).tangent
    assert found is not None
    return found


TRANSFORMS: dict[str, Callable[[Callable[[Tensor], Tensor], Tensor], Any]] = {
    "value": lambda function, states: function(states),
    "gradient": lambda function, states: torch.autograd.grad(
        function(leaf := grown(states)).sum(), leaf
    )[0],
    "func.grad": lambda function, states: torch.func.grad(lambda given: function(given).sum())(
        states
    ),
    "func.jvp": lambda function, states: torch.func.jvp(
        function, (states,), (torch.ones_like(states),)
    )[1],
    "func.hessian": lambda function, states: torch.func.hessian(
        lambda given: function(given).sum()
    )(states[:2]),
    "func.vmap": lambda function, states: torch.func.vmap(one_row(function))(states),
    "gradients by row": lambda function, states: torch.func.vmap(
        torch.func.grad(one_row(function))
    )(states),
    "forward mode": jacobian_product,
    "second derivatives": lambda function, states: torch.autograd.functional.hessian(
        lambda given: function(given).sum(), states[:2]
    ),
    "second derivatives at once": lambda function, states: torch.autograd.functional.hessian(
        lambda given: function(given).sum(), states[:2], vectorize=True
    ),
    "jit.trace": lambda function, states: torch.jit.trace(function, states)(states * 0.5),
}


def grown(states: Tensor) -> Tensor:
    return states.clone().requires_grad_()


@pytest.mark.parametrize("name", TRANSFORMS)
def test_kernels_are_transformed_like_their_definitions(name: str) -> None:
    states = drawn(5, 8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found, expected = (TRANSFORMS[name](function, states) for function in (kernels, reference))
    agree(found, expected, name, 2e-5)
    if name != "value":
        assert bool(expected.abs().max() > 1e-3)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_gradient_for_each_text(name: str) -> None:
    """As for clipping by text, through the feed-forward of each family."""
    model = built(family(name), dtype=torch.float32).eval()
    feed_forward = model.get_submodule("blocks.0.feed_forward")
    weights: dict[str, Tensor] = dict(feed_forward.named_parameters())
    states = drawn(3, 4, model.spec.dims.model)

    def loss(given: dict[str, Tensor], text: Tensor) -> Tensor:
        fed: Tensor = torch.func.functional_call(feed_forward, given, (text[None],))
        return fed.square().sum()

    gradients = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(weights, states)
    for index, text in enumerate(states):
        expected = torch.autograd.grad(loss(weights, text), list(weights.values()))
        agree(
            [gradient[index] for gradient in gradients.values()], list(expected), "gradients", 1e-5
        )


def test_dropout_is_transformed() -> None:
    """Other entries vanish in each row of vmap; forward-mode and second derivatives fall where
    entries stay.
    """
    states = drawn(4, 1000)
    found = torch.func.vmap(lambda row: dropout(row, 0.5), randomness="different")(states)
    assert (
        not torch.equal(found[0] == 0, found[1] == 0)
        and 0.4 < float((found == 0).double().mean()) < 0.6
    )
    made: list[Tensor] = []
    tangent = jacobian_product(lambda given: made.append(dropout(given, 0.5)) or made[0], states)  # type: ignore[func-returns-value]
    assert torch.equal(tangent == 0, made[0] == 0)
    traced = torch.jit.trace(lambda given: dropout(given, 0.5), states, check_trace=False)
    assert not torch.equal(traced(states) == 0, traced(states) == 0), "a trace draws anew"


@pytest.mark.parametrize("learning", ["states", "weight", "bias"])
@pytest.mark.parametrize("gelu", [False, True])
def test_whatever_alone_learns_gets_its_gradient(learning: str, gelu: bool) -> None:
    """Of states, weight and bias, as where a fine-tuning learns biases and nothing else."""
    layer, states = layer_of(16, 24), drawn(5, 16)
    parts = {"states": states, "weight": layer.weight, "bias": layer.bias}
    for name, tensor in parts.items():
        tensor.requires_grad_(name == learning)
    found = (linear_gelu if gelu else linear)(layer, states)
    plain = functional.linear(states, layer.weight, layer.bias)
    expected = functional.gelu(plain) if gelu else plain
    agree(found, expected, "values", 1e-5)
    got, wanted = (torch.autograd.grad(out.sum(), parts[learning])[0] for out in (found, expected))
    agree(got, wanted, f"gradient of the {learning}", 1e-5)

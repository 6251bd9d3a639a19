"""Prepacked weights: the same answers from a second layout, which is given up as soon as a weight
is another.
"""

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from engine import InputError, Model, load_model, save_model
from engine.kernels.linear import build_linear, linear, linear_gelu, onednn_forms
from engine.kernels.reordered import reorder, reordered
from engine.kernels.tuning import tuned
from engine.laws.calls import answer, inputs_for
from engine.laws.compare import agree
from engine.memory.layer import DistanceKeys
from tests.strategies import FAMILIES, built, family

DISTANCES = "blocks.0.attention.scores.projection.weight"

if not torch.backends.mkldnn.is_available():
    pytest.skip("this processor has no oneDNN", allow_module_level=True)


def pair(name: str, dtype: torch.dtype = torch.float32) -> tuple[Model, Model]:
    """A toy network, and a prepacked copy of it."""
    plain = built(family(name), dtype=dtype).eval()
    return plain, copy.deepcopy(plain).prepack()


def told(model: Model, inputs: dict[str, Any]) -> Tensor:
    return answer(model(**inputs))


def packed(model: nn.Module) -> list[str]:
    return [name for name, weight in model.named_parameters() if reordered(weight) is not None]


@pytest.mark.parametrize("name", FAMILIES)
def test_answers_are_those_of_plain_weights(name: str) -> None:
    plain, fast = pair(name)
    layers = [
        f"{path}.weight" for path, layer in fast.named_modules() if isinstance(layer, nn.Linear)
    ]
    assert layers and set(layers) <= set(packed(fast)) and not packed(plain)
    inputs = inputs_for(plain.spec, dtype=torch.float32)
    with torch.no_grad():
        agree(told(fast, inputs), told(plain, inputs), "answer", 1e-5)


@pytest.mark.parametrize("rows", [0, 1, 2, 3, 40])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(48, 64), (64, 48)])
def test_a_layer_reads_its_blocks(rows: int, dtype: torch.dtype, shape: tuple[int, int]) -> None:
    """Shown by blocks of another weight; a lone row in float32, and two that do not narrow, read
    plain rows.
    """
    draw = torch.Generator().manual_seed(0)
    layer, other = (build_linear(*shape).to(dtype).requires_grad_(False) for _ in range(2))
    for one in (layer, other):
        one.weight.copy_(torch.randn(one.weight.shape, generator=draw))
        one.bias.copy_(torch.randn(one.bias.shape, generator=draw))
    states = torch.randn(rows, shape[0], generator=draw).to(dtype)
    expected = states.double() @ layer.weight.double().t() + layer.bias.double()
    if not {"plain", "reordered"} <= onednn_forms(dtype):
        pytest.skip("oneDNN has no such product here")
    reorder([layer.weight, other.weight])
    tolerance = 1e-5 if dtype == torch.float32 else 2e-2
    with tuned(onednn_multiplications=0, onednn_multiplications_with_one_thread=0, fused_gelu=True):
        agree(linear(layer, states).double(), expected, "product", tolerance)
        agree(
            linear_gelu(layer, states).double(),
            nn.functional.gelu(expected),
            "product and GELU",
            tolerance,
        )
    known, foreign = reordered(layer.weight), reordered(other.weight)
    assert known is not None and foreign is not None
    known.blocks = foreign.blocks
    swapped = states.double() @ other.weight.double().t() + layer.bias.double()
    plain = (rows == 1 and dtype == torch.float32) or (rows == 2 and shape[0] <= shape[1])
    with tuned(onednn_multiplications=0, onednn_multiplications_with_one_thread=0):
        agree(
            linear(layer, states).double(),
            expected if plain else swapped,
            "product of what is read",
            tolerance,
        )


def use_an_address_again(weight: nn.Parameter) -> None:
    for factor in (2.0, 0.75, 3.0, 0.5):
        weight.data = weight.data * factor


def draw_from_a_vector(weight: nn.Parameter) -> None:
    for _ in range(2):
        nn.utils.vector_to_parameters(torch.randn(weight.numel()), [weight])


@pytest.mark.parametrize(
    "change",
    [
        lambda weight: weight.mul_(2),
        lambda weight: weight.__setitem__((0, 0), 7.0),
        lambda weight: setattr(weight, "data", weight.data * 2),
        use_an_address_again,
        draw_from_a_vector,
    ],
    ids=["in place", "an entry", "other data", "an address used again", "from a vector"],
)
def test_a_changed_weight_is_read_plainly_until_the_next_call(change: Any) -> None:
    plain, fast = pair("xlnet")
    inputs = inputs_for(plain.spec, dtype=torch.float32)
    with torch.no_grad():
        for model in (plain, fast):
            torch.manual_seed(0)
            change(model.blocks[0].feed_forward.up.weight)
        agree(told(fast, inputs), told(plain, inputs), "answer", 1e-5)
    name = "blocks.0.feed_forward.up.weight"
    assert name not in packed(fast) and name in packed(fast.prepack())


def test_loading_weights_and_training_give_blocks_up() -> None:
    plain, fast = pair("xglm")
    other = built(family("xglm"), dtype=torch.float32).eval()
    fast.load_state_dict(other.state_dict())
    inputs = inputs_for(plain.spec, dtype=torch.float32)
    with torch.no_grad():
        agree(told(fast, inputs), told(other, inputs), "answer", 1e-5)
    assert packed(fast.prepack())
    with torch.no_grad():
        for model in (fast, other):
            for weight in model.parameters():
                weight.data.mul_(1.5)  # unseen, so that prepack() must begin anew
        agree(told(fast.prepack(), inputs), told(other, inputs), "answer", 1e-5)
    assert not packed(fast.train())
    with pytest.raises(InputError, match=r"call eval\(\) first"):
        fast.prepack()


def test_copies_and_pickles_are_plain() -> None:
    plain, fast = pair("xlm")
    inputs = inputs_for(plain.spec, dtype=torch.float32)
    for copied in (copy.deepcopy(fast), pickle.loads(pickle.dumps(fast))):
        assert not packed(copied)
        with torch.no_grad():
            agree(told(copied, inputs), told(plain, inputs), "answer", 0)


def test_files_of_the_parameters_are_plain(tmp_path: Path) -> None:
    """Also where their attributes are written too."""
    fast = pair("xlnet")[1]
    torch.save(fast.state_dict(keep_vars=True), tmp_path / "weights.pt")
    read = torch.load(tmp_path / "weights.pt", weights_only=True)
    assert all(torch.equal(read[name], value) for name, value in fast.state_dict().items())


@pytest.mark.parametrize("name", FAMILIES)
def test_casts_there_and_back(name: str) -> None:
    plain, fast = pair(name)
    inputs = inputs_for(plain.spec, dtype=torch.float32)
    for kind in (torch.bfloat16, torch.float16, torch.float64):
        plain.to(kind).float()
        fast.to(kind).float()
        with torch.no_grad():
            agree(told(fast, inputs), told(plain, inputs), f"answer after {kind}", 1e-5)


@pytest.mark.parametrize("optimizer", [torch.optim.AdamW, torch.optim.SGD, torch.optim.Adagrad])
def test_optimizers_that_leave_no_trace(optimizer: Any) -> None:
    """Fused kernels change weights unseen, and fine-tuning in evaluation mode is allowed."""
    plain, fast = pair("xglm")
    ids = torch.randint(5, 30, (2, 8), generator=torch.Generator().manual_seed(0))
    for model in (plain, fast):
        steps = optimizer(model.parameters(), lr=1e-2, fused=True)
        for _ in range(3):
            steps.zero_grad()
            model(ids, labels=ids).loss.backward()
            steps.step()
    with torch.no_grad():
        agree(told(fast, {"input_ids": ids}), told(plain, {"input_ids": ids}), "answer", 1e-5)


def test_a_changed_projection_of_distances_is_asked_again() -> None:
    plain, fast = pair("xlnet")
    ids = {"input_ids": torch.randint(5, 30, (2, 8), generator=torch.Generator().manual_seed(0))}

    def both_agree(what: str) -> None:
        with torch.no_grad():
            agree(told(fast, ids), told(plain, ids), what, 1e-5)

    both_agree("before")
    scores = [model.blocks[0].attention.scores for model in (plain, fast)]
    hooks = [
        one.projection.register_forward_hook(lambda module, given, found: found * 0)
        for one in scores
    ]
    both_agree("with a hook")
    for hook in hooks:
        hook.remove()
    both_agree("without it")
    for one in scores:
        one.projection = nn.Sequential(one.get_submodule("projection"))
    both_agree("with another module")


def test_distances_that_dropout_or_autocast_changed_are_not_held() -> None:
    plain, fast = pair("transformer-xl")
    ids = torch.randint(5, 30, (2, 8), generator=torch.Generator().manual_seed(0))
    weight = fast.get_parameter(DISTANCES)

    def held() -> object:
        known = reordered(weight)
        assert known is not None
        return known.distances

    with torch.no_grad():
        for module in fast.modules():  # train() would give all up
            module.training = True
        fast(ids)
        fast.eval()
        assert held() is None
        with torch.autocast("cpu", dtype=torch.bfloat16):
            fast(ids)
        assert held() is None
        agree(told(fast, {"input_ids": ids}), told(plain, {"input_ids": ids}), "answer", 1e-5)
    assert held() is not None


def test_distances_that_another_thread_replaces_meanwhile_do_no_harm() -> None:
    """What was found to cover a call is what the call reads."""
    plain, fast = pair("transformer-xl")
    ids = torch.randint(5, 30, (2, 8), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        fast(ids)
        known = reordered(fast.get_parameter(DISTANCES))
        assert known is not None
        first = known.distances
        assert isinstance(first, DistanceKeys)
        other = DistanceKeys(first.keys[:, :, :1], 0)

        class Replaced(DistanceKeys):
            def covers(self, high: int, low: int) -> bool:
                known.distances = other
                return super().covers(high, low)

        known.distances = Replaced(first.keys, first.high)
        agree(told(fast, {"input_ids": ids}), told(plain, {"input_ids": ids}), "answer", 1e-5)
        assert known.distances is other


def test_gradients_are_those_of_plain_weights() -> None:
    plain, fast = pair("xlnet")
    for model in (plain, fast):
        told(model, inputs_for(model.spec, dtype=torch.float32)).square().sum().backward()
    found, expected = (dict(model.named_parameters()) for model in (fast, plain))
    for name, parameter in expected.items():
        if parameter.grad is not None:
            assert torch.equal(found[name].grad, parameter.grad), name  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["xlnet", "xglm"])
def test_generation_from_a_folder_keeps_its_blocks(name: str, tmp_path: Path) -> None:
    """Weights that a file keeps transposed are laid out before they are packed, not after."""
    plain = built(family(name), dtype=torch.float32).eval()
    save_model(plain, tmp_path, format="huggingface")
    fast = load_model(tmp_path).prepack()
    before = packed(fast)
    ids = torch.tensor([[5, 6, 27, 31], [7, 8, 9, 10]])
    settings: dict[str, Any] = {"max_new_tokens": 20, "eos_token_id": ()}
    assert torch.equal(fast.generate(ids, **settings), plain.generate(ids, **settings))
    assert before and packed(fast) == before


def test_weights_without_blocks_are_refused(tmp_path: Path) -> None:
    model = built(family("xlnet"), dtype=torch.float32).eval()
    save_model(model, tmp_path)
    with pytest.raises(InputError, match="8-bit weights have no blocks"):
        load_model(tmp_path, weights="int8").prepack()
    with pytest.raises(InputError, match="float64 on cpu cannot be prepacked"):
        model.double().prepack()
    with torch.inference_mode():
        unseen = built(family("xlnet"), dtype=torch.float32)
    with pytest.raises(InputError, match="keep no count of their changes"):
        unseen.prepack()
    assert not packed(model) and not packed(unseen)


@pytest.mark.parametrize("name", ["xlnet", "transformer-xl"])
@pytest.mark.parametrize("mirrored", [False, True])
def test_distances_are_projected_once(
    name: str, mirrored: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not again for a shorter text, again for a longer one, after a change, under autograd, and
    past what is held.
    """
    plain = built(family(name, **{"position.reversed_half": mirrored}), dtype=torch.float32)
    fast = copy.deepcopy(plain).prepack()
    path = "blocks.1.attention.scores.projection"
    projections = [model.get_submodule(path) for model in (plain, fast)]
    runs: list[int] = []

    def counted(layer: nn.Module, states: Tensor) -> Tensor:
        if layer is projections[1]:
            runs.append(1)
        return linear(layer, states)

    monkeypatch.setattr("engine.network.positions.relative.linear", counted)

    def projects(length: int) -> int:
        runs.clear()
        ids = torch.randint(5, 30, (2, length), generator=torch.Generator().manual_seed(length))
        agree(
            told(fast, {"input_ids": ids}),
            told(plain, {"input_ids": ids}),
            f"answer to {length} tokens",
            1e-5,
        )
        return len(runs)

    with torch.no_grad():
        assert [projects(length) for length in (7, 5, 9, 9)] == [1, 0, 1, 0]
        for projection in projections:
            projection.get_parameter("weight").mul_(1.5)
        assert [projects(9), projects(9)] == [1, 1]
        fast.prepack()
        assert [projects(9), projects(9)] == [1, 0]
        with tuned(kept_distances=20):
            assert [projects(15), projects(15), projects(9)] == [1, 1, 0]
    assert projects(9) == 1

"""Every parameter receives a finite gradient, and recomputing blocks in the backward pass changes
none of them.
"""

from typing import Any

import torch
from torch import Tensor

from engine.laws.calls import answer, ask, inputs_for
from engine.laws.compare import claim
from engine.network.network import Network
from engine.spec import Spec, axes

ROWS, LONGEST = 4, 24


def covering(spec: Spec, seed: int) -> dict[str, Any]:
    """A call that uses the whole vocabulary (of a large one evenly spaced tokens, and the first of
    each cluster), every type and language, and predictions where there are any.
    """
    vocab, cutoffs = spec.dims.vocab, spec.embeddings.tables.tokens.cutoffs
    length = min(vocab // ROWS + 1, LONGEST)
    given = inputs_for(spec, batch=ROWS, length=length, seed=seed, targets=length // 2)
    count = ROWS * length
    ids = torch.arange(count) % vocab if count > vocab else torch.arange(count) * vocab // count
    if count < vocab:
        ids[: len(cutoffs)] = torch.tensor(cutoffs, dtype=ids.dtype)
    given["input_ids"] = ids.view(ROWS, length)
    return given


def pulled(model: Network, inputs: dict[str, Any]) -> dict[str, Tensor | None]:
    """Gradients by name of a scalar that weighs every number of the answers and of all hidden
    states.
    """
    model.zero_grad(set_to_none=True)
    result = ask(model, **inputs, output_hidden_states=True)
    results = [answer(result), *(result.hidden_states or ())]
    results += [] if result.pooler_output is None else [result.pooler_output]
    generator = torch.Generator().manual_seed(9)
    scalar = sum(
        (part * torch.randn(part.shape, generator=generator, dtype=part.dtype)).sum()
        for part in results
    )
    torch.autograd.backward([scalar])
    return {name: parameter.grad for name, parameter in model.named_parameters()}


def shifts_all_scores_alike(spec: Spec, name: str) -> bool:
    """A key's bias adds the same to all scores of a row, which no softmax notices, unless positions
    turn or read it.
    """
    encoder = spec.of_encoder()
    if name.startswith("encoder.") and encoder is not None:
        spec, name = encoder, name.removeprefix("encoder.")
    if name.startswith("blocks."):
        spec = spec.of_layers()[int(name.split(".")[1])]
    turned = spec.position.kind in ("rotary", "relative_key_query")
    last = (".attention.key.bias", ".cross_attention.key.bias", ".key_norm.bias")
    return name.endswith(last) and (not turned or "cross_attention" in name)


def spreads(spec: Spec) -> bool:
    """Whether rows see several tokens: a softmax over one has no gradient."""
    alone = "same_length" in spec.attention.mask and spec.attention.same_length == "remembered"
    short = isinstance(spec.memory, axes.Recurrent) and spec.memory.length == 1
    return not alone and not short


def check_gradients(model: Network, seed: int) -> None:
    """Raise Broken unless every parameter that learns has a finite gradient other than zero."""
    for name, gradient in pulled(model, covering(model.spec, seed)).items():
        if not model.get_parameter(name).requires_grad:
            claim(gradient is None, f"{name} is frozen")
            continue
        if gradient is None:
            claim(False, f"{name} takes no part")
            continue
        claim(bool(gradient.isfinite().all()), f"{name} has no finite gradient")
        if not shifts_all_scores_alike(model.spec, name):
            claim(float(gradient.abs().max()) > 0, f"{name} has a gradient of zero")


def check_checkpointing(model: Network, seed: int) -> None:
    """Raise Broken unless blocks that are computed again in the backward pass give the same
    gradients.
    """
    training, switch = model.training, model.gradient_checkpointing
    padded = "padding" in model.spec.attention.mask
    inputs = inputs_for(model.spec, seed=seed, targets=2, padded=padded)
    gradients = []
    for chosen in (False, True):
        model.train().gradient_checkpointing = chosen
        torch.manual_seed(seed)
        gradients.append(pulled(model, inputs))
    model.train(training).gradient_checkpointing = switch
    kept, again = gradients
    for name, expected in kept.items():
        gradient = again[name]
        if expected is None or gradient is None:
            claim(gradient is expected, f"{name} lost its gradient")
        else:
            claim(torch.equal(gradient, expected), f"gradient of {name}")

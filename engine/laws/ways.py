"""All ways through a network give the same answers: attention weights kept or not, padding cut off
or not.
"""

import torch

from engine.laws.calls import answer, ask, inputs_for
from engine.laws.compare import agree, claim
from engine.network.network import Network
from engine.unpadded import run_unpadded


def check_kept_weights(model: Network, seed: int) -> None:
    """Raise Broken unless answers stay when attention weights are kept, each row of which sums to
    one, to zero where nobody is seen, or to less than one beside a sink; and when heads are weighted.
    """
    spec = model.spec
    padded = "padding" in spec.attention.mask
    inputs = inputs_for(spec, length=6, seed=seed, targets=2, padded=padded)
    fused, kept = ask(model, **inputs), ask(model, **inputs, output_attentions=True)
    agree(answer(kept), answer(fused), "answers with attention weights kept")
    claim(len(kept.attentions) == spec.dims.layers, "attention weights of every layer")
    for layer in kept.attentions:
        for weights in layer if isinstance(layer, tuple) else (layer,):
            claim(weights.shape[:2] == (2, spec.dims.heads), "attention weights of every head")
            sums = weights.detach().sum(-1)
            near = torch.minimum((sums - 1).abs(), sums.abs())
            if spec.attention.sinks:  # which take a share of each row
                near = (sums - sums.clamp(0, 1)).abs()
            claim(float(near.max()) < 1e-6, "a row of weights sums neither to one nor to zero")
    generator = torch.Generator().manual_seed(seed)
    shares = torch.rand(spec.dims.layers, spec.dims.heads, dtype=torch.float64, generator=generator)
    masked, plain = (
        ask(model, **inputs, head_mask=shares, output_attentions=keep) for keep in (True, False)
    )
    agree(answer(plain), answer(masked), "answers with a head mask")
    if spec.memory.kind == "none" and not spec.attention.cross:
        ones = torch.ones(spec.dims.heads, dtype=torch.float64)
        found = answer(ask(model, **inputs, head_mask=ones))
        agree(found, answer(fused), "answers with a head mask of ones")


def check_unpadded(model: Network, seed: int) -> None:
    """Raise Broken unless rows without their padding answer as with it."""
    inputs = inputs_for(model.spec, batch=4, length=6, seed=seed, optional=False, permuted=False)
    inputs["attention_mask"] = (torch.arange(6) < torch.tensor([[6], [4], [3], [6]])).long()
    real = inputs["attention_mask"].bool()
    found, expected = run_unpadded(model, **inputs), ask(model, **inputs)
    agree(answer(found)[real], answer(expected)[real], "answers at real tokens")

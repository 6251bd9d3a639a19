"""How probable a text is: left to right, token by token given the rest, or along factorization orders."""

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from engine.errors import InputError
from engine.generation.prompts import output_layer
from engine.generation.scorer import METHODS, Method, Scorer, Scores, ScoringOptions
from engine.generation.texts import Texts, equal_lengths, read_texts

if TYPE_CHECKING:
    from engine.model import Model


@torch.no_grad()
def score(model: "Model", texts: Texts, options: ScoringOptions) -> Scores:
    """Scores of texts under a model's language-model head (raises InputError for what the spec cannot do)."""
    output_layer(model)
    options = replace(options, method=_method(model, options))
    result = torch.zeros(texts.tokens.shape, device=texts.tokens.device)
    counted = torch.zeros(texts.tokens.shape, dtype=torch.bool, device=texts.tokens.device)
    aligned = read_texts(texts)
    hidden = "padding" in model.spec.attention.mask or "causal" in model.spec.attention.mask
    together = hidden and model.spec.position.kind != "from_end"
    for rows, group in [(None, aligned)] if together else equal_lengths(aligned):
        scored = Scorer(model, group, options).run()
        if rows is None:
            result, counted = scored.log_probs, scored.counted
        else:
            length = group.tokens.shape[1]
            result[rows, :length], counted[rows, :length] = scored.log_probs.float(), scored.counted
    back = aligned.places
    return Scores(result, counted) if back is None else Scores(result.gather(1, back), counted.gather(1, back))


def _method(model: "Model", options: ScoringOptions) -> Method:
    spec = model.spec
    causal, two = "causal" in spec.attention.mask, spec.streams.kind == "two"
    if options.method is not None and options.method not in METHODS:
        raise InputError(f"method is '{options.method}', expected one of {', '.join(METHODS)}")
    for name, count in (("samples", options.samples), ("batch_size", options.batch_size)):
        if count < 1:
            raise InputError(f"{name} is {count}: at least one is needed")
    method: Method = options.method or ("orders" if options.orders is not None else "left_to_right")
    if options.method is None and not causal and not two:
        method = "pseudo"
    if method == "left_to_right" and not (causal or two):
        raise InputError(f"'{spec.name}' attends both ways: it has no left-to-right score, use method='pseudo'")
    if method == "orders" and not two:
        raise InputError("scores over factorization orders need two streams: this spec has streams.kind one")
    if method == "pseudo" and causal:
        raise InputError(f"'{spec.name}' sees only earlier tokens: use method='left_to_right'")
    if method != "orders" and options.orders is not None:
        raise InputError("orders needs method='orders'")
    return method

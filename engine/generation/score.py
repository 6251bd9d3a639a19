"""How probable a text is: left to right, token by token given the rest, or along factorization
orders.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from engine.arguments import check_count, check_flag, check_word, read_ids
from engine.errors import InputError
from engine.generation.guards import check_text_method
from engine.generation.prompts import mask_token
from engine.generation.scorer import METHODS, Method, Scorer, Scores, ScoringOptions
from engine.generation.texts import Texts, equal_lengths, read_texts

if TYPE_CHECKING:
    from engine.model import Model


@torch.no_grad()
def score(model: "Model", texts: Texts, options: ScoringOptions) -> Scores:
    """Scores of texts under a model's language-model head (raises InputError for what the spec
    cannot do).
    """
    check_text_method(model, "score")
    options = replace(options, method=_method(model, options))
    aligned = read_texts(model, texts)
    if options.orders is not None:
        options = replace(options, orders=read_ids("orders", options.orders, aligned.tokens.device))
    result = torch.zeros(aligned.tokens.shape, device=aligned.tokens.device)
    counted = torch.zeros_like(aligned.tokens, dtype=torch.bool)
    greedy = torch.zeros_like(counted) if options.greedy else None
    hidden = "padding" in model.spec.attention.mask or "causal" in model.spec.attention.mask
    together = hidden and model.spec.position.kind != "from_end"
    for rows, group in [(None, aligned)] if together else equal_lengths(aligned):
        scored = Scorer(model, group, options).run()
        if rows is None:
            result, counted, greedy = scored.log_probs, scored.counted, scored.greedy
            continue
        length = group.tokens.shape[1]
        result[rows, :length], counted[rows, :length] = scored.log_probs.float(), scored.counted
        if greedy is not None and scored.greedy is not None:
            greedy[rows, :length] = scored.greedy
    back = aligned.places
    if back is None:
        return Scores(result, counted, greedy)
    greedy = None if greedy is None else greedy.gather(1, back)
    return Scores(result.gather(1, back), counted.gather(1, back), greedy)


def _method(model: "Model", options: ScoringOptions) -> Method:
    spec = model.spec
    causal, two = "causal" in spec.attention.mask, spec.streams.kind == "two"
    check_word("method", options.method, METHODS)
    check_word("carry", options.carry, ("memory", "window"))
    check_flag("greedy", options.greedy)
    if options.mask_token_id is not None:
        mask_token(model, options.mask_token_id)
    check_count("samples", options.samples)
    check_count("batch_size", options.batch_size)
    check_count("seed", options.seed, least=-(2**63))
    method: Method = options.method or ("orders" if options.orders is not None else "left_to_right")
    if options.method is None and not causal and not two:
        method = "pseudo"
    if method == "left_to_right" and not (causal or two):
        raise InputError(
            f"'{spec.name}' attends both ways: it has no left-to-right score, use method='pseudo'"
        )
    if method == "orders" and not two:
        raise InputError(
            "scores over factorization orders need two streams: this spec has streams.kind one"
        )
    if method == "pseudo" and causal:
        raise InputError(f"'{spec.name}' sees only earlier tokens: use method='left_to_right'")
    if method != "orders" and options.orders is not None:
        raise InputError("orders needs method='orders'")
    return method

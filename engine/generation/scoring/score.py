"""How probable a text is: left to right, token by token given the rest, or along factorization
orders.
"""

from dataclasses import replace

import torch

from engine.arguments import check_count, check_flag, check_word, read_ids
from engine.errors import InputError
from engine.generation.guards import (
    check_text_method,
    has_two_streams,
    hides_padding_behind,
    is_causal,
    mask_token,
    reads_forward,
)
from engine.generation.reading import read_given
from engine.generation.scoring.scorer import Scorer
from engine.generation.scoring.scores import CARRIES, METHODS, Method, ScoreOptions, Scores
from engine.generation.start import MemoryMethods
from engine.generation.texts import Texts, equal_lengths, read_texts
from engine.network.network import Network
from engine.spec import Spec


@torch.no_grad()
def score(network: MemoryMethods, texts: Texts, options: ScoreOptions) -> Scores:
    """Scores of texts under a network's language-model head (raises InputError for what the spec
    cannot do).
    """
    check_text_method(network, "score")
    _check(network, options)
    method = options.method or _default_method(network.spec, options)
    _check_method(network.spec, method, options)
    aligned = read_texts(network, texts)
    orders = read_given("orders", options.orders, read_ids, aligned.tokens.device)
    options = replace(options, method=method, orders=orders)
    if hides_padding_behind(network):
        scores = Scorer(network, aligned, options).run()
    else:
        scores = _by_length(network, aligned, options)
    back, greedy = aligned.places, scores.greedy
    if back is None:
        return scores
    if greedy is not None:
        greedy = greedy.gather(1, back)
    return Scores(scores.log_probs.gather(1, back), scores.counted.gather(1, back), greedy)


def _by_length(network: MemoryMethods, texts: Texts, options: ScoreOptions) -> Scores:
    """The scores of texts of which only those of the same length run together."""
    log_probs = torch.zeros(texts.tokens.shape, device=texts.tokens.device)
    counted = torch.zeros_like(texts.tokens, dtype=torch.bool)
    greedy = None
    if options.greedy:
        greedy = torch.zeros_like(counted)
    for rows, group in equal_lengths(texts):
        scores, length = Scorer(network, group, options).run(), group.tokens.shape[1]
        log_probs[rows, :length] = scores.log_probs.float()
        counted[rows, :length] = scores.counted
        if greedy is not None and scores.greedy is not None:
            greedy[rows, :length] = scores.greedy
    return Scores(log_probs, counted, greedy)


def _check(network: Network, options: ScoreOptions) -> None:
    """Raise InputError for options that no spec can do."""
    check_word("method", options.method, METHODS)
    check_word("carry", options.carry, CARRIES)
    check_flag("greedy", options.greedy)
    if options.mask_token_id is not None:
        mask_token(network, options.mask_token_id)
    check_count("samples", options.samples)
    check_count("batch_size", options.batch_size)
    check_count("seed", options.seed, least=-(2**63))


def _default_method(spec: Spec, options: ScoreOptions) -> Method:
    """What the spec was made for."""
    if not reads_forward(spec):
        return "pseudo"
    if options.orders is not None:
        return "orders"
    return "left_to_right"


def _check_method(spec: Spec, method: Method, options: ScoreOptions) -> None:
    """Raise InputError for a method that the spec cannot do."""
    if method == "left_to_right" and not reads_forward(spec):
        raise InputError(
            f"'{spec.name}' attends both ways: it has no left-to-right score, use method='pseudo'"
        )
    if method == "orders" and not has_two_streams(spec):
        raise InputError(
            "scores over factorization orders need two streams: attention.mask has no rule permutation"
        )
    if method == "pseudo" and is_causal(spec):
        raise InputError(f"'{spec.name}' sees only earlier tokens: use method='left_to_right'")
    if method != "orders" and options.orders is not None:
        raise InputError("orders needs method='orders'")

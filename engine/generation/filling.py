"""Masked tokens: the best candidates for each, and all of them predicted over a few rounds."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from engine.arguments import check_count
from engine.errors import InputError
from engine.generation.guards import (
    check_text_method,
    has_two_streams,
    hides_padding_behind,
    mask_token,
)
from engine.generation.predictions import best_tokens, check_choice, output_layer
from engine.generation.texts import Texts, equal_lengths, read_texts
from engine.network.network import Network


@dataclass(frozen=True)
class Filling:
    """Candidates for one masked token."""

    row: int
    place: int
    tokens: list[int]
    """Ids, best first."""
    probabilities: list[float]


@dataclass(frozen=True)
class _Predicted:
    """The best tokens at masked places (p), c for each."""

    places: Tensor
    """(p 2): row and column."""
    log_probs: Tensor
    """(p c)."""
    ids: Tensor
    """(p c), best first."""


@torch.no_grad()
def fill_mask(
    network: Network, texts: Texts, mask_token_id: int | None, top_n: int
) -> list[Filling]:
    """The `top_n` best tokens at every masked place, left to right, rows top to bottom."""
    check_text_method(network, "fill_mask")
    mask_id = mask_token(network, mask_token_id)
    check_count("top_n", top_n)
    if top_n > network.spec.dims.vocab:
        raise InputError(f"top_n is {top_n}, expected 1 … {network.spec.dims.vocab}")
    aligned = read_texts(network, texts)
    masked = aligned.as_given() == mask_id
    if not bool(masked.any()):
        raise InputError(f"no place to fill: input_ids holds no mask token {mask_id}")
    found: dict[tuple[int, int], tuple[list[float], list[int]]] = {}
    for rows, group in _groups(network, aligned):
        best = _predict(network, group, group.tokens == mask_id, top_n)
        probabilities = best.log_probs.exp().tolist()
        for (row, place), shares, tokens in zip(
            best.places.tolist(), probabilities, best.ids.tolist(), strict=True
        ):
            found[int(rows[row]), place] = (shares, tokens)
    result = []
    for row, place in masked.nonzero().tolist():
        column = place
        if aligned.places is not None:
            column = int(aligned.places[row, place])
        shares, tokens = found[row, column]
        result.append(Filling(row, place, tokens, shares))
    return result


@torch.no_grad()
def mask_predict(network: Network, texts: Texts, mask_token_id: int | None, rounds: int) -> Tensor:
    """Ids (b n) with every masked token predicted: all at once, then the least certain again, fewer
    in each round.

    Ghazvininejad et al. (2019), section 3: of N masked tokens, N (T - t) / T are masked again
    before round t of T.
    """
    check_text_method(network, "mask_predict")
    mask_id = mask_token(network, mask_token_id)
    check_count("rounds", rounds)
    aligned = read_texts(network, texts)
    result = aligned.as_given()
    for rows, group in _groups(network, aligned):
        predicted = _rounds(network, group, mask_id, rounds)
        tokens = aligned.tokens[rows].clone()
        tokens[:, : predicted.shape[1]] = predicted
        if aligned.places is not None:
            tokens = tokens.gather(1, aligned.places[rows])
        result[rows] = tokens
    return result


def _rounds(network: Network, texts: Texts, mask_id: int, rounds: int) -> Tensor:
    """Ids (b n) after all rounds."""
    to_predict = texts.tokens == mask_id
    tokens = texts.tokens.clone()
    certainty = torch.full(tokens.shape, torch.inf, device=tokens.device)
    masked = to_predict
    for step in range(rounds):
        if not bool(masked.any()):
            break
        best = _predict(network, replace(texts, tokens=tokens), masked, 2)
        # The mask token itself is no answer.
        first = (best.ids[:, 0] == mask_id).long()[:, None]
        row, column = best.places.unbind(1)
        tokens[row, column] = best.ids.gather(1, first)[:, 0]
        certainty[row, column] = best.log_probs.gather(1, first)[:, 0].float()
        if step + 1 == rounds:
            break
        again = to_predict.sum(1) * (rounds - step - 1) // rounds
        ordered = certainty.masked_fill(~to_predict, torch.inf).argsort(dim=1, stable=True)
        masked = to_predict & (ordered.argsort(dim=1) < again[:, None])
        tokens[masked] = mask_id
    return tokens


def _predict(network: Network, texts: Texts, masked: Tensor, count: int) -> _Predicted:
    """The `count` best tokens at masked places (b n)."""
    places = masked.nonzero()
    inputs = texts.inputs(slice(None), network.spec)
    if has_two_streams(network.spec):
        widest = int(masked.sum(1).max())
        order = masked.int().argsort(dim=1, descending=True, stable=True)[:, :widest]
        chosen = masked.gather(1, order)
        targets = torch.nn.functional.one_hot(order, masked.shape[1]).float() * chosen[..., None]
        unseen = masked[:, None].float().expand(-1, masked.shape[1], -1)
        inputs = replace(inputs, perm_mask=unseen, target_mapping=targets, use_memory=False)
    else:
        chosen = masked
    states = network.body(inputs).states[chosen]
    best, ids = best_tokens(output_layer(network), states, count)
    check_choice(best[:, 0], places[:, 0].tolist(), processed=False)
    return _Predicted(places, best, ids)


def _groups(network: Network, texts: Texts) -> list[tuple[Tensor, Texts]]:
    """Row numbers and texts that can run together."""
    if texts.mask is None or hides_padding_behind(network):
        return [(torch.arange(len(texts.tokens), device=texts.tokens.device), texts)]
    return equal_lengths(texts)

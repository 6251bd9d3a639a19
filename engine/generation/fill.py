"""Hidden tokens: the best candidates for each, and all of them filled over a few rounds."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from engine.arguments import check_count
from engine.errors import InputError
from engine.generation.candidates import best_tokens
from engine.generation.guards import check_text_method
from engine.generation.prompts import mask_token, output_layer
from engine.generation.rules import check_choice
from engine.generation.texts import Texts, equal_lengths, read_texts

if TYPE_CHECKING:
    from engine.model import Model


@dataclass(frozen=True)
class Filling:
    """Candidates for one hidden token: its row and place, ids and probabilities, best first."""

    row: int
    place: int
    tokens: list[int]
    probabilities: list[float]


@torch.no_grad()
def fill_mask(model: "Model", texts: Texts, mask_token_id: int | None, top_n: int) -> list[Filling]:
    """The `top_n` best tokens at every hidden place, places left to right, rows top to bottom."""
    check_text_method(model, "fill_mask")
    hidden = mask_token(model, mask_token_id)
    check_count("top_n", top_n)
    if top_n > model.spec.dims.vocab:
        raise InputError(f"top_n is {top_n}, expected 1 … {model.spec.dims.vocab}")
    aligned = read_texts(model, texts)
    given = aligned.as_given()
    if not bool((given == hidden).any()):
        raise InputError(f"no place to fill: input_ids holds no mask token {hidden}")
    found: dict[tuple[int, int], tuple[list[float], list[int]]] = {}
    for rows, group in _groups(model, aligned):
        places, log_probs, ids = _predict(model, group, group.tokens == hidden, top_n)
        for (row, place), scores, tokens in zip(
            places.tolist(), log_probs.exp().tolist(), ids.tolist(), strict=True
        ):
            found[int(rows[row]), place] = (scores, tokens)
    now = aligned.places
    result = []
    for row, place in (given == hidden).nonzero().tolist():
        scores, tokens = found[row, place if now is None else int(now[row, place])]
        result.append(Filling(row, place, tokens, scores))
    return result


@torch.no_grad()
def mask_predict(model: "Model", texts: Texts, mask_token_id: int | None, rounds: int) -> Tensor:
    """Ids (b n) with every hidden token filled: all at once, then the least certain again, fewer in
    each round.

    Ghazvininejad et al. (2019), section 3: of N hidden tokens, N (T - t) / T are hidden again
    before round t of T.
    """
    check_text_method(model, "mask_predict")
    hidden = mask_token(model, mask_token_id)
    check_count("rounds", rounds)
    aligned = read_texts(model, texts)
    result = aligned.as_given()
    for rows, group in _groups(model, aligned):
        filled = _rounds(model, group, hidden, rounds)
        back = aligned.places
        wide = aligned.tokens[rows].clone()
        wide[:, : filled.shape[1]] = filled
        result[rows] = wide if back is None else wide.gather(1, back[rows])
    return result


def _rounds(model: "Model", texts: Texts, hidden: int, rounds: int) -> Tensor:
    open_places = texts.tokens == hidden
    tokens = texts.tokens.clone()
    certainty = torch.full(tokens.shape, torch.inf, device=tokens.device)
    asked = open_places
    for step in range(rounds):
        if not bool(asked.any()):
            break
        places, log_probs, ids = _predict(model, replace(texts, tokens=tokens), asked, 2)
        # The mask token itself is no answer.
        first = (ids[:, 0] == hidden).long()[:, None]
        row, column = places.unbind(1)
        tokens[row, column] = ids.gather(1, first)[:, 0]
        certainty[row, column] = log_probs.gather(1, first)[:, 0].float()
        if step + 1 == rounds:
            break
        again = open_places.sum(1) * (rounds - step - 1) // rounds
        order = (
            certainty.masked_fill(~open_places, torch.inf)
            .argsort(dim=1, stable=True)
            .argsort(dim=1)
        )
        asked = open_places & (order < again[:, None])
        tokens[asked] = hidden
    return tokens


def _predict(
    model: "Model", texts: Texts, asked: Tensor, count: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Places asked for (n 2), and log-probabilities and ids (n count) of their best tokens."""
    places = asked.nonzero()
    inputs = texts.inputs(slice(None), model.spec)
    if model.spec.streams.kind == "two":
        widest = int(asked.sum(1).max())
        order = asked.int().argsort(dim=1, descending=True, stable=True)[:, :widest]
        chosen = asked.gather(1, order)
        targets = torch.nn.functional.one_hot(order, asked.shape[1]).float() * chosen[..., None]
        unseen = asked[:, None].float().expand(-1, asked.shape[1], -1)
        inputs = replace(inputs, perm_mask=unseen, target_mapping=targets, use_memory=False)
        states = model.body(inputs).last_hidden_state
        assert states is not None
        states = states[chosen]
    else:
        out = model.body(inputs).last_hidden_state
        assert out is not None
        states = out[asked]
    best, ids = best_tokens(output_layer(model), states, count)
    check_choice(best[:, 0], places[:, 0].tolist(), ruled=False)
    return places, best, ids


def _groups(model: "Model", texts: Texts) -> list[tuple[Tensor, Texts]]:
    if texts.mask is None or (
        "padding" in model.spec.attention.mask and model.spec.position.kind != "from_end"
    ):
        return [(torch.arange(len(texts.tokens), device=texts.tokens.device), texts)]
    return equal_lengths(texts)

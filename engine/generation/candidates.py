"""The best tokens at a state, without looking at clusters of the vocabulary that provably cannot
hold them.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from engine.generation.rules import check_choice
from engine.network.output_layer import AdaptiveOutput, LinearOutput


def best_tokens(
    output: LinearOutput | AdaptiveOutput, states: Tensor, count: int
) -> tuple[Tensor, Tensor]:
    """Log-probabilities and ids (b count) of the best tokens at states (b d), best first, exact."""
    if isinstance(output, LinearOutput):
        logits = output(states).float()
        best, ids = logits.topk(count, dim=-1)
        return best - logits.logsumexp(-1, keepdim=True), ids
    return _best_in_clusters(output, states, count)


def best_token(
    output: LinearOutput | AdaptiveOutput, states: Tensor, prompts: Sequence[int] = ()
) -> Tensor:
    """The id (b) of the best token at states (b d).

    Raises InputError where its score is not finite, and names the row's number among `prompts`.
    """
    if isinstance(output, LinearOutput):
        logits = output(states)
        ids = logits.argmax(-1)
        best = logits.gather(1, ids[:, None]).squeeze(1)
    else:
        found, places = _best_in_clusters(output, states, 1)
        best, ids = found[:, 0], places[:, 0]
    check_choice(best, prompts or range(len(best)), ruled=False)
    return ids


def _best_in_clusters(output: AdaptiveOutput, states: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """A cluster is left out for rows where its whole probability is below the worst of the best
    found so far.
    """
    first = output.cluster(states, 0)
    cut = output.cutoffs[1]
    best, ids = first[:, :cut].topk(min(count, cut), dim=-1)
    if best.shape[1] < count:  # the first cluster alone is too small: places that anything beats
        missing = count - best.shape[1]
        best = torch.nn.functional.pad(best, (0, missing), value=-torch.inf)
        ids = torch.nn.functional.pad(ids, (0, missing))
    for cluster in range(1, len(output.cutoffs) - 1):
        whole = first[:, cut + cluster - 1]
        rows = (whole > best[:, -1]).nonzero().squeeze(1)
        if not len(rows):
            continue
        inside = whole[rows, None] + output.cluster(states[rows], cluster)
        found, places = inside.topk(min(count, inside.shape[1]), dim=-1)
        merged = torch.cat((best[rows], found), dim=1)
        both = torch.cat((ids[rows], places + output.cutoffs[cluster]), dim=1)
        kept, order = merged.topk(count, dim=-1)
        best[rows], ids[rows] = kept, both.gather(1, order)
    return best, ids


def log_probabilities(output: LinearOutput | AdaptiveOutput, states: Tensor) -> Tensor:
    """Log-probabilities (b v), float32, of all tokens at states (b d)."""
    scores = output(states).float()
    return scores if output.is_log_probability else scores.log_softmax(-1)

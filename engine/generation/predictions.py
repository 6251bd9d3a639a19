"""From the states of the body to tokens.

The best tokens are found without the clusters of an adaptive vocabulary that provably cannot hold
them. b rows, d model width, c tokens that are looked for, v vocabulary.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from engine.errors import InputError
from engine.network.network import Network
from engine.network.output_layer import AdaptiveOutput, LinearOutput

OutputLayer = LinearOutput | AdaptiveOutput


def output_layer(network: Network) -> OutputLayer:
    """The map from states to tokens of the network's head (raises InputError where it has none)."""
    output = getattr(network.head, "output", None)
    if not isinstance(output, OutputLayer):
        name = network.spec.heads.default or "a bare backbone"
        raise InputError(
            "predicting tokens needs a language-model head, such as causal_lm; this model has "
            f"{name}"
        )
    return output


def best_tokens(output: OutputLayer, states: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Log-probabilities and ids (b c) of the `count` best tokens at states (b d), best first."""
    if isinstance(output, LinearOutput):
        logits = output(states).float()
        best, ids = logits.topk(count, dim=-1)
        return best - logits.logsumexp(-1, keepdim=True), ids
    return _best_in_clusters(output, states, count)


def best_token(output: OutputLayer, states: Tensor, prompts: Sequence[int] = ()) -> Tensor:
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
    check_choice(best, prompts or range(len(best)), processed=False)
    return ids


def _best_in_clusters(output: AdaptiveOutput, states: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """As `best_tokens`.

    A cluster is left out for rows where its whole probability is below the worst of the best found
    so far.
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


def log_probabilities(output: OutputLayer, states: Tensor) -> Tensor:
    """Log-probabilities (b v), float32, of all tokens at states (b d)."""
    scores = output(states).float()
    if output.is_log_probability:
        return scores
    return scores.log_softmax(-1)


def check_choice(best: Tensor, prompts: Sequence[int], processed: bool) -> None:
    """Raise InputError where the best score (b) of a row is not a number, or no token is left.

    `processed`: logits processors changed the scores. `prompts` numbers the prompt of each row.
    """
    # A finite sum needs one step and is the usual case; a sum that overflows is no proof.
    if math.isfinite(float(best.sum())) or bool(best.isfinite().all()):
        return
    row = int((~best.isfinite()).nonzero()[0])
    prompt, found = prompts[row], float(best[row])
    if processed and found == -torch.inf:
        raise InputError(
            f"the rules leave no token to choose behind prompt {prompt}: every score is -inf"
        )
    raise InputError(
        f"the scores of the token behind prompt {prompt} are not finite: the best one is {found}"
    )

"""How probable texts are, as lines."""

import math

from engine.cli.streams import json_line
from engine.cli.texts.batches import Batch
from engine.generation.scoring.scores import Scores
from tokenization import Tokenizer


def score_lines(
    tokenizer: Tokenizer,
    batch: Batch,
    scores: Scores,
    *,
    tokens: bool,
    as_json: bool,
    in_file: bool,
) -> list[str]:
    """A line a text, with a line a token where `tokens` says so; `in_file` has any characters."""
    written: list[str] = []
    for row, text in enumerate(batch.texts):
        counted = scores.counted[row].nonzero().squeeze(1).tolist()
        pieces = [
            str(tokenizer.convert_ids_to_tokens(int(batch.ids[row, place]))) for place in counted
        ]
        each = [float(scores.log_probs[row, place]) for place in counted]
        # A text of one token has nothing to predict it from; NaN is no JSON.
        total, perplexity = sum(each), float(scores.perplexities[row]) if each else None
        if as_json:
            shown = {"tokens": pieces, "token_log_probs": each} if tokens else {}
            line = {
                "text": text,
                "log_likelihood": total,
                "count": len(counted),
                "perplexity": perplexity,
                **shown,
            }
            written.append(json_line(line, in_file))
            continue
        written.append(f"{total:.4f}\t{len(counted)}\t{perplexity or math.nan:.4f}\t{text}")
        for piece, value in zip(pieces, each, strict=True) if tokens else ():
            written.append(f"    {value:9.4f}  {piece}")
    return written

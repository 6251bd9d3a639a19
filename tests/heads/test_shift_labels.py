"""Labels that stand at the place that predicts them: every token of a stream is a target."""

import pytest
import torch

from engine import InputError, build_model


@pytest.mark.parametrize("family", ["xglm", "transformer-xl"])
def test_aligned_labels_are_what_shifted_ones_become_and_one_more(family):
    model = build_model(f"tiny/{family}", head="causal_lm", seed=0).eval()
    ids = torch.randint(5, 400, (2, 9), generator=torch.Generator().manual_seed(0))
    following = torch.cat([ids[:, 1:], torch.tensor([[7], [8]])], dim=1)
    shifted, aligned = model(ids, labels=ids), model(ids, shift_labels=following)
    assert aligned.losses.shape == (2, 9) and shifted.losses.shape == (2, 8)
    torch.testing.assert_close(aligned.losses[:, :-1], shifted.losses)
    torch.testing.assert_close(aligned.loss, aligned.losses.mean())
    logits = model(ids).logits
    last = torch.log_softmax(logits[:, -1], -1)[[0, 1], [7, 8]]
    torch.testing.assert_close(aligned.losses[:, -1], -last)


def test_labels_of_both_kinds_and_aligned_ones_of_aligned_heads_are_refused():
    ids = torch.tensor([[5, 6, 7]])
    with pytest.raises(InputError, match="not both"):
        build_model("tiny/xglm", seed=0)(ids, labels=ids, shift_labels=ids)
    with pytest.raises(InputError, match="takes no 'shift_labels'"):
        build_model("tiny/xlm-roberta-xl", seed=0)(ids, shift_labels=ids)

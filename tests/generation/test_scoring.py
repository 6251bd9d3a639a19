"""Scores against the definition: what the model itself says of each token, one pass at a time."""

from typing import Any

import pytest
import torch
from torch import Tensor

from engine import InputError, Model
from engine.laws.compare import agree
from tests.generation.cases import BOTH_WAYS, CONTINUED, alone, ids, masked, network, unequal
from tests.strategies import built as build
from tests.strategies import family

ONE_STREAM = [name for name in CONTINUED if name != "xlnet"]


@torch.no_grad()
def left_to_right(model: Model, texts: Tensor, **inputs: Any) -> Tensor:
    """Log-probabilities of tokens 1 to n-1 (b n-1), from the model's logits."""
    logits = model(texts, **inputs).logits
    assert logits is not None
    return logits[:, :-1].log_softmax(-1).gather(2, texts[:, 1:, None])[..., 0]


@torch.no_grad()
def by_order(model: Model, texts: Tensor, order: list[int]) -> Tensor:
    """The same of all tokens but the first of an order, one target at a time."""
    result = torch.zeros(texts.shape, dtype=torch.float64)
    length = texts.shape[1]
    for step in range(1, length):
        known = torch.zeros(length, dtype=torch.bool)
        known[order[:step]] = True
        rank = torch.tensor([order.index(place) for place in range(length)])
        hidden = (rank[:, None] <= rank[None, :]).double()[None].expand(len(texts), -1, -1)
        target = torch.zeros(len(texts), 1, length)
        target[:, 0, order[step]] = 1
        logits = model(texts, perm_mask=hidden, target_mapping=target).logits
        assert logits is not None
        place = order[step]
        result[:, place] = logits[:, 0].log_softmax(-1).gather(1, texts[:, place, None])[:, 0]
    return result


@torch.no_grad()
def pseudo(model: Model, texts: Tensor, hidden: int) -> Tensor:
    result = torch.zeros(texts.shape, dtype=torch.float64)
    for place in range(texts.shape[1]):
        changed = texts.clone()
        changed[:, place] = hidden
        logits = model(changed).logits
        assert logits is not None
        result[:, place] = logits[:, place].log_softmax(-1).gather(1, texts[:, place, None])[:, 0]
    return result


@pytest.mark.parametrize("name", ONE_STREAM)
def test_left_to_right(name: str) -> None:
    model, texts = network(name), ids()
    scores = model.score(texts)
    agree(scores.log_probs[:, 1:].double(), left_to_right(model, texts))
    assert scores.counted.tolist() == [[False] + [True] * 6] * 3
    agree(scores.sums.double(), left_to_right(model, texts).sum(1))
    agree(scores.perplexities.double(), (-left_to_right(model, texts).mean(1)).exp())


@pytest.mark.parametrize("name", [*CONTINUED, "masked xlm", "masked xlm-roberta-xl"])
def test_padding_on_either_side_changes_no_score(name: str) -> None:
    model = masked(name.split()[1]) if " " in name else network(name)
    settings: dict[str, Any] = {"mask_token_id": 5} if " " in name else {}
    texts, mask = ids(), unequal()
    together = model.score(texts, attention_mask=mask, **settings)
    for row, single in enumerate(alone(texts, mask)):
        real = mask[row] > 0
        agree(together.log_probs[row, real], model.score(single, **settings).log_probs[0])
        assert not bool(together.counted[row, ~real].any())


@pytest.mark.parametrize("name", BOTH_WAYS)
def test_pseudo_likelihood(name: str) -> None:
    model, texts = masked(name), ids()
    for size in (1, 4, 100):
        scores = model.score(texts, mask_token_id=5, batch_size=size)
        agree(scores.log_probs.double(), pseudo(model, texts, 5))
    asked = torch.zeros(3, 7)
    asked[1, 2] = asked[2, 6] = 1
    some = model.score(texts, mask_token_id=5, targets=asked)
    assert some.counted.tolist() == (asked > 0).tolist()
    agree(some.log_probs.double(), pseudo(model, texts, 5) * asked)


def test_orders_of_xlnet() -> None:
    model, texts = network("xlnet"), ids(2, 6)
    order = [3, 0, 5, 1, 4, 2]
    agree(
        model.score(texts, orders=torch.tensor(order)).log_probs.double(),
        by_order(model, texts, order),
    )
    straight = model.score(texts, method="left_to_right").log_probs.double()
    agree(straight, by_order(model, texts, list(range(6))))
    second = list(range(6))
    both = model.score(texts, orders=torch.tensor([order, second]))
    total = by_order(model, texts, order) + by_order(model, texts, second)
    times = torch.tensor([1, 2, 2, 1, 2, 2])
    agree(both.log_probs.double(), total / times)
    one = model.score(texts, method="orders", samples=4, seed=1)
    assert one.sums.tolist() == model.score(texts, method="orders", samples=4, seed=1).sums.tolist()
    assert one.sums.tolist() != model.score(texts, method="orders", samples=4, seed=2).sums.tolist()
    hidden = torch.nn.functional.one_hot(torch.tensor(3), 6).double().expand(2, 6, 6)
    logits = model(texts, perm_mask=hidden, target_mapping=hidden[:, :1]).logits
    assert logits is not None
    last = logits[:, 0].log_softmax(-1).gather(1, texts[:, 3, None])[:, 0]
    agree(model.score(texts, method="pseudo").log_probs[:, 3].double(), last)


@pytest.mark.parametrize("name", ONE_STREAM)
def test_long_text_with_memory_is_the_whole(name: str) -> None:
    model, texts = network(name), ids(2, 13)
    whole = model.score(texts)
    parts = model.score(texts, window=4, carry="memory")
    agree(parts.log_probs, whole.log_probs)
    assert parts.counted.tolist() == whole.counted.tolist()


def test_xlnet_segments_see_what_came_before() -> None:
    model = network("xlnet", **{"memory.length": None, "memory.padding": "hidden"})
    texts = ids(2, 9)
    agree(model.score(texts, window=3).log_probs, model.score(texts).log_probs)
    assert (
        model.score(texts, window=3, carry="window").sums.tolist()
        != model.score(texts).sums.tolist()
    )


@pytest.mark.parametrize("name", [*ONE_STREAM, "xlnet"])
def test_sliding_windows_score_each_token_once(name: str) -> None:
    model, texts = network(name), ids(2, 11)
    scores = model.score(texts, window=5, stride=2, carry="window")
    assert scores.counted.sum().item() == 20
    if name != "xlnet":
        agree(scores.log_probs[:, 5:7].double(), left_to_right(model, texts[:, 2:7])[:, -2:])
        agree(scores.log_probs[:, 10:].double(), left_to_right(model, texts[:, 6:])[:, -1:])


def test_windows_carry_texts_past_the_positions() -> None:
    model, texts = network("xlm", **{"position.size": 6}), ids(2, 15)
    with pytest.raises(InputError, match="has 6 positions: give window=6 or less"):
        model.score(texts)
    assert model.score(texts, window=6).counted.sum().item() == 28
    wide = build(family("xlm", **{"position.size": 6}))
    scores = wide.score(texts, window=6, stride=3, mask_token_id=5)
    assert scores.counted.all()
    agree(scores.log_probs[:, 6:9].double(), pseudo(wide, texts[:, 3:9], 5)[:, 3:])


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("xglm", {"method": "orders"}, "need two streams"),
        ("xglm", {"method": "pseudo"}, "use method='left_to_right'"),
        (
            "xglm",
            {"method": "best"},
            "method is 'best', expected one of left_to_right, pseudo, orders",
        ),
        ("xlnet", {"method": "orders", "samples": 0}, "samples is 0"),
        ("xglm", {"batch_size": 0}, "batch_size is 0"),
        ("xglm", {"window": 1}, "window is 1"),
        ("xglm", {"stride": 3}, "stride is 3: it needs a window"),
        ("xlnet", {"orders": torch.tensor([0, 1, 1, 2, 3, 4, 5])}, "names the places 0 … 6 once"),
        ("xglm", {"attention_mask": torch.zeros(3, 7)}, "text 0 is empty"),
    ],
)
def test_contradictions_are_said(name: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        network(name).score(ids(), **settings)


def test_masked_models_say_what_is_missing() -> None:
    with pytest.raises(InputError, match="use method='pseudo'"):
        masked("xlm").score(ids(), method="left_to_right")
    with pytest.raises(InputError, match=r"mask_token_id=tokenizer\.mask_token_id"):
        masked("xlm-roberta-xl").score(ids())
    with pytest.raises(InputError, match="carry='memory' needs a memory"):
        masked("xlm").score(ids(), carry="memory")

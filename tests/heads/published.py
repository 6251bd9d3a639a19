"""Published head classes at toy size, what they are asked, and comparison with ours."""

from collections.abc import Mapping
from typing import Any

import torch
import transformers
from torch import Tensor

from engine import Model
from engine.laws.calls import randomise
from tests.parity.both import Wide, fresh, in_dtype, widened
from tests.parity.helpers import (
    assert_close_relative,
    assert_same_gradients,
    their_gradients,
    weighted,
)

VOCABULARY, PADDING = 23, {"XLNet": 5, "XLM": 2, "XLMRobertaXL": 1}
SMALL: dict[str, dict[str, Any]] = {
    "XLNet": {
        "vocab_size": VOCABULARY, "d_model": 12, "n_layer": 2, "n_head": 2, "d_inner": 14, "dropout": 0.0,
        "summary_last_dropout": 0.0,
    },
    "XLM": {
        "vocab_size": VOCABULARY, "emb_dim": 12, "n_layers": 2, "n_heads": 2, "dropout": 0.0, "attention_dropout": 0.0,
        "max_position_embeddings": 20, "n_langs": 3, "summary_first_dropout": 0.0,
    },
    "XLMRobertaXL": {
        "vocab_size": VOCABULARY, "hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 2,
        "intermediate_size": 14, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0,
        "max_position_embeddings": 20,
    },
}  # fmt: skip
HEADS = {
    "sequence_classification": "ForSequenceClassification",
    "token_classification": "ForTokenClassification",
    "multiple_choice": "ForMultipleChoice",
    "question_answering": "ForQuestionAnsweringSimple",
    "beam_question_answering": "ForQuestionAnswering",
}
# Every published class of transformers 4.56.2; Transformer-XL's one has golden files.
CLASSES = {
    (family, head): family
    + ("ForQuestionAnswering" if (family, head) == ("XLMRobertaXL", "question_answering") else name)
    for family in SMALL
    for head, name in HEADS.items()
    if (family, head) != ("XLMRobertaXL", "beam_question_answering")
}
FIELDS = (
    "loss", "logits", "start_logits", "end_logits", "start_top_log_probs", "start_top_index", "end_top_log_probs",
    "end_top_index", "cls_logits",
)  # fmt: skip


def published(family: str, head: str, seed: int = 0, **config: Any) -> transformers.PreTrainedModel:
    """A published class at toy size, every parameter of a value that matters, without dropout
    unless `config` asks.
    """
    settings = getattr(transformers, f"{family}Config")(**{**SMALL[family], **config})
    model = getattr(transformers, CLASSES[family, head])(settings)
    randomise(model, seed)
    return model.eval()


def tokens(
    family: str, *shape: int, seed: int = 0, padding: str | None = None
) -> dict[str, Tensor]:
    """Token ids of a shape with everything that the family adds to them; `padding` is a side, one
    token more each row.
    """
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(6, VOCABULARY, shape, generator=generator)
    given = {"input_ids": ids}
    if family != "XLMRobertaXL":
        given["token_type_ids"] = torch.randint(2, shape, generator=generator)
    if family == "XLM":
        given["langs"] = torch.randint(3, shape, generator=generator)
        # Ours counts positions from the first real token on; the published class counts padding on
        # the left as well.
        given["position_ids"] = torch.arange(shape[-1]).expand(shape)
    if padding is not None:
        columns = torch.arange(shape[-1])
        columns = columns.flip(0) if padding == "left" else columns
        counts = torch.arange(ids[..., 0].numel()).view(shape[:-1]) % (shape[-1] - 1)
        mask = columns < shape[-1] - counts[..., None]
        given["input_ids"] = torch.where(mask, ids, PADDING[family])
        given["attention_mask"] = mask.long()
    return given


def agree(theirs: Any, ours: Model, inputs: Mapping[str, Any]) -> None:
    """Assert that every field that the published class gives agrees: in float32 in eval mode, and
    in float64, where rounding hides nothing, with every gradient in eval and train mode.
    """
    before = {name: value.clone() for name, value in inputs.items() if isinstance(value, Tensor)}
    with torch.no_grad():
        _agree(ours.eval()(**inputs), theirs.eval()(**fresh(inputs)))
    assert all(torch.equal(inputs[name], value) for name, value in before.items()), (
        "an argument was changed"
    )
    theirs, ours = widened(theirs), widened(ours)
    if hasattr(theirs.base_model, "relative_positional_encoding"):
        in_dtype(theirs.base_model, torch.float64)
    given = fresh(inputs, torch.float64)
    for mode in (False, True):
        with Wide():
            found, expected = ours.train(mode)(**fresh(given)), theirs.train(mode)(**fresh(given))
            for model, output in ((theirs, expected), (ours, found)):
                model.zero_grad(set_to_none=True)
                torch.autograd.backward(_scalar(output))
        _agree(found, expected)
        assert_same_gradients(ours, their_gradients(theirs))


def _agree(found: Any, expected: Any) -> None:
    given = [name for name in FIELDS if getattr(expected, name, None) is not None]
    assert given == [name for name in FIELDS if getattr(found, name) is not None]
    for name in given:
        if name.endswith("_index"):
            assert torch.equal(found[name], expected[name]), name
        else:
            assert_close_relative(found[name], expected[name], name)


def _scalar(output: Any) -> Tensor:
    """The loss, or else a sum to which every number of the output contributes with a weight of its
    own.
    """
    if output.loss is not None:
        return output.loss
    values = [getattr(output, name, None) for name in FIELDS]
    floats = [value for value in values if value is not None and value.is_floating_point()]
    return torch.stack([weighted(value, seed) for seed, value in enumerate(floats)]).sum()

"""What labels do: nothing to themselves, nothing to later calls, nothing where they are ignored."""

import pytest
import torch

from engine import InputError, build_model, load_model, save_model
from tests.parity.helpers import assert_close_relative
from tests.strategies import built, family

IDS = torch.tensor([[5, 6, 7, 8], [9, 10, 11, 12], [13, 14, 15, 16]])


def test_the_kind_of_problem_is_read_off_each_call():
    """One model takes label ids, then several labels a text, then ids again; its options stay as
    they were.
    """
    model = built(family("xlm"), "sequence_classification", num_labels=3)
    ids, several = torch.tensor([2, 0, 1]), torch.tensor([[1.0, 0, 0], [0, 1, 1], [0, 0, 0]])
    first = model(IDS, labels=ids)
    expected = -first.logits.log_softmax(-1)[range(3), ids].mean()
    assert_close_relative(first.loss, expected, "one label a text")
    logits = first.logits
    expected = -(
        several * logits.sigmoid().log() + (1 - several) * (1 - logits.sigmoid()).log()
    ).mean()
    assert_close_relative(model(IDS, labels=several).loss, expected, "several labels a text")
    assert torch.equal(model(IDS, labels=ids).loss, first.loss)
    assert model.head.options.problem_type is None
    assert model.spec.heads.options["sequence_classification"]["problem_type"] is None
    assert torch.equal(model(IDS, labels=several.bool()).loss, model(IDS, labels=several).loss)


def test_one_label_is_a_number_to_predict():
    model = built(family("xglm"), "sequence_classification", num_labels=1)
    wanted = torch.tensor([1.5, -2.0, 0.25])
    answer = model(IDS, labels=wanted)
    assert_close_relative(
        answer.loss, (answer.logits[:, 0] - wanted).square().mean(), "mean squared error"
    )
    whole = torch.tensor([1, -2, 0])
    assert torch.equal(model(IDS, labels=whole).loss, model(IDS, labels=whole.double()).loss)
    with pytest.raises(
        InputError, match=r"labels \(regression\) has shape \(3, 2\), expected \(3, 1\) or \(3,\)"
    ):
        model(IDS, labels=torch.zeros(3, 2))


def test_labels_in_half_precision():
    """The loss of bfloat16 logits is summed in float32."""
    model = build_model(family("xglm"), "token_classification", dtype=torch.bfloat16, seed=0).eval()
    answer = model(IDS, labels=IDS % 2)
    assert answer.logits.dtype == torch.bfloat16 and answer.loss.dtype == torch.float32
    expected = torch.nn.functional.cross_entropy(
        answer.logits.float().flatten(0, 1), (IDS % 2).flatten()
    )
    assert_close_relative(answer.loss, expected, "loss")


@pytest.mark.parametrize("name", ["xlm", "transformer-xl"])
def test_labels_in_short_integers(name):
    model = built(family(name), "causal_lm")
    assert torch.equal(model(IDS.int(), labels=IDS.int()).loss, model(IDS, labels=IDS).loss)


def test_padding_may_count_for_tokens():
    labels, mask = IDS % 2, torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [0, 1, 1, 1]])
    hidden = torch.where(mask > 0, labels, -100)
    for name, counted in (
        ("xglm", False),
        ("xlm-roberta-xl", False),
        ("xlm", True),
        ("xlnet", True),
    ):
        model = built(family(name), "token_classification")
        loss = model(IDS, attention_mask=mask, labels=labels).loss
        without = model(IDS, attention_mask=mask, labels=hidden).loss
        assert torch.equal(loss, without) is not counted, name


def test_beam_ignores_positions_outside_the_sequence():
    """A row whose start is outside loses both terms, since its end has no score without it."""
    model = built(family("xlnet"), "beam_question_answering")

    def loss(starts, ends):
        return model(
            IDS, start_positions=torch.tensor(starts), end_positions=torch.tensor(ends)
        ).loss

    rows = [
        model(IDS[[i]], start_positions=torch.tensor([1]), end_positions=torch.tensor([2])).loss
        for i in range(3)
    ]
    assert_close_relative(loss([1, 1, 1], [2, 2, 2]), torch.stack(rows).mean(), "mean over rows")
    assert_close_relative(loss([1, 4, 1], [2, 2, 2]), (rows[0] + rows[2]) / 2, "one row outside")
    assert_close_relative(loss([-100, -1, 1], [0, 0, 2]), rows[2], "two rows outside")
    assert float(loss([9, 9, 9], [0, 0, 0]).detach()) == 0.0


@pytest.mark.parametrize("name", ["xlnet", "transformer-xl"])
def test_loss_and_candidates_together(name):
    model = built(family(name), "beam_question_answering", start_n_top=2, end_n_top=3)
    spans = {"start_positions": torch.tensor([0, 1, 3]), "end_positions": torch.tensor([2, 1, 3])}
    alone, without = model(IDS, **spans), model(IDS)
    both = model(IDS, **spans, output_spans=True)
    assert alone.end_top_index is None and without.loss is None
    assert torch.equal(both.loss, alone.loss)
    for field in (
        "start_top_log_probs",
        "start_top_index",
        "end_top_log_probs",
        "end_top_index",
        "cls_logits",
    ):
        assert torch.equal(both[field], without[field]), field


def test_labels_of_a_call_replace_those_of_the_checkpoint(tmp_path):
    names = {0: "no", 1: "yes"}
    save_model(
        build_model(family("xlm"), "sequence_classification", id2label=names, seed=0), tmp_path
    )
    kept = load_model(tmp_path)
    assert kept.head.options.num_labels == 2 and kept.head.options.id2label == names
    with pytest.warns(
        UserWarning, match="of another shape, initialised anew: head.projection.weight"
    ):
        other = load_model(tmp_path, num_labels=3)
    assert other.head.options.num_labels == 3 and other.head.options.id2label is None
    assert other(IDS).logits.shape == (3, 3)
    renamed = load_model(tmp_path, id2label={0: "down", 1: "up"})
    assert renamed.head.options.id2label == {0: "down", 1: "up"}
    assert torch.equal(renamed(IDS).logits, kept(IDS).logits)


@pytest.mark.parametrize(
    "head", ["token_classification", "beam_question_answering", "sequence_classification"]
)
def test_a_head_that_transformers_lacks_starts_anew(head, tmp_path):
    """An XGLM checkpoint of transformers opens with any head: the body is kept, the head is drawn
    and named.
    """
    whole = build_model(family("xglm"), seed=3)
    save_model(whole, tmp_path, format="huggingface")
    with pytest.warns(UserWarning, match="initialised anew: head"):
        model = load_model(tmp_path, head=head)
    assert {name.split(".")[0] for name in model.load_report.initialised} == {"head"}
    for name, parameter in model.named_parameters():
        if not name.startswith("head."):
            assert torch.equal(parameter, whole.get_parameter(name)), name
    with pytest.raises(RuntimeError, match=f"transformers has no xglm class for the head '{head}'"):
        save_model(model, tmp_path / "back", format="huggingface")


def test_the_pooler_stays_under_a_head_that_needs_it(tmp_path):
    """A masked-LM checkpoint has no pooler: multiple choice gets a fresh one, the bare backbone
    none.
    """
    save_model(build_model(family("xlm-roberta-xl"), seed=0), tmp_path, format="huggingface")
    with pytest.warns(UserWarning, match="initialised anew: pooler"):
        model = load_model(tmp_path, head="multiple_choice")
    assert model(IDS[None]).pooler_output.shape == (3, 16)
    with pytest.warns(UserWarning, match="left over"):
        assert load_model(tmp_path, head=None).pooler is None


def test_settings_that_a_published_class_cannot_say_are_not_lost(tmp_path):
    model = build_model(
        family("xlnet"), "sequence_classification", pooling={"kind": "token"}, seed=0
    )
    with pytest.raises(
        RuntimeError, match=r"cannot say: heads\.options\.sequence_classification\.pooling"
    ):
        save_model(model, tmp_path, format="huggingface")

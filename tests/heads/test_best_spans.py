"""The best answers of the beam, against the loss that the same model gives each span."""

import itertools

import pytest
import torch

from heads import Span, best_spans
from heads.question_answering import BeamQuestionAnswering
from tests.strategies import built, family

IDS = torch.tensor([[6, 7, 8, 9, 10, 11], [12, 13, 14, 15, 16, 17]])
LENGTH = IDS.shape[1]


def log_probability(model, row, start, end, **given):
    """log p(start) + log p(end | start), from the training loss of one row, which is minus half of
    it.
    """
    places = {"start_positions": torch.tensor([start]), "end_positions": torch.tensor([end])}
    given = {name: value[[row]] for name, value in given.items()}
    return -2 * float(model(IDS[[row]], **places, **given).loss.detach())


@pytest.mark.parametrize("name", ["xlnet", "xlm", "xlm-roberta-xl", "transformer-xl", "xglm"])
@pytest.mark.parametrize("masked", [False, True])
def test_all_spans_of_a_full_beam(name, masked):
    """With as many candidates as places, the ranking is that of all spans."""
    model = built(family(name), "beam_question_answering", start_n_top=LENGTH, end_n_top=LENGTH)
    given = {"p_mask": torch.tensor([[1.0, 0, 0, 0, 0, 1], [0] * 6])} if masked else {}
    output = model(IDS, **given)
    assert isinstance(model.head, BeamQuestionAnswering)
    for row, spans in enumerate(model.head.best_spans(output, n=99)):
        allowed = range(1, 5) if masked and row == 0 else range(LENGTH)
        pairs = itertools.combinations_with_replacement(allowed, 2)
        scores = {pair: log_probability(model, row, *pair, **given) for pair in pairs}
        ranked = sorted(scores, key=scores.__getitem__, reverse=True)
        assert [(span.start, span.end) for span in spans] == ranked
        for span in spans:
            assert span.score == pytest.approx(scores[span.start, span.end], rel=1e-9)
            expected = torch.nn.functional.logsigmoid(output.cls_logits[row])
            assert span.no_answer_score == pytest.approx(float(expected.detach()), rel=1e-12)
    first = best_spans(output, 1)
    assert [len(spans) for spans in first] == [1, 1]
    assert [spans[0] for spans in first] == [spans[0] for spans in best_spans(output, 99)]
    assert isinstance(first[0][0], Span)
    short = best_spans(output, 99, max_length=2)
    assert all(span.end - span.start < 2 for spans in short for span in spans)
    assert [[s for s in spans if s.end - s.start < 2] for spans in best_spans(output, 99)] == short


@pytest.mark.parametrize(("starts", "ends"), [(2, 3), (3, 2), (4, 1), (1, 4)])
def test_candidates_lie_end_by_end(starts, ends):
    """Each pair has the probability that the model gives it; read start by start, as is published,
    some do not.
    """
    model = built(
        family("xlnet"), "beam_question_answering", seed=5, start_n_top=starts, end_n_top=ends
    )
    output = model(IDS)
    wrong = 0
    for row in range(2):
        for s, e in itertools.product(range(starts), range(ends)):
            start = int(output.start_top_index[row, s])
            number, published = e * starts + s, s * ends + e
            log_start = output.start_top_log_probs[row, s].log()
            for place in {number, published}:
                end = int(output.end_top_index[row, place])
                claimed = float((log_start + output.end_top_log_probs[row, place].log()).detach())
                right = claimed == pytest.approx(log_probability(model, row, start, end), rel=1e-9)
                assert right or place != number
                wrong += not right
        for span in best_spans(output, 99)[row]:
            assert span.score == pytest.approx(
                log_probability(model, row, span.start, span.end), rel=1e-9
            )
    assert wrong if min(starts, ends) > 1 else not wrong


def test_fewer_spans_than_asked():
    """Ends before their starts are no answers."""
    model = built(family("xlnet"), "beam_question_answering", start_n_top=1, end_n_top=LENGTH)
    output = model(IDS)
    for row, spans in enumerate(best_spans(output, 99)):
        assert len(spans) == LENGTH - int(output.start_top_index[row, 0])

"""Heads that find the answer in the text: start and end scores, and a beam over spans."""

from typing import Any, NamedTuple

import torch
from pydantic import PositiveInt
from torch import Tensor, nn
from torch.nn import functional

from engine.arguments import check_flag, check_mask, expect, read_ids, read_mask, readable
from engine.errors import InputError
from engine.network.head import Head, HeadOptions
from engine.network.inputs import Inputs
from engine.network.norms import build_norm
from engine.network.outputs import Output
from engine.spec import Spec
from heads.losses import mean_cross_entropy, one_a_row, wide
from heads.pooling import AnyPooling, Pooling, at_index
from heads.registry import register_head


@register_head("question_answering")
class QuestionAnswering(Head):
    """Scores of every place to be the first or last of the answer: `start_logits` and `end_logits`
    (b i).

    `start_positions` and `end_positions` (b) or (b 1): `loss` is the mean of both mean losses. As
    published, positions from the sequence length on are ignored and negative ones count as 0.
    Raises InputError where one of them is missing.
    """

    inputs = frozenset({"start_positions", "end_positions"})

    def __init__(self, spec: Spec, options: HeadOptions) -> None:
        super().__init__(spec, options)
        self.output = nn.Linear(spec.dims.model, 2)

    def forward(
        self,
        result: Output,
        inputs: Inputs,
        start_positions: Tensor | None = None,
        end_positions: Tensor | None = None,
    ) -> Output:
        result.start_logits, result.end_logits = self.output(result.states).unbind(-1)
        length = result.start_logits.shape[1]
        positions = _both(start_positions, end_positions, result.start_logits)
        if positions is not None:
            start, end = (places.clamp(0, length) for places in positions)
            start_loss = mean_cross_entropy(result.start_logits, start, ignored=length)
            result.loss = (
                start_loss + mean_cross_entropy(result.end_logits, end, ignored=length)
            ) / 2
        return result


class Span(NamedTuple):
    """An answer: places of its first and last token, log-probability `score`, and that of there
    being no answer.
    """

    start: int
    end: int
    score: float
    no_answer_score: float


def best_spans(output: Output, n: int = 1, max_length: int | None = None) -> list[list[Span]]:
    """The `n` most probable answers of each row, best first, from the candidates of
    `beam_question_answering`.

    A score is log p(start) + log p(end | start). Spans that end before they start, are longer than
    `max_length` tokens, or touch a masked place are left out, so that there may be fewer. The end
    candidates of an output lie end by end: number `e * starts + s` is the e-th end for start s.
    Post-processing in transformers reads them start by start, which pairs ends with starts that
    they do not belong to, and takes the probabilities in `..._log_probs` for their logarithms.
    Raises InputError for an output without candidates.
    """
    starts, ends, cls_logits = output.start_top_index, output.end_top_index, output.cls_logits
    if starts is None or ends is None or cls_logits is None:
        raise InputError(
            "this output has no candidates: call the model without positions, or with output_spans=True"
        )
    for name, limit in (("n", n), ("max_length", max_length)):
        if limit is not None and limit < 1:
            raise InputError(f"{name} is {limit}, it must be at least 1")
    assert output.start_top_log_probs is not None and output.end_top_log_probs is not None
    rows, beams = starts.shape
    start_scores, end_scores, none, starts, ends = (
        part.detach().cpu()
        for part in (output.start_top_log_probs, output.end_top_log_probs, cls_logits, starts, ends)
    )
    ends = ends.view(rows, -1, beams)
    scores = start_scores.double().log()[:, None] + end_scores.double().log().view_as(ends)
    none = functional.logsigmoid(none.double())
    begins = starts[:, None].expand_as(ends)
    wrong = (ends < begins) | (scores == -torch.inf)
    if max_length is not None:
        wrong = wrong | (ends - begins >= max_length)
    ranked = (
        scores.masked_fill(wrong, -torch.inf).flatten(1).sort(dim=1, descending=True, stable=True)
    )
    found: list[list[Span]] = []
    for row in range(rows):
        kept = ranked.indices[row][ranked.values[row] > -torch.inf][:n]
        parts = (
            begins.flatten(1)[row, kept],
            ends.flatten(1)[row, kept],
            scores.flatten(1)[row, kept],
        )
        listed = zip(*(part.tolist() for part in parts), strict=True)
        found.append([Span(start, end, score, float(none[row])) for start, end, score in listed])
    return found


@register_head("beam_question_answering")
class BeamQuestionAnswering(Head):
    """Answers whose end depends on their start, and whether there is one (Yang et al. 2019;
    Rajpurkar et al. 2018).

    `start_positions`, `end_positions` (b): `loss`, the end scored given the true start, plus half
    the loss of `is_impossible` (b; 1 where there is no answer) where that is given. Positions
    outside the sequence are ignored. Otherwise the candidates, exactly as published:
    `start_top_log_probs` (b s), `start_top_index`, `end_top_log_probs` (b e·s, end by end),
    `end_top_index`, which hold probabilities in spite of their name, and `cls_logits` (b), above 0
    where no answer is likelier; `best_spans` reads them. `output_spans=True` gives them beside a
    loss as well. `cls_index` (b): the classification token, else `pooling` finds it; `p_mask` (b
    i): 1 where no answer starts or ends. Raises InputError for a missing counterpart, and for more
    candidates than places.
    """

    class Options(HeadOptions):
        """Of beam_question_answering."""

        start_n_top: PositiveInt = 5
        """How many starts are tried."""
        end_n_top: PositiveInt = 5
        """How many ends are tried with each of them."""
        pooling: AnyPooling | None = None
        """What the answerability is read from; null: the token that has seen the whole text."""

    inputs = frozenset(
        {"start_positions", "end_positions", "is_impossible", "cls_index", "p_mask", "output_spans"}
    )
    best_spans = staticmethod(best_spans)

    def __init__(self, spec: Spec, options: Options) -> None:
        super().__init__(spec, options)
        model = spec.dims.model
        self.pooling = Pooling(spec, options.pooling)
        self.needs_pooler = self.pooling.options.kind == "pooler"
        self.start = nn.Linear(model, 1)
        self.end_dense = nn.Linear(2 * model, model)
        self.end_norm = build_norm(spec.norm, model, "output")
        self.end = nn.Linear(model, 1)
        self.answer_dense = nn.Linear(2 * model, model)
        self.answer = nn.Linear(model, 1, bias=False)

    def forward(  # noqa: PLR0913
        self,
        result: Output,
        inputs: Inputs,
        start_positions: Tensor | None = None,
        end_positions: Tensor | None = None,
        is_impossible: Tensor | None = None,
        cls_index: Tensor | None = None,
        p_mask: Tensor | None = None,
        output_spans: bool | None = None,
    ) -> Output:
        states = result.states
        positions = _both(start_positions, end_positions, states)
        if is_impossible is not None and positions is None:
            raise InputError("is_impossible needs start_positions and end_positions")
        check_flag("output_spans", output_spans)
        masked: Tensor | None = None
        if p_mask is not None:
            masked = self._masked(states, p_mask)
        start_logits = _without(self.start(states).squeeze(-1), masked)
        if positions is None or output_spans or is_impossible is not None:
            token = self._token(result, inputs, states, cls_index, is_impossible)
        if positions is not None:
            start, end = (_inside(places, states.shape[1]) for places in positions)
            known = states.gather(
                1, start.clamp(max=states.shape[1] - 1)[:, None, None].expand_as(states[:, :1])
            )
            end_logits = _without(self._ends(states, known.expand_as(states)), masked)
            # An end has no score of its own without its start.
            end = torch.where(start == states.shape[1], start, end)
            ignored = states.shape[1]
            result.loss = (
                mean_cross_entropy(start_logits, start, ignored)
                + mean_cross_entropy(end_logits, end, ignored)
            ) / 2
            if is_impossible is not None:
                result.loss = result.loss + 0.5 * self._impossible(
                    known.squeeze(1), token, is_impossible
                )
        if positions is None or output_spans:
            self._candidates(result, states, start_logits, masked, token)
        return result

    def _masked(self, states: Tensor, p_mask: Any) -> Tensor:
        """True (b i) for places at which no answer starts or ends."""
        p_mask = read_mask("p_mask", p_mask, states.device)
        expect("p_mask", p_mask, tuple(states.shape[:2]))
        check_mask("p_mask", p_mask, "1 where no answer starts or ends, else 0")
        return p_mask > 0.5

    def _token(
        self,
        result: Output,
        inputs: Inputs,
        states: Tensor,
        cls_index: Tensor | None,
        is_impossible: Tensor | None,
    ) -> Tensor:
        """The state (b d) of the classification token."""
        if cls_index is not None:
            return at_index(states, cls_index)
        if is_impossible is not None and self.pooling.options.kind == "cls_index":
            raise InputError(
                "is_impossible needs cls_index, or a pooling that finds the classification token"
            )
        return self.pooling(result, inputs)

    def _ends(self, states: Tensor, starts: Tensor) -> Tensor:
        """Scores (...) of states (... d) to end an answer that begins at states `starts` (... d)."""
        hidden = torch.tanh(self.end_dense(torch.cat((states, starts), dim=-1)))
        return self.end(self.end_norm(hidden)).squeeze(-1)

    def _no_answer(self, starts: Tensor, token: Tensor) -> Tensor:
        return self.answer(
            torch.tanh(self.answer_dense(torch.cat((starts, token), dim=-1)))
        ).squeeze(-1)

    def _impossible(self, starts: Tensor, token: Tensor, is_impossible: Tensor) -> Tensor:
        logits = wide(self._no_answer(starts, token))
        wanted = one_a_row("is_impossible", is_impossible, logits).to(logits.dtype)
        if readable(wanted) and not bool(((wanted >= 0) & (wanted <= 1)).all()):
            raise InputError("is_impossible must be 1 where there is no answer, else 0")
        return functional.binary_cross_entropy_with_logits(logits, wanted)

    def _candidates(
        self,
        result: Output,
        states: Tensor,
        start_logits: Tensor,
        masked: Tensor | None,
        token: Tensor,
    ) -> None:
        rows, length, width = states.shape
        starts, ends = self.options.start_n_top, self.options.end_n_top
        for name, count in (("start_n_top", starts), ("end_n_top", ends)):
            if count > length:
                raise InputError(
                    f"{name} is {count}, but the sequence has {length} places: lower "
                    f"heads.options.beam_question_answering.{name}"
                )
        probabilities = start_logits.softmax(-1)
        result.start_top_log_probs, result.start_top_index = probabilities.topk(starts, dim=-1)
        chosen = states.gather(1, result.start_top_index[..., None].expand(-1, -1, width))
        shape = (rows, length, starts, width)
        end_logits = self._ends(states[:, :, None].expand(shape), chosen[:, None].expand(shape))
        if masked is not None:
            masked = masked[..., None]
        end_logits = _without(end_logits, masked)
        best, index = end_logits.softmax(1).topk(ends, dim=1)
        result.end_top_log_probs, result.end_top_index = best.flatten(1), index.flatten(1)
        soft = torch.einsum("bid,bi->bd", states, probabilities)
        result.cls_logits = self._no_answer(soft, token)


def _both(start: Any, end: Any, like: Tensor) -> tuple[Tensor, Tensor] | None:
    """Both positions (b), one for each row of `like`, or None where neither is given."""
    if start is None and end is None:
        return None
    if start is None or end is None:
        missing = "start_positions" if start is None else "end_positions"
        raise InputError(
            f"{missing} is missing: give both start_positions and end_positions, or neither"
        )
    start = read_ids("start_positions", start, like.device)
    end = read_ids("end_positions", end, like.device)
    return one_a_row("start_positions", start, like), one_a_row("end_positions", end, like)


def _inside(places: Tensor, length: int) -> Tensor:
    """Places (b), and `length` for those outside the sequence."""
    return torch.where((places < 0) | (places >= length), length, places)


def _without(logits: Tensor, masked: Tensor | None) -> Tensor:
    """Scores with the published stand-in for minus infinity at masked places."""
    if masked is None:
        return logits
    return logits.masked_fill(masked, -65500.0 if logits.dtype == torch.float16 else -1e30)

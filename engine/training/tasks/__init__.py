"""Tasks of fine-tuning, one file a kind: examples to rows, rows to calls, outputs to predictions
and metrics.
"""

from typing import Any

from engine.spec import Spec
from engine.training.recipe import sections
from engine.training.tasks.base import Columns, Task, write_predictions
from engine.training.tasks.causal import CausalAnswers
from engine.training.tasks.choices import Choices
from engine.training.tasks.classification import Classification, names_of
from engine.training.tasks.question_answering import Questions
from engine.training.tasks.tokens import TokenLabels
from tokenization import Tokenizer

__all__ = ["Task", "make_task", "write_predictions"]


def make_task(
    section: sections.Task, spec: Spec, tokenizer: Tokenizer, texts: Any, head: str | None = None
) -> Task:
    """The task that a recipe names, whose labels are those of the section or of the training
    `texts`; `head` where the task can train several.
    """
    task = _make(section, spec, tokenizer, texts, head)
    task.wanted = section.metrics
    return task


def _make(
    section: sections.Task, spec: Spec, tokenizer: Tokenizer, texts: Any, head: str | None
) -> Task:
    columns = Columns(section.fields)
    length = section.length or spec.position_limit
    if isinstance(section, sections.ClassificationTask | sections.PairTask):
        names: tuple[str, ...] = ()
        if section.problem != "regression":
            names = _names(section.labels, columns, "label", texts)
        return Classification(
            tokenizer,
            columns,
            length,
            problem=section.problem,
            names=names,
            paired=section.kind == "pairs",
        )
    if isinstance(section, sections.TokenTask):
        return TokenLabels(
            tokenizer,
            columns,
            length,
            names=_names(section.labels, columns, "labels", texts),
            label_on=section.label_on,
            scheme=section.scheme,
        )
    if isinstance(section, sections.ChoiceTask):
        return Choices(tokenizer, columns, length)
    if isinstance(section, sections.CausalTask):
        return CausalAnswers(tokenizer, columns, length)
    return Questions(
        tokenizer,
        columns,
        section.length,
        stride=section.stride,
        best=section.best,
        longest=section.longest_answer,
        no_answer=section.no_answer,
        head=head or "question_answering",
    )


def _names(given: Any, columns: Columns, role: str, texts: Any) -> tuple[str, ...]:
    if given != "from_data":
        return tuple(given)
    return names_of(texts, columns, role)

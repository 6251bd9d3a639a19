"""Rules that hold between the sections of a recipe, and between a recipe and its network, each as
(path, what is wrong and what would be right).
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

from engine.errors import nearest
from engine.spec import Spec
from engine.spec.intact import Intact, Problem, told_by
from engine.training.recipe import adapted, fit, sections
from engine.training.recipe.metrics import metrics_of
from engine.training.recipe.model import Recipe
from engine.training.recipe.parts import parts_of


def broken_rules(
    recipe: Recipe | Intact,
    spec: Spec | None,
    vocabulary: int | None,
    processes: int | None = None,
) -> list[Problem]:
    """Every rule that a recipe breaks: by itself, on its network, with a tokenizer of `vocabulary`
    ids, and on so many processes; None: not known yet.
    """
    problems = told_by(OWN, recipe)
    if processes is not None:
        problems += told_by([partial(_processes, processes=processes)], recipe)
    if spec is not None:
        with_spec = [partial(rule, spec=spec) for rule in (*fit.RULES, adapted.adapter)]
        problems += told_by(with_spec, recipe)
    if spec is not None and vocabulary is not None:
        problems += told_by([partial(fit.ids, spec=spec, vocabulary=vocabulary)], recipe)
    return problems


def _one_of(section: Any, path: str, names: tuple[str, str], needed: bool) -> Iterator[Problem]:
    given = [name for name in names if getattr(section, name) is not None]
    first, second = names
    prefix = f"{path}." if path else ""
    if len(given) == 2:
        yield f"{prefix}{second}", f"say {prefix}{first} or {prefix}{second}, not both"
    elif needed and not given:
        yield path, f"needs {prefix}{first} or {prefix}{second}"


def _choices(recipe: Recipe) -> Iterator[Problem]:
    yield from _one_of(recipe, "", ("objective", "task"), needed=True)


def _model(recipe: Recipe) -> Iterator[Problem]:
    yield from _one_of(recipe.model, "model", ("spec", "load"), needed=True)


def _tokenizer(recipe: Recipe) -> Iterator[Problem]:
    yield from _one_of(recipe.tokenizer, "tokenizer", ("load", "train"), needed=False)
    if recipe.model.load and recipe.tokenizer.train:
        yield "tokenizer.train", "a loaded network knows the ids of its own tokenizer: leave it out"


def _batch(recipe: Recipe) -> Iterator[Problem]:
    batch = recipe.batch
    yield from _one_of(batch, "batch", ("rows", "tokens"), needed=True)
    if batch.rows and batch.split and batch.split > batch.rows:
        yield "batch.split", f"{batch.split} rows at a time are more than batch.rows {batch.rows}"


def _length(recipe: Recipe) -> Iterator[Problem]:
    yield from _one_of(recipe.length, "length", ("steps", "epochs"), needed=True)


def _schedule(recipe: Recipe) -> Iterator[Problem]:
    schedule = recipe.schedule
    if schedule.decay == "inverse_sqrt" and not schedule.warm_up:
        text = "the rate of inverse_sqrt is that of the last step of warm_up: say more than 0"
        yield "schedule.warm_up", text
    steps = recipe.length.steps
    if steps and isinstance(schedule.warm_up, int) and schedule.warm_up > steps:
        text = f"{schedule.warm_up} steps of warm_up are more than length.steps {steps}"
        yield "schedule.warm_up", text


def _evaluation(recipe: Recipe) -> Iterator[Problem]:
    evaluate = recipe.evaluate
    if evaluate.patience and recipe.data.held_out is None:
        yield "evaluate.patience", "stopping early needs data.held_out"
    if evaluate.patience and evaluate.every is None:
        yield "evaluate.patience", "stopping early needs evaluate.every"


def _metrics(recipe: Recipe) -> Iterator[Problem]:
    predicted = recipe.objective or recipe.task
    if predicted is None:
        return
    known = metrics_of(predicted)
    best = recipe.evaluate.best
    if best not in known:
        text = f"'{best}' is no metric of {predicted.kind}{nearest(best, known)}"
        yield "evaluate.best", text
    for number, name in enumerate(getattr(predicted, "metrics", ())):
        if name not in known:
            text = f"'{name}' is no metric of {predicted.kind}{nearest(name, known)}"
            yield f"task.metrics.{number}", text
    for name in recipe.expected:
        if name not in known:
            text = f"'{name}' is no metric of {predicted.kind}{nearest(name, known)}"
            yield f"expected.{name}", text


def _mix(recipe: Recipe) -> Iterator[Problem]:
    for part in parts_of(recipe):
        if part.data.mix is None:
            continue
        for number, source in enumerate(part.data.train):
            named = source.language or "language" in getattr(source, "fields", {})
            if not named:
                text = "data.mix is by language: say this source's language"
                yield f"{part.data_path}.train.{number}", text


def _weights(recipe: Recipe) -> Iterator[Problem]:
    for part in parts_of(recipe):
        fates = getattr(part.objective, "fates", (1.0,))
        if abs(sum(fates) - 1.0) > 1e-6:
            text = f"mask, random and kept add up to {sum(fates):g}, which should be 1"
            yield f"{part.path}.fates", text


def _layouts(recipe: Recipe) -> Iterator[Problem]:
    """Which layout an objective or task reads."""
    for part in parts_of(recipe):
        layout, kind = part.data.layout, part.objective.kind
        where = f"{part.data_path}.layout.kind"
        if isinstance(layout, sections.WindowLayout) and layout.stride >= layout.length:
            text = f"windows of {layout.length} that overlap by {layout.stride} never move on"
            yield f"{part.data_path}.layout.stride", text
        if kind == "recurrent" and layout.kind != "stream":
            yield where, f"a recurrent objective reads streams, found {layout.kind}: say stream"
        if layout.kind == "stream" and kind not in ("recurrent", "permutation"):
            text = "a stream carries memory: its objective is recurrent or permutation, found"
            yield where, f"{text} {kind}"
        if layout.kind == "stream" and isinstance(recipe.objective, sections.MixObjective):
            yield where, "a stream carries memory from step to step, which the turns of a mix break"
        if kind == "translation" and layout.kind != "pairs":
            yield where, f"translation reads pairs of texts, found {layout.kind}: say pairs"
        if layout.kind == "pairs" and kind != "translation":
            yield where, f"pairs of texts are for the objective translation, found {kind}"
        if layout.kind == "stream" and recipe.batch.rows is None:
            yield "batch.rows", "streams are read side by side: say their number as batch.rows"
        if any(isinstance(source, sections.SquadSource) for source in part.data.train):
            text = "questions are for the task question_answering"
            yield f"{part.data_path}.train", text


def _task(recipe: Recipe) -> Iterator[Problem]:
    task = recipe.task
    if task is None:
        return
    if recipe.data.layout.kind in ("packed", "stream"):
        text = f"a task reads one example a row, found {recipe.data.layout.kind}: leave it out"
        yield "data.layout.kind", text
    if isinstance(task, sections.QuestionTask) and task.stride >= task.length:
        text = f"windows of {task.length} that overlap by {task.stride} never move on"
        yield "task.stride", text
    for number, source in enumerate(recipe.data.train):
        if isinstance(source, sections.TextSource):
            text = "plain text has no labels: a task reads jsonl, csv, parquet, squad or hub"
            yield f"data.train.{number}.kind", text
        elif isinstance(source, sections.SquadSource) and task.kind != "question_answering":
            text = f"questions are for the task question_answering, found {task.kind}"
            yield f"data.train.{number}.kind", text


def _permutation(recipe: Recipe) -> Iterator[Problem]:
    for part in parts_of(recipe):
        objective, length = part.objective, part.data.layout.length
        if not isinstance(objective, sections.PermutationObjective):
            continue
        if objective.predict and length and objective.predict > length:
            text = f"{objective.predict} of a row's {length} tokens cannot be predicted"
            yield f"{part.path}.predict", text
        if objective.both_directions:
            yield from _halves(recipe.batch, part.path)


def _halves(batch: sections.Batch, path: str) -> Iterator[Problem]:
    if batch.rows is None:
        yield f"{path}.both_directions", "half of the rows are read backward: say batch.rows"
    for name in ("rows", "split"):
        count = getattr(batch, name)
        if count and count % 2:
            text = f"with both_directions half of the rows are read backward: {count} is odd"
            yield f"batch.{name}", text


def _processes(recipe: Recipe, processes: int) -> Iterator[Problem]:
    if processes % recipe.devices.tensor:
        text = f"{processes} processes are not a multiple of {recipe.devices.tensor}"
        yield "devices.tensor", text
        return
    shares = processes // recipe.devices.tensor
    rows = recipe.batch.rows
    if rows is None:
        return
    if rows % shares:
        yield "batch.rows", f"{rows} rows cannot be shared equally by {shares} processes"
    elif (rows // shares) % 2 and any(
        getattr(part.objective, "both_directions", False) for part in parts_of(recipe)
    ):
        text = f"with both_directions each of {shares} processes needs an even number of rows"
        yield "batch.rows", text


OWN = (
    _choices,
    _model,
    _tokenizer,
    _batch,
    _length,
    _schedule,
    _evaluation,
    _metrics,
    _mix,
    _weights,
    _layouts,
    _task,
    _permutation,
)

"""From a recipe to the plan of a run: texts are read, tokenised and laid out, the network is built,
and every rule is checked, before the first step.
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from engine.build import build_model
from engine.checkpoint import load_model
from engine.checkpoint.files import resolve_folder
from engine.checkpoint.opening import open_source
from engine.errors import InputError
from engine.model import Model
from engine.spec import Spec
from engine.training.adapters import Adapter, require_peft
from engine.training.data.draws import Draws
from engine.training.data.layouts import Rows, lay_out
from engine.training.data.order import Order, mix_weights
from engine.training.data.rows import Row
from engine.training.data.sources import hold_out, read_texts
from engine.training.data.tokens import Tokens, tokenise
from engine.training.distribute import Processes
from engine.training.objectives import make_objective
from engine.training.objectives.base import Batch, Objective
from engine.training.objectives.mix import Mix
from engine.training.objectives.permutation import Permutation
from engine.training.recipe import sections
from engine.training.recipe.fit import HEADS
from engine.training.recipe.load import Opened
from engine.training.recipe.model import Recipe
from engine.training.recipe.parts import parts_of
from engine.training.run.evaluation import HeldOut
from engine.training.run.feed import Feed, InTurn, Turns
from engine.training.run.loop import Plan, Say
from engine.training.tasks import Task, make_task
from tokenization import Tokenizer, load_tokenizer, train_tokenizer
from tokenization.files.plain_yaml import write_yaml

EVALUATION = -1  # the step by whose draws held-out rows are asked
# What a tokenizer is trained on: the columns of texts, by their roles.
TEXT_ROLES = ("text", "pair", "words", "choices", "prompt", "answer", "question", "context")
SHORTEST_EVALUATION = 4  # segments that a held-out stream has at least


@dataclass(frozen=True)
class Texts:
    """Tables of texts to learn from, and held out (None: nothing is)."""

    train: Any
    held_out: Any


class Evaluating:
    """An objective as evaluation asks it, row by row."""

    whole = False

    def __init__(self, objective: Objective) -> None:
        self.objective, self.head = objective, objective.head

    def batch(self, rows: Sequence[Row], draws: Draws) -> Batch:
        """Inputs and labels of held-out rows."""
        return self.objective.evaluation(rows, draws)

    evaluation = batch


def make_plan(
    opened: Opened,
    output: Path,
    *,
    processes: Processes | None = None,
    cache: Path | None = None,
    say: Say = print,
) -> Plan:
    """The plan of a recipe's run into the folder `output`; tokens are kept under `cache`.

    Raises RecipeError for rules that are broken now that vocabulary and processes are known, and
    InputError or TrainingError for texts that cannot be read or do not suffice.
    """
    processes = processes or Processes()
    recipe = opened.recipe
    if recipe.adapter is not None:
        require_peft()
    datas = {"data": recipe.data, **{part.data_path: part.data for part in parts_of(recipe)}}
    texts = {path: read_data(data, recipe.seed) for path, data in datas.items()}
    tokenizer = make_tokenizer(recipe, opened.spec, texts.values(), output)
    spec = opened.spec or read_spec(recipe)
    opened.check(spec, len(tokenizer), processes.total)
    task = None
    if recipe.task is not None:
        task = make_task(recipe.task, spec, tokenizer, texts["data"].train, recipe.model.head)
    model = make_model(recipe, task)
    adapter, about = None, {}
    if recipe.adapter is not None:
        adapter = Adapter(model, recipe.adapter, recipe.seed, recipe.model.load)
        about["frozen weights"] = adapter.frozen
    keep = partial(tokenise, tokenizer=tokenizer, cache=cache or token_cache(), encode=task)
    tokens = {path: keep(found.train) for path, found in texts.items()}
    for path, found in tokens.items():
        count = int(found.lengths.sum())
        say(f"{path}: {len(found):,} rows, {count:,} tokens (cache {found.key})")
    feeds = _feeds(recipe, task, model, tokenizer, tokens)
    first = feeds[0]
    held_out = None
    if texts["data"].held_out is not None:
        if task is not None:
            task.check(texts["data"].held_out)
        kept = keep(texts["data"].held_out)
        held_out = _held_out(
            recipe, kept, first.objective, spec=model.spec, task=task, processes=processes
        )
    return Plan(
        model=model,
        feed=_in_turn(recipe, feeds),
        steps=_steps(recipe.length, first),
        output=output,
        carries=_carries(first.rows, model.spec),
        probes=tuple(
            feed.longest(processes, _longest_batch(recipe.batch, feed.rows)) for feed in feeds
        ),
        held_out=held_out,
        optimizer=recipe.optimizer,
        schedule=recipe.schedule,
        evaluate=recipe.evaluate,
        save=recipe.save,
        devices=recipe.devices,
        precision=recipe.precision,
        seed=recipe.seed,
        adapter=adapter,
        about={"tokens": [found.key for found in tokens.values()], **about},
        beside=partial(_write_beside, tokenizer=tokenizer, recipe=recipe),
    )


def read_data(data: sections.Data, seed: int) -> Texts:
    """The texts that a recipe names; paths count from the folder in which the run is started."""
    base = Path.cwd()
    train = read_texts(data.train, base=base)
    if data.held_out is None:
        return Texts(train, None)
    if isinstance(data.held_out, sections.HeldOutShare):
        return Texts(*hold_out(train, data.held_out.share, seed))
    return Texts(train, read_texts(data.held_out, base=base))


def make_tokenizer(
    recipe: Recipe, spec: Spec | None, texts: Iterable[Texts], output: Path
) -> Tokenizer:
    """The run's own tokenizer where it was saved before, else one that is loaded or trained."""
    last = output / "last"
    if last.is_dir():
        return load_tokenizer(last)
    if recipe.tokenizer.load is not None:
        return load_tokenizer(recipe.tokenizer.load)
    if recipe.model.load is not None:
        return load_tokenizer(recipe.model.load)
    if spec is None or spec.tokenizer is None:
        raise InputError(
            "tokenizer: the spec has no tokenizer section to train one by: name one to load"
        )
    wanted = recipe.tokenizer.train or sections.TokenizerTraining()
    fields = recipe.task.fields if recipe.task is not None else {}
    languages = None
    if spec.tokenizer.languages:
        languages = (str(language) for one in texts for language, _ in _texts(one.train, fields))
    found = (text for one in texts for _, text in _texts(one.train, fields))
    size = wanted.vocab or spec.dims.vocab
    return train_tokenizer(spec.tokenizer, found, size, languages=languages)


def make_model(recipe: Recipe, task: Task | None) -> Model:
    """The network of a recipe with the head that its objective or task trains."""
    given = recipe.model
    if task is not None:
        name, options = task.head, {**task.options, **given.options}
    else:
        kind = next(parts_of(recipe)).objective.kind
        name, options = given.head or HEADS[kind][0], given.options
    if given.spec is not None:
        return build_model(given.spec, name, overrides=given.overrides, seed=recipe.seed, **options)
    return load_model(
        str(given.load),
        name,
        dtype=torch.float32,
        overrides=given.overrides,
        seed=recipe.seed,
        **options,
    )


def read_spec(recipe: Recipe) -> Spec:
    """The spec of a network on the hub."""
    folder = resolve_folder(str(recipe.model.load), None)
    return open_source(folder, None, recipe.model.overrides).spec


def token_cache() -> Path:
    """Where tokens are kept that were made once: `BLOCKGRAPH_CACHE`, or a folder of the user's."""
    given = os.environ.get("BLOCKGRAPH_CACHE")
    if given:
        return Path(given)
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return home / "blockgraph" / "tokens"


def _feeds(
    recipe: Recipe,
    task: Task | None,
    model: Model,
    tokenizer: Tokenizer,
    tokens: Mapping[str, Tokens],
) -> list[Feed]:
    """What the steps read: the task's examples, or the rows of each objective."""
    if task is not None:
        task.bind(model)
        return [_feed(recipe, recipe.data, tokens["data"], task)]
    feeds = []
    for part in parts_of(recipe):
        found = tokens[part.data_path]
        counts = torch.from_numpy(found.counts(model.spec.dims.vocab))
        objective = make_objective(part.objective, model.spec, tokenizer, counts)
        feeds.append(_feed(recipe, part.data, found, objective))
    return feeds


def _feed(recipe: Recipe, data: sections.Data, tokens: Tokens, objective: Objective) -> Feed:
    rows = _rows(data.layout, tokens, recipe, objective, recipe.batch.rows)
    mix = None
    if data.mix is not None:
        mix = mix_weights(rows, data.mix.alpha)
    multiple = 2 if _both_ways(objective) else 1
    order = Order(rows, recipe.batch, recipe.seed, mix, multiple=multiple)
    return Feed(rows, order, objective, partial(Draws, recipe.seed), recipe.batch.split)


def _in_turn(recipe: Recipe, feeds: Sequence[Feed]) -> Feed | Turns:
    """The one feed, or those of a mix drawn a step by their weights."""
    if not isinstance(recipe.objective, sections.MixObjective):
        return feeds[0]
    weights = [part.weight for part in recipe.objective.parts]
    mix = Mix([feed.objective for feed in feeds], weights)
    return Turns(feeds, lambda step: mix.part(Draws(recipe.seed, step)))


def _held_out(
    recipe: Recipe,
    tokens: Tokens,
    objective: Objective,
    *,
    spec: Spec,
    task: Task | None,
    processes: Processes,
) -> HeldOut:
    count = recipe.evaluate.rows or recipe.batch.rows or 1
    layout = recipe.data.layout
    if isinstance(layout, sections.StreamLayout):
        most = int(tokens.lengths.sum()) // (SHORTEST_EVALUATION * layout.length)
        count = max(1, min(count, most))
        if _both_ways(objective):  # as many of each way for every process
            count += -count % (2 * processes.count)
    rows = _rows(layout, tokens, recipe, objective, count)
    if recipe.evaluate.rows is None and recipe.batch.tokens is not None:
        count = _longest_batch(recipe.batch, rows)
    turns = InTurn(rows, count)
    feed = Feed(rows, turns, Evaluating(objective), lambda step: Draws(recipe.seed, EVALUATION))
    memory = getattr(objective, "evaluation_memory", None)
    return HeldOut(feed, len(turns), _carries(rows, spec), memory, task)


def _rows(
    layout: sections.Layout,
    tokens: Tokens,
    recipe: Recipe,
    objective: Objective,
    count: int | None,
) -> Rows:
    """The rows of a layout, streams as many as `count` and as the objective reads them."""
    advance = None
    if isinstance(objective, Permutation):
        advance = getattr(objective.frame.spec.memory, "reuse", None)
    return lay_out(
        layout,
        tokens,
        seed=recipe.seed,
        rows=count,
        advance=advance,
        both_ways=_both_ways(objective),
    )


def _both_ways(objective: Objective) -> bool:
    return isinstance(objective, Permutation) and objective.options.both_directions


def _carries(rows: Rows, spec: Spec) -> bool:
    return rows.ordered and spec.memory.kind == "recurrent"


def _longest_batch(batch: sections.Batch, rows: Rows) -> int:
    """How many rows the batch of the longest rows has."""
    if batch.rows is not None:
        return batch.rows
    assert batch.tokens is not None
    return max(1, batch.tokens // int(rows.lengths.max()))


def _steps(length: sections.Length, feed: Feed) -> int:
    if length.steps is not None:
        return length.steps
    order = feed.order
    assert length.epochs is not None and isinstance(order, Order)
    return sum(order.steps_per_epoch(epoch) for epoch in range(length.epochs))


def _texts(records: Any, fields: Mapping[str, str]) -> Iterator[tuple[str | None, str]]:
    """Every text of the records with its language, whatever its role."""
    names = [fields.get(role, role) for role in TEXT_ROLES]
    for number in range(len(records)):
        record = records[number]
        for name in names:
            value = record.get(name)
            if isinstance(value, str):
                yield record["language"], value
            elif isinstance(value, list):
                yield record["language"], " ".join(map(str, value))


def _write_beside(folder: Path, *, tokenizer: Tokenizer, recipe: Recipe) -> None:
    tokenizer.save(folder)
    (folder / "recipe.yaml").write_text(write_yaml(recipe.to_dict()), encoding="utf-8")

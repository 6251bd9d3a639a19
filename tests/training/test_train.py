"""`engine train`: recipes on files of text and of examples become networks that open again."""

import json

import pytest
import torch
from typer.testing import CliRunner

from engine import load_model
from engine.cli import main
from engine.training.distribute import Processes
from engine.training.plan import make_plan
from engine.training.recipe.load import open_recipe
from engine.training.run.feed import Feed, Turns
from engine.training.run.loop import _better
from tokenization import load_tokenizer

NARROW = "{dims.model: 32, dims.inner: 64, dims.heads: 2, dims.head: 16, dims.vocab: 120"
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday")
PRICES = ("one", "two", "three", "seven", "nine")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Lines of text, and examples of every task made of them."""
    folder = tmp_path_factory.mktemp("train")
    facts = [(day, price) for day in DAYS for price in PRICES]
    lines = [f"on {day} bread cost {price} coins" for day, price in facts]
    (folder / "lines.txt").write_text("\n".join(lines) + "\n")
    examples = []
    for number, ((day, price), line) in enumerate(zip(facts, lines, strict=True)):
        words = line.split()
        labels = ["B-DAY" if word == day else "O" for word in words]
        examples.append(
            {
                "text": line,
                "label": "cheap" if price in ("one", "two") else "dear",
                "several": [day, price],
                "number": number / 10,
                "pair": f"{price} coins",
                "words": words,
                "labels": labels,
                "choices": [f"it was {day}", "it was a feast"],
                "right": 0,
                "prompt": f"on {day} bread cost",
                "answer": f" {price} coins",
                "id": str(number),
                "context": line,
                "question": "which day?",
                "answers": {"text": [day], "answer_start": [line.index(day)]},
            }
        )
    written = "".join(json.dumps(example) + "\n" for example in examples)
    (folder / "examples.jsonl").write_text(written)
    return folder


def write(folder, name, family, rest, extra=""):
    path = folder / f"{name}.yaml"
    path.write_text(
        f"recipe: 1\nmodel: {{spec: tiny/{family}, overrides: {NARROW}{extra}}}}}\n"
        "tokenizer: {train: {}}\nbatch: {rows: 4}\nlength: {steps: 3}\n"
        f"optimizer: {{rate: 1.0e-3}}\n{rest}"
    )
    return path


def trained(monkeypatch, folder, recipe, *arguments):
    monkeypatch.chdir(folder)
    output = folder / f"run-{recipe.stem}"
    words = ["train", str(recipe), "--output", str(output), "--cache", str(folder / "cache")]
    result = CliRunner().invoke(main, [*words, *arguments])
    assert result.exit_code == 0, result.output
    return output, result.output


TEXT = "data: {train: [{kind: text, files: lines.txt%s}], held_out: {share: 0.2}, layout: %s}\n"
OBJECTIVES = {
    "causal": ("xglm", "{kind: packed, length: 16}", "{kind: causal}", ""),
    "masked": ("xlm-roberta-xl", "{kind: lines}", "{kind: masked}", ""),
    "permutation": ("xlnet", "{kind: lines}", "{kind: permutation, spans: {start: token}}", ""),
    "recurrent": (
        "transformer-xl",
        "{kind: stream, length: 8}",
        "{kind: recurrent, evaluation_memory: 24}",
        ", memory.length: 12, embeddings.tables.tokens: {width: 32, cutoffs: [60, 90], divisor: 2}",
    ),
}


@pytest.mark.parametrize("kind", OBJECTIVES)
def test_an_objective_trains_from_text_and_opens_again(monkeypatch, folder, kind):
    family, layout, objective, extra = OBJECTIVES[kind]
    rest = TEXT % ("", layout) + f"objective: {objective}\n"
    output, told = trained(monkeypatch, folder, write(folder, kind, family, rest, extra))
    assert "step 3 of 3: loss" in told
    model, tokenizer = load_model(output / "last"), load_tokenizer(output / "last")
    ids = tokenizer(["on Monday bread"], return_tensors="pt").input_ids
    assert ids.max() < model.spec.dims.vocab
    lines = (output / "log.jsonl").read_text().splitlines()
    losses = [json.loads(line)["loss"] for line in lines if "norm" in json.loads(line)]
    assert len(losses) == 3 and (output / "losses.svg").is_file()
    if kind in ("causal", "recurrent"):
        out = model(ids, labels=ids)
        assert torch.isfinite(out.loss)


def test_batches_are_written_as_training_sees_them(monkeypatch, folder):
    rest = TEXT % ("", "{kind: stream, length: 8}") + "objective: {kind: permutation}\n"
    extra = ", memory: {length: 6, reuse: 5}"
    recipe = write(folder, "dumped", "xlnet", rest, extra)
    output, told = trained(monkeypatch, folder, recipe, "--dump-batches", "2")
    assert "batches.jsonl" in told and not (output / "last").exists()
    written = [json.loads(line) for line in (output / "batches.jsonl").open()]
    plan = make_plan(open_recipe(recipe), folder / "new", cache=folder / "cache")
    assert [line["step"] for line in written] == [1, 2]
    for step, line in enumerate(written):
        (portion,) = plan.feed.at(step, Processes())
        assert line["targets"] == portion.batch.targets and line["fresh"] == [step == 0] * 4
        for name, value in portion.batch.inputs.items():
            assert torch.equal(torch.tensor(line["inputs"][name]), value.long()), name
    first, second = (line["inputs"]["input_ids"] for line in written)
    # A segment goes on behind the five tokens that the memory takes.
    assert [row[5:] for row in first] == [row[:3] for row in second]


EXAMPLES = "data: {train: [{kind: jsonl, files: examples.jsonl}], held_out: {share: 0.3}}\n"
TASKS = {
    "classification": ("xlm-roberta-xl", "{kind: classification}", "accuracy"),
    "several": (
        "xlm-roberta-xl",
        "{kind: classification, problem: multiple, fields: {label: several}}",
        "f1_micro",
    ),
    "adapter": (
        "xlm-roberta-xl",
        "{kind: classification}\nadapter: {kind: lora, rank: 2, dropout: 0.1}",
        "accuracy",
    ),
    "regression": (
        "xglm",
        "{kind: classification, problem: regression, fields: {label: number}}",
        "mean_squared_error",
    ),
    "pairs": ("xlnet", "{kind: pairs}", "matthews"),
    "choices": ("xlnet", "{kind: choices, fields: {label: right}}", "accuracy"),
    "tokens": ("xlm-roberta-xl", "{kind: tokens}", "f1"),
    "questions": ("xlm-roberta-xl", "{kind: question_answering, length: 16, stride: 4}", "f1"),
    "beams": ("xlnet", "{kind: question_answering, length: 16, stride: 4, no_answer: true}", "f1"),
    "answers": ("xglm", "{kind: causal}", "perplexity"),
}


@pytest.mark.parametrize("name", TASKS)
def test_a_task_trains_from_examples_and_tells_its_metric(monkeypatch, folder, name):
    family, task, metric = TASKS[name]
    recipe = write(folder, name, family, EXAMPLES + f"task: {task}\n")
    changes = ["model.head=beam_question_answering"] if name == "beams" else []
    output, told = trained(monkeypatch, folder, recipe, *changes)
    assert f"{metric} " in told
    model = load_model(output / "last")
    assert model.head is not None
    words = ["evaluate", str(output), "--cache", str(folder / "cache")]
    again = CliRunner().invoke(main, [*words, "--predictions", str(output / "predictions.jsonl")])
    assert again.exit_code == 0, again.output
    told_again = json.loads(again.output.splitlines()[-1])
    assert f"{metric} {told_again[metric]:.4f}" in told
    predicted = [json.loads(line) for line in (output / "predictions.jsonl").open()]
    assert predicted
    if task.startswith("{kind: question"):
        assert all(isinstance(line["prediction"], str) for line in predicted)
    else:
        assert all(line["source"].startswith("examples.jsonl:") for line in predicted)
    if name == "classification":
        right = [line["prediction"] == line["label"] for line in predicted]
        assert told_again["accuracy"] == pytest.approx(sum(right) / len(right))
        assert model.head.options.id2label == {0: "cheap", 1: "dear"}


PAIRS = """
objective:
  kind: mix
  parts:
    - {objective: {kind: masked}}
    - objective: {kind: translation}
      data: {train: [{kind: jsonl, files: examples.jsonl, language: en}], layout: {kind: pairs}}
"""


def test_each_part_of_a_mix_reads_its_own_data(monkeypatch, folder):
    text = TEXT % (", language: en", "{kind: lines}")
    recipe = write(folder, "mix", "xlm", text + PAIRS)
    recipe.write_text(recipe.read_text().replace("dims.head: 16, ", ""))
    assert "step 3 of 3" in trained(monkeypatch, folder, recipe)[1]
    plan = make_plan(open_recipe(recipe), folder / "new", cache=folder / "cache")
    assert isinstance(plan.feed, Turns)
    turns = [plan.feed.turn(step) for step in range(12)]
    assert {part for part, _ in turns} == {0, 1}
    for part in (0, 1):
        assert [turn for which, turn in turns if which == part] == list(range(len(turns)))[
            : sum(which == part for which, _ in turns)
        ]
    for step, (part, _) in enumerate(turns):
        (portion,) = plan.feed.at(step, Processes())
        # Positions begin again in the second text of a translation alone.
        assert ("position_ids" in portion.batch.inputs) == (part == 1)


def test_pairs_and_texts_of_the_same_columns_have_tokens_of_their_own(monkeypatch, folder):
    lengths = []
    for kind in ("classification", "pairs"):
        recipe = write(folder, f"key-{kind}", "xlnet", EXAMPLES + f"task: {{kind: {kind}}}\n")
        monkeypatch.chdir(folder)
        plan = make_plan(open_recipe(recipe), folder / "new", cache=folder / "cache")
        assert isinstance(plan.feed, Feed)
        lengths.append(int(plan.feed.rows.lengths.max()))
    assert lengths[0] < lengths[1]


def test_a_run_that_goes_on_is_the_run_that_never_stopped(monkeypatch, folder):
    rest = TEXT % ("", "{kind: lines}") + "objective: {kind: causal}\nsave: {every: 1, keep: 9}\n"
    recipe = write(folder, "whole", "xglm", rest, ", dropout.residual: 0.2")
    output, _ = trained(monkeypatch, folder, recipe)
    whole = load_model(output / "step-3").state_dict()
    words = ["train", str(recipe), "--output", str(output), "--cache", str(folder / "cache")]
    # As if the process had been killed behind its second step.
    (output / "last").unlink()
    (output / "last").symlink_to("step-2")
    (output / "step-3").rename(folder / "gone")
    refused = CliRunner().invoke(main, words)
    assert refused.exit_code == 2 and "holds a run already" in refused.output
    refused = CliRunner().invoke(main, [*words, "--continue", "optimizer.rate=1e-4"])
    assert refused.exit_code == 2 and "the run was begun with 0.001" in refused.output
    result = CliRunner().invoke(main, [*words, "--continue"])
    assert result.exit_code == 0 and "step 3 of 3" in result.output, result.output
    again = load_model(output / "step-3").state_dict()
    assert all(torch.equal(again[name], value) for name, value in whole.items())


def test_a_run_goes_on_with_its_own_texts_or_not_at_all(monkeypatch, folder):
    (folder / "more.txt").write_text("on Sunday bread cost ten coins\n" * 2 + "and on Monday\n")
    rest = (TEXT % ("", "{kind: lines}")).replace("lines.txt", "more.txt")
    rest = rest.replace(" held_out: {share: 0.2},", "") + "objective: {kind: causal}\n"
    recipe = write(folder, "texts", "xglm", rest, "")
    output, _ = trained(monkeypatch, folder, recipe)
    with (folder / "more.txt").open("a") as file:
        file.write("on Tuesday it cost nine\n" * 3 + "and one on Friday\n")
    words = ["train", str(recipe), "--output", str(output), "--cache", str(folder / "cache")]
    refused = CliRunner().invoke(main, [*words, "--continue"])
    assert refused.exit_code == 2 and "it goes on with the same texts" in refused.output
    words[3] = str(folder / "no-run")
    refused = CliRunner().invoke(main, [*words, "--continue"])
    assert refused.exit_code == 2 and "holds no run to go on with" in refused.output


@pytest.mark.parametrize(("by", "falls"), [("mean_squared_error", True), ("pearson", False)])
def test_the_best_metric_is_the_lowest_error_or_the_highest_score(by, falls):
    assert _better({by: 0.1}, {by: 0.2}, by) == falls
    assert _better({by: 0.2}, {by: 0.1}, by) != falls

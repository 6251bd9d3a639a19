"""`engine train`: recipes on files of text and of examples become networks that open again."""

import json

import pytest
import torch
from typer.testing import CliRunner

from engine import load_model
from engine.cli import main
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


EXAMPLES = "data: {train: [{kind: jsonl, files: examples.jsonl}], held_out: {share: 0.3}}\n"
TASKS = {
    "classification": ("xlm-roberta-xl", "{kind: classification}", "accuracy"),
    "several": (
        "xlm-roberta-xl",
        "{kind: classification, problem: multiple, fields: {label: several}}",
        "f1_micro",
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


def test_a_mix_trains_and_its_parts_have_no_data_of_their_own(monkeypatch, folder):
    parts = "{kind: masked}}, {objective: {kind: masked, whole_words: true}"
    rest = TEXT % ("", "{kind: lines}") + "objective: {kind: mix, parts: [{objective: %s}%s]}\n"
    recipe = write(folder, "mix", "xlm-roberta-xl", rest % (parts, ""))
    assert "step 3 of 3" in trained(monkeypatch, folder, recipe)[1]
    data = ", data: {train: [{kind: text, files: lines.txt}]}"
    own = write(folder, "own", "xlm-roberta-xl", rest % (parts + data, ""))
    refused = CliRunner().invoke(main, ["train", str(own), "--output", str(folder / "run-own")])
    assert refused.exit_code == 2 and "objective.parts.1.data" in refused.output


def test_a_run_that_goes_on_is_the_run_that_never_stopped(monkeypatch, folder):
    rest = TEXT % ("", "{kind: lines}") + "objective: {kind: causal}\n"
    recipe = write(folder, "whole", "xglm", rest)
    whole, _ = trained(monkeypatch, folder, recipe)
    first = write(folder, "parts", "xglm", rest)
    parts, _ = trained(monkeypatch, folder, first, "length.steps=2", "schedule.decay=constant")
    refused = CliRunner().invoke(
        main, ["train", str(first), "--output", str(parts), "--cache", str(folder / "cache")]
    )
    assert refused.exit_code == 2 and "the run was begun with" in refused.output
    arguments = ("--continue", "length.steps=2", "schedule.decay=constant")
    _, told = trained(monkeypatch, folder, first, *arguments)
    assert "step 2 of 2" in told
    with (folder / "more.txt").open("w") as file:
        file.write("on Sunday bread cost ten coins\n" * 9)
    other = ["data.train=[{kind: text, files: more.txt}]", *arguments[1:], "--changed"]
    words = ["train", str(first), "--output", str(parts), "--cache", str(folder / "cache"), *other]
    refused = CliRunner().invoke(main, words)
    assert refused.exit_code == 2, refused.output
    absent = [*words[:3], str(folder / "no-run"), *words[4:6], "--continue"]
    refused = CliRunner().invoke(main, absent)
    assert refused.exit_code == 2 and "holds no run to go on with" in refused.output
    assert load_model(whole / "last").spec == load_model(parts / "last").spec

"""engine generate, fill and score on a saved folder, as a user types them."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from engine import build_model, load_model, load_spec, save_model
from engine.cli import main
from engine.laws.calls import randomise
from tokenization import load_tokenizer, train_tokenizer

TEXTS = [
    "the red house stands here",
    "a small dog runs home",
    "the dog sees the red house",
    "here runs a small cat",
]
SMALL = {"dims.layers": 2, "dims.model": 16, "dims.heads": 2, "dims.inner": 24}
CHANGES: dict[str, dict[str, Any]] = {"xlm": {"embeddings.tables.languages.count": 2}}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Saved tiny models with tokenizers of their own, by family."""
    made = {}
    for name in ("xglm", "xlm-roberta-xl", "xlnet"):
        spec = load_spec(f"families/{name}")
        assert spec.tokenizer is not None
        tokenizer = train_tokenizer(spec.tokenizer, TEXTS * 20, 60)
        settled = {**SMALL, **CHANGES.get(name, {}), "dims.vocab": len(tokenizer)}
        model = build_model(f"families/{name}", overrides=settled)
        randomise(model)
        folder = tmp_path_factory.mktemp(name)
        save_model(model, folder)
        tokenizer.save(folder)
        made[name] = str(folder)
    return made


def run(*words: str, given: str | None = None, code: int = 0) -> Result:
    result = CliRunner().invoke(main, list(words), input=given)
    assert result.exit_code == code, result.output
    return result


def rows(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.mark.parametrize("name", ["xglm", "xlnet"])
def test_generate_from_arguments_a_file_and_stdin(
    folders: dict[str, str], name: str, tmp_path: Path
) -> None:
    folder = folders[name]
    (tmp_path / "prompts.txt").write_text("the red\na small dog\n")
    options = ("--max-new-tokens", "5", "--json")
    given = rows(run("generate", folder, "the red", "a small dog", *options))
    assert given == rows(run("generate", folder, "--file", str(tmp_path / "prompts.txt"), *options))
    assert given == rows(run("generate", folder, *options, given="the red\na small dog\n"))
    assert [row["prompt"] for row in given] == ["the red", "a small dog"]
    tokenizer, model = load_tokenizer(folder), load_model(folder).eval()
    ids = tokenizer("the red", return_tensors="pt").input_ids
    flags = tokenizer("the red", return_special_tokens_mask=True).special_tokens_mask
    last = max(place for place, flag in enumerate(flags) if not flag) + 1
    whole = model.generate(ids[:, :last], max_new_tokens=5)[0]
    assert given[0]["text"] == tokenizer.decode(whole, skip_special_tokens=True)
    streamed = run("generate", folder, "the red", "--max-new-tokens", "5", "--stream").stdout
    assert streamed.split() == given[0]["text"].split()


def test_generate_beams_and_samples(folders: dict[str, str]) -> None:
    beams = rows(
        run(
            "generate",
            folders["xglm"],
            "the",
            "--num-beams",
            "3",
            "--num-return-sequences",
            "2",
            "--json",
        )
    )
    assert len(beams) == 2 and beams[0]["score"] >= beams[1]["score"]
    draw = ("generate", folders["xglm"], "the", "--sample", "--seed", "3", "--top-p", "0.9")
    assert run(*draw).stdout == run(*draw).stdout
    assert (
        "top_p needs do_sample"
        in run("generate", folders["xglm"], "the", "--top-p", "0.5", code=2).output
    )


def test_fill(folders: dict[str, str]) -> None:
    folder = folders["xlm-roberta-xl"]
    found = rows(run("fill", folder, "the <mask> house", "--top", "3", "--json"))
    assert len(found) == 1 and len(found[0]["tokens"]) == 3
    assert sorted(found[0]["probabilities"], reverse=True) == found[0]["probabilities"]
    assert "<mask>" not in run("fill", folder, "the <mask> <mask>", "--rounds", "2").stdout
    assert "generate()" in run("fill", folders["xglm"], "the <mask>", code=2).output


def test_score(folders: dict[str, str]) -> None:
    for name, folder in folders.items():
        shown = rows(run("score", folder, *TEXTS, "--tokens", "--json"))
        assert [row["text"] for row in shown] == TEXTS
        for row in shown:
            assert row["count"] == len(row["tokens"]) == len(row["token_log_probs"])
            assert row["log_likelihood"] == pytest.approx(sum(row["token_log_probs"]))
            assert row["log_likelihood"] < 0, name
        plain = run("score", folder, given=TEXTS[0] + "\n").stdout.split("\t")
        assert float(plain[0]) == pytest.approx(shown[0]["log_likelihood"], abs=1e-3)
    assert (
        "expected one of" in run("score", folders["xglm"], "a", "--method", "best", code=2).output
    )
    with_file = run("score", folders["xglm"], "a", "--file", __file__, code=2).output
    assert "not from both" in with_file


def test_score_of_a_text_with_nothing_to_predict(folders: dict[str, str]) -> None:
    tokenizer = load_tokenizer(folders["xlnet"])
    word = next(word for word in TEXTS[0].split() if len(tokenizer.tokenize(word)) == 1)
    result = run("score", folders["xlnet"], word, "--json")
    assert "NaN" not in result.stdout
    assert rows(result) == [{"text": word, "log_likelihood": 0, "count": 0, "perplexity": None}]
    assert run("score", folders["xlnet"], word).stdout == f"0.0000\t0\tnan\t{word}\n"


@pytest.mark.parametrize(
    ("command", "name"), [("generate", "xglm"), ("fill", "xlm-roberta-xl"), ("score", "xlnet")]
)
def test_no_text_at_all(folders: dict[str, str], command: str, name: str, tmp_path: Path) -> None:
    """Nothing to do is said, and is no success."""
    for given in ("", "\n  \n"):
        assert (
            "standard input holds no text"
            in run(command, folders[name], given=given, code=2).stderr
        )
    (tmp_path / "empty.txt").write_text("\n")
    assert (
        "empty.txt holds no text"
        in run(command, folders[name], "--file", str(tmp_path / "empty.txt"), code=2).stderr
    )

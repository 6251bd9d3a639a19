"""`engine tokenize`: the table, and where two tokenizers part."""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from engine.cli import main
from tests.tokenization.sides import FAMILIES, Sides
from tests.tokenization.texts import NEWS, SENTENCES
from tokenization.comparison import compare_tokenizers


def run(*arguments: object, text: str | None = None) -> Result:
    return CliRunner().invoke(main, ["tokenize", *map(str, arguments)], input=text)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_table(sides: dict[str, Sides], family: str) -> None:
    both = sides[family]
    result = run(both.directory, "human beings", "--pair", "born free")
    assert result.exit_code == 0, result.output
    for token in both.ours.tokenize("human beings"):
        assert token in result.output
    rows = [line.split() for line in result.output.splitlines() if line.strip()]
    assert [int(row[1]) for row in rows[3:]] == both.ours("human beings", "born free").input_ids


def test_standard_input_and_files(sides: dict[str, Sides], tmp_path: Path) -> None:
    directory = sides["xglm"].directory
    (tmp_path / "lines").write_text("Hello\nworld\n", encoding="utf-8")
    from_file = run(directory, "--file", tmp_path / "lines").output
    assert (
        from_file
        == run(directory, text="Hello\nworld\n").output
        == run(directory, "Hello", "world").output
    )
    both = run(directory, "Hello", "--file", tmp_path / "lines")
    assert both.exit_code == 2 and "not from both" in both.output


def test_a_spec_with_its_vocabulary(sides: dict[str, Sides]) -> None:
    result = run("xglm-564m", "Hello", "--vocabulary", sides["xglm"].directory)
    assert result.output == run(sides["xglm"].directory, "Hello").output
    without = run("xglm-564m", "Hello")
    assert without.exit_code == 2 and "--vocabulary" in without.output


def test_no_divergence(sides: dict[str, Sides], tmp_path: Path) -> None:
    (tmp_path / "lines").write_text("\n".join(SENTENCES.values()), encoding="utf-8")
    result = run(
        sides["xlnet"].directory, "--compare", "transformers", "--file", tmp_path / "lines"
    )
    assert result.exit_code == 0
    assert result.output.startswith(f"0 of {len(SENTENCES)} texts differ (0.00%)")


def test_the_first_divergence(sides: dict[str, Sides], tmp_path: Path) -> None:
    """Two families that share a piece model begin their sequences differently."""
    result = run(
        sides["xglm"].directory,
        "Hello",
        "a  b",
        "Hello <mask>x ",
        "--compare",
        sides["xlm-roberta-xl"].directory,
    )
    assert result.exit_code == 1
    assert "3 of 3 texts differ (100.00%)" in result.output
    assert "first in text 1, token 0: 'Hello'" in result.output
    assert "this : </s>(2)" in result.output and "other: <s>(0)" in result.output


def test_the_place_of_a_divergence(sides: dict[str, Sides]) -> None:
    ours = sides["xlnet"].ours
    other = ours.with_options(normalize_quotes=False)
    found = compare_tokenizers(ours, other, ["Hello", *NEWS])
    assert found.total == 6 and found.different == 1 and found.rate == 1 / 6
    assert found.first is not None and found.first.number == 4
    assert found.first.text[found.first.start :].startswith("``It")
    assert found.first.ours[0] != found.first.theirs[0]


def test_errors_are_for_people(tmp_path: Path) -> None:
    result = run(tmp_path / "nowhere", "Hello")
    assert result.exit_code == 2
    assert "there is no such directory" in result.output and "Traceback" not in result.output

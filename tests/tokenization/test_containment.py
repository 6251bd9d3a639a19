"""A model's folder reads and writes nothing outside itself."""

from pathlib import Path
from typing import Any

import pytest

from engine import CheckpointError, SpecError, build_model, load_model, load_spec, save_model
from tests.tokenization.sides import Sides
from tokenization import TokenizationError, build_tokenizer, load_tokenizer
from tokenization.files.plain_yaml import write_yaml
from tokenization.saving import resolved_section

FIELDS = {
    "xlnet": ("model_file", "tokenizer_file"),
    "xlm": ("vocabulary_file", "merges_file"),
    "transformer-xl": ("vocabulary_file",),
}


@pytest.mark.parametrize("file", ["tokenizer.yaml", "spec.yaml"])
@pytest.mark.parametrize(
    "outside", ["../secret", "/etc/passwd", "..", "a/b", "a\\b", "C:x", ".hidden", "", "x" * 300]
)
@pytest.mark.parametrize(
    ("family", "field"), [(family, field) for family, names in FIELDS.items() for field in names]
)
def test_names_of_files_are_plain(
    sides: dict[str, Sides], tmp_path: Path, family: str, field: str, outside: str, file: str
) -> None:
    (tmp_path / "secret").write_text("key of nobody else\n")
    folder = sides[family].open_ours().save(tmp_path / "folder")
    section = {**resolved_section(sides[family].ours.options), field: outside}
    (folder / "tokenizer.yaml").unlink()
    (folder / file).write_text(write_yaml({"name": family, "tokenizer": section}))
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(
        TokenizationError, match="must be the name of a file in the tokenizer's directory"
    ) as caught:
        load_tokenizer(folder).save(folder)
    assert "nobody" not in str(caught.value) and "root:" not in str(caught.value)
    assert sorted(tmp_path.rglob("*")) == before
    with pytest.raises(ValueError, match="must be the name of a file"):
        build_tokenizer(section, folder)


@pytest.mark.parametrize(
    "parent", ["../parent.yaml", "families/xglm", "/etc/passwd", "parent.yaml"]
)
def test_the_spec_of_a_folder_extends_nothing(tmp_path: Path, parent: str) -> None:
    save_model(build_model("tiny/xglm", seed=0), folder := tmp_path / "folder")
    secret = "password: 1\n"
    for place in (tmp_path, folder):
        (place / "parent.yaml").write_text(secret)
    (folder / "spec.yaml").write_text(f"extends: {parent}\n")
    calls: tuple[Any, ...] = (load_model, load_spec)
    for call in calls:
        with pytest.raises(
            (SpecError, CheckpointError),
            match=r"spec\.yaml:1:1: extends: the spec in a model's folder",
        ) as caught:
            call(folder)
        assert "password" not in str(caught.value)

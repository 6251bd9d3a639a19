"""Writing a tokenizer to a directory, for ourselves and for transformers."""

import json
from pathlib import Path
from typing import Any, Literal

from tokenization.algorithms.algorithm import Algorithm
from tokenization.algorithms.conversion import whole_file
from tokenization.algorithms.pieces import PieceAlgorithm
from tokenization.errors import TokenizationError
from tokenization.files.paths import as_path
from tokenization.files.piece_file import is_unigram
from tokenization.files.plain_yaml import write_yaml
from tokenization.files.published import published_config
from tokenization.files.staging import Step, is_plain, put_all, staged
from tokenization.options import CommonOptions
from tokenization.pipeline.added import AddedTokens

TOKENIZER_FILE = "tokenizer.yaml"
Format = Literal["engine", "huggingface"]


def resolved_section(options: CommonOptions) -> dict[str, Any]:
    """The whole `tokenizer:` section of options, every default written out, in plain containers."""
    return options.model_dump(mode="json")


def save_tokenizer(
    options: CommonOptions,
    algorithm: Algorithm[Any],
    added: AddedTokens,
    directory: str | Path,
    format: Format = "engine",
) -> Path:
    """Write a tokenizer's options, vocabulary and added tokens; returns the directory, which is
    made where it is missing.

    `engine` writes `tokenizer.yaml` for `load_tokenizer`; `huggingface` what transformers opens,
    and raises TokenizationError where no published class does the same.
    """
    if format not in ("engine", "huggingface"):
        raise TokenizationError(f"format={format!r} is not one of 'engine', 'huggingface'")
    files = algorithm.files()
    if format == "engine":
        files[TOKENIZER_FILE] = write_yaml({"tokenizer": resolved_section(options)}).encode()
    else:
        config = published_config(options, added.by_id)
        special = {
            name: value
            for name, value in config.items()
            if name.endswith(("_token", "_special_tokens"))
        }
        files["tokenizer_config.json"] = _json(config)
        if isinstance(algorithm, PieceAlgorithm) and is_unigram(
            files[algorithm.options.model_file]
        ):
            whole = whole_file(algorithm.options, files[algorithm.options.model_file], added)
            files[algorithm.options.tokenizer_file] = whole
        files["special_tokens_map.json"] = _json(special)
    target = as_path("directory", directory, TokenizationError)
    if strange := [name for name in files if not is_plain(name)]:
        raise TokenizationError(
            f"{strange[0]!r} is no plain file name: a vocabulary is saved inside its directory"
        )
    try:
        with staged(target, _arrange) as stage:
            for name, content in files.items():
                (stage / name).write_bytes(content)
    except OSError as error:
        raise TokenizationError(
            f"{target}: cannot be written, and is as it was: {error}"
        ) from error
    return target


def _arrange(stage: Path, folder: Path) -> list[Step]:
    """Our own description, which is read first, goes where the other one takes its place."""
    steps = put_all(stage, folder)
    if not (stage / TOKENIZER_FILE).exists():
        steps.append(("remove", TOKENIZER_FILE))
    return steps


def _json(content: dict[str, Any]) -> bytes:
    return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()

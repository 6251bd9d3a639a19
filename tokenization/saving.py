"""Writing a tokenizer to a directory, for ourselves and for transformers."""

import json
from pathlib import Path
from typing import Any, Literal

from tokenization.errors import TokenizationError
from tokenization.loading import TOKENIZER_FILE
from tokenization.options import CommonOptions
from tokenization.plain_yaml import write_yaml
from tokenization.published import published_config
from tokenization.tokenizer import Tokenizer
from tokenization.vocabulary_files import write_file

Format = Literal["engine", "huggingface"]


def resolved_section(options: CommonOptions) -> dict[str, Any]:
    """The whole `tokenizer:` section of options, every default written out, in plain containers."""
    return options.model_dump(mode="json")


def save_tokenizer(tokenizer: Tokenizer, directory: str | Path, format: Format = "engine") -> Path:
    """Write a tokenizer's vocabulary and options; returns the directory, which is made where it is missing.

    `engine` writes `tokenizer.yaml` for `load_tokenizer`; `huggingface` what transformers opens, and raises
    TokenizationError where no published class does the same.
    """
    if format not in ("engine", "huggingface"):
        raise TokenizationError(f"format={format!r} is not one of 'engine', 'huggingface'")
    files = tokenizer.algorithm.files()
    if format == "engine":
        files[TOKENIZER_FILE] = write_yaml({"tokenizer": resolved_section(tokenizer.options)}).encode()
    else:
        config = published_config(tokenizer.options, tokenizer.added.by_id)
        special = {name: value for name, value in config.items() if name.endswith(("_token", "_special_tokens"))}
        files["tokenizer_config.json"] = _json(config)
        files["special_tokens_map.json"] = _json(special)
    target = Path(directory)
    target.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        write_file(target / name, content)
    return target


def _json(content: dict[str, Any]) -> bytes:
    return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()

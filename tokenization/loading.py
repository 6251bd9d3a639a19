"""Opening a tokenizer from wherever it is: our own directory, one that transformers wrote, or the
hub.
"""

from pathlib import Path
from typing import Any

from tokenization.algorithms.library import FIXED, refuse_fixed
from tokenization.build import build_tokenizer
from tokenization.errors import TokenizationError, VocabularyError
from tokenization.files.paths import as_path
from tokenization.files.published import SPECS, read_published, read_yaml
from tokenization.files.staging import read_whole
from tokenization.files.vocabulary_files import boundary
from tokenization.options import check_options, laid_over, parse_options
from tokenization.saving import TOKENIZER_FILE
from tokenization.tokenizer import Tokenizer

SPEC_FILE = "spec.yaml"
_FILES = ("*.json", "*.txt", "*.model", "vocab.pkl", "vocab.bin", TOKENIZER_FILE, SPEC_FILE)
_WATCHED = ("*.json", "*.txt", "*.model", *_FILES[3:])


def load_tokenizer(
    source: str | Path, *, specs: str | Path = SPECS, revision: str | None = None, **changes: Any
) -> Tokenizer:
    """Open a tokenizer: a directory of ours or of transformers, or a hub id such as
    `xlnet/xlnet-large-cased`.

    `specs` is where the families' specs are; `revision` pins a hub version; `changes` are fields of
    the options that shall differ from what the source says, e.g. `backend="tokenizers"`. Raises
    TokenizationError for a source that is neither, VocabularyError for files that are missing or
    broken; nothing that a file holds is ever run.
    """
    directory = as_path("source", source, TokenizationError)
    if directory.is_file():
        raise TokenizationError(
            f"{directory}: a tokenizer is opened by its directory, {directory.parent}"
        )
    if not directory.is_dir():
        directory = _download(str(source), revision)
    try:
        return read_whole(directory, _WATCHED, lambda: _open(directory, Path(specs), changes))
    except OSError as error:
        told = error.strerror or str(error)
        raise VocabularyError(f"{error.filename or directory}: cannot be read: {told}") from None


def _open(directory: Path, specs: Path, changes: dict[str, Any]) -> Tokenizer:
    for name in (TOKENIZER_FILE, SPEC_FILE):
        if (directory / name).is_file():
            return _build(_own_section(directory / name), changes, directory, directory / name)
    if not any((directory / name).is_file() for name in ("tokenizer_config.json", "config.json")):
        there = ", ".join(sorted(entry.name for entry in directory.iterdir())) or "nothing"
        raise TokenizationError(
            f"{directory}: no tokenizer here: needs {TOKENIZER_FILE} or {SPEC_FILE} (ours) or "
            f"tokenizer_config.json (transformers); it holds {there}"
        )
    section = read_published(directory, specs).model_dump()
    return _build(section, changes, directory, directory)


def _build(
    section: dict[str, Any], changes: dict[str, Any], directory: Path, source: Path
) -> Tokenizer:
    """The tokenizer of a section of the file `source`, with a caller's changes: a mistake of the
    file is a VocabularyError, one of the caller pydantic's ValidationError.
    """
    with boundary(source):
        check_options(section)
    options = parse_options(laid_over(section, changes))
    file = getattr(options, "tokenizer_file", "")
    if getattr(options, "backend", None) == "tokenizers" and (directory / file).is_file():
        before = laid_over(dict.fromkeys(FIXED), section)
        refuse_fixed(
            (name for name in FIXED if name in changes and changes[name] != before[name]), file
        )
    with boundary(directory):
        return build_tokenizer(options, directory)


def _own_section(path: Path) -> dict[str, Any]:
    section = read_yaml(path).get("tokenizer")
    if not isinstance(section, dict):
        raise TokenizationError(f"{path}: has no tokenizer section")
    return section


def _download(source: str, revision: str | None) -> Path:
    if source.count("/") > 1 or source.startswith((".", "/", "~")) or not source:
        raise TokenizationError(f"{source or 'an empty name'}: there is no such directory")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(source, revision=revision, allow_patterns=list(_FILES)))
    except Exception as error:
        raise TokenizationError(
            f"{source}: neither a directory here nor a model that the hub gives "
            f"({type(error).__name__}: {error})"
        ) from error

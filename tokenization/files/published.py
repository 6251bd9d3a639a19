"""Directories that transformers wrote, read and written: their settings are our fields under other
names.
"""

import warnings
from functools import lru_cache
from pathlib import Path
from typing import Any

from tokenization.errors import TokenizationError
from tokenization.files.piece_file import pieces
from tokenization.files.plain_yaml import YamlError, parse_yaml
from tokenization.files.vocabulary_files import boundary, read_file, read_mapping, read_text
from tokenization.options import AddedToken, CommonOptions, SpecialTokens, check_options

_ROOT = Path(__file__).resolve().parents[2]
# A checkout keeps the specs beside the packages, an installation inside the engine.
SPECS = next(
    (path for path in (_ROOT / "specs", _ROOT / "engine" / "_specs") if path.is_dir()),
    _ROOT / "specs",
)
# transformers writes this and larger numbers for "no limit".
_NO_LIMIT = 10**20
# Fields without a part in what the published class makes of a text, or which choose between its two
# forms.
_NOT_COMPARED = {
    "special_tokens",
    "added_tokens",
    "outputs",
    "reserved",
    "model_type",
    "missing_language",
}
_NOT_COMPARED |= {
    "default_language",
    "unknown_language",
    "backend",
    "tokenizer_file",
    "library_spaces",
    "lower_case_first",
}
_FLAGS = ("lstrip", "rstrip", "single_word", "normalized")


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a mapping from YAML that can build plain containers only; raises TokenizationError if it
    is none.
    """
    try:
        content = parse_yaml(read_text(path)).data
    except YamlError as error:
        raise TokenizationError(f"{path}: not YAML ({error})") from None
    if not isinstance(content, dict):
        raise TokenizationError(f"{path}: must be a mapping")
    return content


@lru_cache(maxsize=1)
def _published() -> dict[str, Any]:
    return read_yaml(Path(__file__).with_name("published.yaml"))


def family_section(family: str, specs: Path = SPECS) -> dict[str, Any]:
    """The `tokenizer:` section of a family's spec; raises TokenizationError where there is none."""
    path = specs / "families" / f"{family}.yaml"
    section = read_yaml(path).get("tokenizer")
    if not isinstance(section, dict):
        raise TokenizationError(f"{path}: has no tokenizer section")
    return section


def read_json(path: Path) -> dict[str, Any]:
    """Read a mapping from JSON, empty where there is no such file; raises VocabularyError if it is
    cut short.
    """
    if not path.is_file():
        return {}
    return read_mapping(path)


def _find_family(directory: Path, config: dict[str, Any], model: dict[str, Any]) -> str:
    published = _published()
    name = config.get("tokenizer_class") or model.get("tokenizer_class")
    unsaid = name is None or name in published["generic"]
    for family, entry in published["families"].items():
        if name in entry["classes"] or (unsaid and model.get("model_type") in entry["model_types"]):
            return str(family)
    known = ", ".join(name for entry in published["families"].values() for name in entry["classes"])
    what = "neither tokenizer_config.json nor config.json names"
    if name:
        what = f"tokenizer class {name!r} is not one of"
    raise TokenizationError(f"{directory}: {what} {known}")


def read_published(directory: Path, specs: Path = SPECS, compare: bool = True) -> CommonOptions:
    """The options of a directory that transformers wrote; raises TokenizationError where its class
    is unknown.

    `compare` looks whether two vocabularies that lie there are the same, and warns where they are
    not.
    """
    with boundary(directory):
        return _read_published(directory, specs, compare)


def _read_published(directory: Path, specs: Path, compare: bool) -> CommonOptions:
    config, model = (
        read_json(directory / name) for name in ("tokenizer_config.json", "config.json")
    )
    family = _find_family(directory, config, model)
    section = family_section(family, specs)
    if "added_tokens_decoder" not in config:
        config = {**config, **read_json(directory / "special_tokens_map.json")}
    # XLM's languages often stand in config.json alone.
    config = {**{name: model[name] for name in ("lang2id",) if model.get(name)}, **config}
    if "model_max_length" not in config and "max_len" in config:  # its name in older files
        config["model_max_length"] = config["max_len"]
    _join_extra(config)
    for theirs, ours in _settings(family).items():
        if theirs in config:
            _place(section, ours.split("."), config[theirs])
    special = {
        token.content
        for token in SpecialTokens.model_validate(section["special_tokens"]).in_order()
    }
    section["added_tokens"] = _added_tokens(directory, config, special)
    piece_model, whole = section.get("model_file"), directory / "tokenizer.json"
    if piece_model is not None and not (directory / piece_model).is_file() and whole.is_file():
        # Where only the fast class's file was published, its results are all there is to match.
        section["backend"] = "tokenizers"
    elif compare and piece_model is not None and whole.is_file():
        _compare_vocabularies(directory / piece_model, whole)
    return check_options(section)


def _compare_vocabularies(model: Path, whole: Path) -> None:
    """Warn where a piece model and a file of the tokenizers library, of which one may be older,
    differ.
    """
    with boundary(whole):
        listed = read_json(whole).get("model", {}).get("vocab", [])
        if isinstance(listed, list):  # of pieces with their scores
            listed = [entry[0] for entry in listed]
        known = set(listed)
    with boundary(model):
        missing = [
            piece.text
            for piece in pieces(read_file(model))
            if piece.kind == 1 and piece.text not in known
        ]
    if missing:
        warnings.warn(
            f"{model} and {whole.name} hold other vocabularies ({missing[0]!r} is in the first "
            f"alone): {model.name} is read; backend='tokenizers' reads the other",
            stacklevel=4,
        )


def _join_extra(config: dict[str, Any]) -> None:
    """Special tokens that newer files list beside, or by name in, `extra_special_tokens`."""
    extra = config.get("extra_special_tokens") or []
    if isinstance(extra, dict):
        extra = extra.values()
    listed = list(extra)
    if listed:
        known = list(config.get("additional_special_tokens") or [])
        texts = {_text(token) for token in known}
        further = [token for token in listed if _text(token) not in texts]
        config["additional_special_tokens"] = [*known, *further]


def _text(token: Any) -> Any:
    if isinstance(token, str):
        return token
    return token["content"]


def _settings(family: str) -> dict[str, str]:
    return {**_published()["settings"], **_published()["families"][family]["settings"]}


# The value of a null for fields that have none.
_EMPTY: dict[str, Any] = {"reserved": [], "sampling": {}}


def _place(section: dict[str, Any], path: list[str], value: Any) -> None:
    if value is None:
        value = _EMPTY.get(path[0])
    elif path == ["max_length"] and not value < _NO_LIMIT:
        value = None
    for key in path[:-1]:
        section = section.setdefault(key, {})
    if path == ["special_tokens", "additional"]:
        value = [_token(entry) for entry in value or ()]
    elif path[0] == "special_tokens":
        value = _role(section, path[-1], value)
    section[path[-1]] = value


def _role(section: dict[str, Any], role: str, value: Any) -> Any:
    """A role's token: a bare text keeps the flags that the published class gives it."""
    if isinstance(value, str) and isinstance(section.get(role), dict):
        return {**section[role], "content": value}
    if value is None:
        return None
    return _token(value)


def _token(value: Any, **known: Any) -> dict[str, Any]:
    if isinstance(value, str):
        return {"content": value, **known}
    return {
        "content": value["content"],
        **{flag: value.get(flag, False) for flag in _FLAGS},
        **known,
    }


def _added_tokens(
    directory: Path, config: dict[str, Any], special: set[str]
) -> list[dict[str, Any]]:
    """Added tokens with their ids, from where each generation of transformers kept them."""
    decoder = config.get("added_tokens_decoder")
    if decoder is None:
        listed = {
            index: {"content": text, "special": text in special, "normalized": text not in special}
            for text, index in read_json(directory / "added_tokens.json").items()
        }
        whole = read_json(directory / "tokenizer.json").get("added_tokens", [])
        decoder = {**listed, **{token["id"]: token for token in whole}}
    tokens = [
        _token(token, id=int(index), special=bool(token.get("special")))
        for index, token in decoder.items()
    ]
    for token in tokens:
        if token["special"] and token["content"] not in special:
            # The published classes go by their lists of special tokens; the flag alone only stops
            # normalization.
            token.update(special=False, normalized=False)
    return tokens


def published_config(
    options: CommonOptions, added: dict[int, AddedToken], specs: Path = SPECS
) -> dict[str, Any]:
    """What tokenizer_config.json says for these options; raises TokenizationError where no
    published class fits.
    """
    family, entry = _published_family(options, specs)
    section = options.model_dump(mode="json", exclude={"special_tokens"})
    # The second class of a family is its fast one.
    config: dict[str, Any] = {
        "tokenizer_class": entry["classes"][section.get("backend") == "tokenizers"]
    }
    for theirs, ours in _settings(family).items():
        where = ours.split(".")
        if where[0] == "special_tokens":
            config[theirs] = _special(options.special_tokens, where[1])
        else:
            config[theirs] = section[ours]
    if options.languages:
        config["id2lang"] = {str(index): language for language, index in options.languages.items()}
    named = config["additional_special_tokens"]
    roles = set(options.special_tokens.by_role().values())
    named += [
        text
        for text in (token.content for token in added.values() if token.special)
        if text not in (*named, *roles)
    ]
    config["model_max_length"] = options.max_length or 10**30
    config["added_tokens_decoder"] = {
        str(index): _as_published(token) for index, token in sorted(added.items())
    }
    return {name: value for name, value in config.items() if value is not None}


def _special(tokens: SpecialTokens, role: str) -> Any:
    if role == "additional":
        return [token.content for token in tokens.additional]
    token = getattr(tokens, role)
    if token is None:
        return None
    return token.content


def _as_published(token: AddedToken) -> dict[str, Any]:
    return {name: getattr(token, name) for name in ("content", *_FLAGS, "special")}


def _published_family(options: CommonOptions, specs: Path) -> tuple[str, dict[str, Any]]:
    """The family whose published class treats text as these options do: all that it cannot be told
    must agree.
    """
    differences = {}
    for family, entry in _published()["families"].items():
        own = check_options(family_section(family, specs))
        told = {path.split(".")[0] for path in _settings(family).values()}
        theirs, ours = (value.model_dump(exclude=told | _NOT_COMPARED) for value in (own, options))
        if theirs.get("algorithm") == ours.get("algorithm"):
            differences[family] = [name for name in ours if ours[name] != theirs.get(name)]
            if not differences[family]:
                return family, entry
    reason = ""
    if differences:
        nearest = min(differences, key=lambda family: len(differences[family]))
        reason = f"; nearest is {nearest}, which differs in {', '.join(differences[nearest])}"
    raise TokenizationError(
        f"no transformers class does what this tokenizer does{reason}: save it in our own format"
    )

"""The name under which tokens are kept: a hash of all that they depend on."""

import hashlib
import json
from typing import Any

from engine.training.data.encode import PURPOSE, TEXT_ROLES, TOGETHER, Encode
from tokenization import Tokenizer
from tokenization.extras import import_extra
from tokenization.saving import resolved_section

# Of the file of tokens: another one makes all tokens anew.
VERSION = 1


def content_key(texts: Any, tokenizer: Tokenizer, encode: Encode | None = None) -> str:
    """A hash of all that tokens depend on: the texts, not where they lie; the tokenizer's files and
    options; how records are encoded (an attribute `key` of `encode`, or what it is made of).
    """
    described = {
        "version": VERSION,
        "options": resolved_section(tokenizer.options),
        "files": {
            name: hashlib.blake2b(content).hexdigest()
            for name, content in sorted(tokenizer.algorithm.files().items())
        },
        "encode": _described(encode),
    }
    found = hashlib.blake2b(json.dumps(described, sort_keys=True).encode(), digest_size=12)
    names = sorted(set(texts.column_names) - {"source"})
    if encode is None:
        names = [name for name in names if name in TEXT_ROLES]
    by_column = {name: hashlib.blake2b() for name in names}
    for table in texts.select_columns(names).with_format("arrow").iter(TOGETHER):
        for name in names:
            for value in table.column(name).to_pylist():
                _update(by_column[name], value)
    for name, hashed in by_column.items():
        found.update(name.encode() + hashed.digest())
    return found.hexdigest()


def _described(encode: Encode | None) -> str:
    if encode is None:
        return ""
    for holder in (encode, getattr(encode, "__self__", None)):
        key = getattr(holder, "key", None)
        if isinstance(key, str):
            return key
    fingerprint = import_extra("datasets.fingerprint", "train", PURPOSE)
    return str(fingerprint.Hasher.hash(encode))


def _update(hashed: Any, value: Any) -> None:
    """Add one value behind its length, which keeps values apart."""
    length = -1
    content = b""
    if value is not None:
        if not isinstance(value, str):
            value = json.dumps(value, sort_keys=True, default=str)
        content = value.encode()
        length = len(content)
    hashed.update(length.to_bytes(8, "little", signed=True))
    hashed.update(content)

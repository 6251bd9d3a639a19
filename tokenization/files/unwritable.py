"""What JSON or a caller may say, but no file of ours can hold."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

# Containers within one another: less than YAML is read to, as a spec holds descriptions of others.
DEEPEST = 50
HALF_CHARACTER = re.compile("[\ud800-\udfff]")  # JSON may escape one alone, UTF-8 has none


def unwritable(data: Any) -> Iterator[tuple[tuple[str, ...], str]]:
    """What is wrong with plain data, by path: lone surrogates, and nesting without end."""
    waiting: list[tuple[tuple[str, ...], Any]] = [((), data)]
    while waiting:
        path, value = waiting.pop()
        texts, inner = [value], []
        if isinstance(value, Mapping):
            texts, inner = list(value), list(value.items())
        elif isinstance(value, list | tuple):
            texts, inner = [], list(enumerate(value))
        if inner and len(path) >= DEEPEST:
            yield path, f"values lie more than {DEEPEST} deep"
            continue
        waiting += [((*path, str(key)), part) for key, part in inner]
        for text in texts:
            if isinstance(text, str) and HALF_CHARACTER.search(text):
                yield path, f"{text!a} holds half a character, a lone surrogate"

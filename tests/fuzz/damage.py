"""Files of a model's folder, damaged at random: bytes changed, cut, doubled; values of JSON and
YAML replaced.
"""

import json
import random
from pathlib import Path
from typing import Any

import yaml

STRANGE: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    1,
    10**9,
    2**31,
    10**30,
    -(2**63),
    0.5,
    1e308,
    "",
    "x",
    "../x",
    "/etc/passwd",
    "\ud800",
    "ünï\0",
    [],
    [[]],
    {},
    {"a": 1},
    [None],
    ["x"] * 3,
    {"0": None},
)


def damaged(content: bytes, name: str, dice: random.Random) -> bytes:
    """The content of a file with one to three things wrong in it."""
    for _ in range(dice.choice((1, 1, 1, 2, 3))):
        structured = name.endswith((".json", ".yaml")) and dice.random() < 0.75
        content = (
            _other_value(content, name, dice) if structured else _other_bytes(content, name, dice)
        )
    return content


def _other_value(content: bytes, name: str, dice: random.Random) -> bytes:
    try:
        data = json.loads(content) if name.endswith(".json") else yaml.safe_load(content)
    except (ValueError, yaml.YAMLError, RecursionError):
        return content
    places = list(_places(data))
    if not places:
        return content
    holder, key = dice.choice(places)
    change = dice.randrange(6)
    if change == 0 and isinstance(holder, dict):
        del holder[key]
    elif change == 1 and isinstance(holder, dict):
        holder[str(dice.choice(STRANGE))] = holder[key]
    else:
        holder[key] = dice.choice(STRANGE)
    if name.endswith(".json"):
        return json.dumps(data).encode()
    return yaml.safe_dump(data, allow_unicode=True).encode("utf-8", "surrogatepass")


def _places(data: Any) -> Any:
    """Containers with their keys: those near the top as often as the many below."""
    below = []
    entries = (
        data.items()
        if isinstance(data, dict)
        else enumerate(data)
        if isinstance(data, list)
        else ()
    )
    for key, value in entries:
        yield data, key
        below.append(value)
    for value in random.Random(len(below)).sample(below, min(len(below), 30)):
        yield from _places(value)


def _other_bytes(content: bytes, name: str, dice: random.Random) -> bytes:
    changed = bytearray(content)
    # The head of a binary file says what the rest is.
    reach = len(changed) if dice.random() < 0.4 else min(len(changed), 2000)
    start = dice.randrange(reach + 1)
    stop = min(len(changed), start + dice.choice((1, 1, 4, 8, 100)))
    kind = dice.randrange(6)
    if kind == 0:
        return bytes(changed[:start])
    if kind == 1:
        del changed[start:stop]
    elif kind == 2:
        changed[start:start] = changed[start:stop] * dice.choice((1, 2, 50))
    elif kind == 3:
        changed[start:stop] = bytes(dice.randrange(256) for _ in range(stop - start))
    elif kind == 4:
        changed[start:stop] = bytes([dice.choice((0, 0xFF, 0x7F, 0x80, ord("[")))]) * (stop - start)
    else:
        changed[start:start] = dice.choice(
            (b"[" * 100_000, b"\xff\xfe", b"\0" * 8, b"9" * 5000, b'{"a":' * 2000)
        )
    return bytes(changed)


def one_damaged(folder: Path, dice: random.Random) -> tuple[Path, bytes]:
    """Damage one file of a folder; returns it with what it held."""
    path = dice.choice(sorted(path for path in folder.iterdir() if path.is_file()))
    before = path.read_bytes()
    path.write_bytes(damaged(before, path.name, dice))
    return path, before

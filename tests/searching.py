"""On how many drawn examples a property is tried."""

import os

from hypothesis import settings

# `make thorough`: so many times as many as the property names, and fresh ones each time.
THOROUGH = int(os.environ.get("THOROUGH", "0"))


def tried(count: int) -> int:
    """Half of `count` in the suite, which is run after every change; all of them, and more, in a
    search.
    """
    return count * THOROUGH or max(4, count // 2)


def examples(count: int) -> settings:
    """Settings of a property over `count` examples; the same ones on every run of the suite."""
    return settings(max_examples=tried(count), derandomize=not THOROUGH)

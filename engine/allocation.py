"""How the processor's memory is given back."""

import ctypes
import sys
from functools import cache

_MMAP_THRESHOLD, _LARGE = -3, 2**23  # mallopt's name of the setting (glibc's malloc.h), and its value in bytes


@cache
def return_large_buffers() -> None:
    """Let freed buffers of 8 MiB or more go back to the system at once, for the rest of the process.

    By default glibc keeps those below 32 MiB, in pieces that small results between them hold apart: a pass over thousands
    of tokens in blocks of rows then takes several times the memory that it uses. Pages cost time when they are taken anew,
    a tenth of a training step at 2,048 tokens and more for smaller buffers, so this is for those who ask for less memory.
    Nothing is done without glibc.
    """
    if sys.platform == "linux":
        setting = getattr(ctypes.CDLL(None), "mallopt", None)
        if setting is not None:
            setting(_MMAP_THRESHOLD, _LARGE)

"""How the processor's memory is given back."""

import ctypes
import sys
from functools import cache

from engine.kernels.tuning import tuning

_MMAP_THRESHOLD = -3  # mallopt's name of the setting (glibc's malloc.h)


@cache
def return_large_buffers() -> None:
    """Let freed buffers of a mebibyte or more go back to the system at once, for the rest of the
    process.

    By default glibc keeps those below 32 MiB, in pieces that small results between them hold apart:
    a pass over thousands of tokens in blocks of rows then takes several times the memory that it
    uses. Pages cost time when they are taken anew, up to a third of a training step at 2,048
    tokens, so this is for those who ask for less memory: buffers of up to 8 MiB kept, that step
    holds twice as much. Nothing is done without glibc.
    """
    if sys.platform == "linux":
        setting = getattr(ctypes.CDLL(None), "mallopt", None)
        if setting is not None:
            setting(_MMAP_THRESHOLD, tuning().returned_buffer_bytes)

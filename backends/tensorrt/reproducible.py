"""The same engine from the same graph: TensorRT orders some of what it writes by where things are in its memory.

Measured with TensorRT-RTX 1.7: without this, engines of dynamic shapes have their symbols in another order each time,
and other bytes. Linux puts things where it put them last in a process that is started without address space layout
randomization, see personality(2), and Python does where it hashes words as it did last.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterator

_ASK, _NO_RANDOMIZE = 0xFFFFFFFF, 0x0040000
"""A personality that is none, for which the present one is told, and ADDR_NO_RANDOMIZE: linux/personality.h."""
_SEED = "PYTHONHASHSEED"


@contextlib.contextmanager
def same_addresses() -> Iterator[bool]:
    """Processes that this thread starts have their memory where others like them had it.

    Gives whether that is so. It is not beyond Linux, and where a sandbox forbids it: engines of dynamic shapes are then
    as good, and not the same to the bit.
    """
    if not sys.platform.startswith("linux"):
        yield False
        return
    personality = ctypes.CDLL(None, use_errno=True).personality
    before = personality(_ASK)
    if before == -1 or personality(before | _NO_RANDOMIZE) == -1:
        yield False
        return
    seed = os.environ.get(_SEED)
    os.environ[_SEED] = "0"
    try:
        yield True
    finally:
        personality(before)
        del os.environ[_SEED]
        if seed is not None:
            os.environ[_SEED] = seed

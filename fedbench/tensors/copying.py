"""Copying large buffers: in pieces, and by two threads where it pays."""

from __future__ import annotations

import asyncio
import os
import threading
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from fedbench.tensors.layout import Array

PIECE_BYTES = 1 << 20
"""Copied at once: between two pieces other threads get the interpreter's lock."""

TWO_THREADS_BYTES = 8 << 20
"""From here on the second thread saves more than its start costs: shared memory lies in small pages, so that
one core waits for address translation."""


def copy_buffer(target: memoryview, source: memoryview) -> None:
    """Copy ``source`` into ``target``, which is as large and may be written.

    Called from an event loop it uses one thread: a loop does not wait for another.
    """
    to, of = np.frombuffer(target, np.uint8), np.frombuffer(source, np.uint8)
    if len(of) < TWO_THREADS_BYTES or (os.cpu_count() or 1) < 2 or _in_loop():
        _copy(to, of)
        return
    half = len(of) // 2
    helper = threading.Thread(target=_copy, args=(to[half:], of[half:]), name="fedbench-copy")
    helper.start()
    try:
        _copy(to[:half], of[:half])
    finally:
        helper.join()


def _in_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _copy(target: Array, source: Array) -> None:
    for start in range(0, len(source), PIECE_BYTES):
        np.copyto(target[start : start + PIECE_BYTES], source[start : start + PIECE_BYTES])

"""Placement: on which cores the two ends of a round trip run.

A round trip within one core is several times shorter than one between two, whatever code takes part, and the
scheduler moves processes from one case to the other as it likes.
"""

from __future__ import annotations

import contextlib
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from harness.probes.procfs import thread_ids
from harness.probes.tree import process_tree

if TYPE_CHECKING:
    from collections.abc import Iterator, Set


@contextmanager
def two_cores(*, wanted: bool = True) -> Iterator[None]:
    """Keep this process on one core and its descendants, as they are now, on another; undo it at the end.

    Args:
        wanted: Whether to; otherwise, and on a machine that leaves one core only, nothing happens.
    """
    allowed = os.sched_getaffinity(0)
    if not wanted or len(allowed) < 2:
        yield
        return
    near, far, *_ = sorted(allowed)
    own, *others = process_tree(os.getpid())
    _place([own], {near})
    _place(others, {far})
    try:
        yield
    finally:
        _place([own, *others], allowed)


def _place(pids: list[int], cores: Set[int]) -> None:
    for pid in pids:
        for thread in thread_ids(pid):
            with contextlib.suppress(ProcessLookupError):  # it has ended meanwhile
                os.sched_setaffinity(thread, cores)

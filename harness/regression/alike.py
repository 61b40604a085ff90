"""Whether nearly everything moved by the same factor: then one cause is likelier than many. Pure.

The machine slows times and CPU of everything, and no count. So does a change that all code shares: another
interpreter, event loop or library. Verdicts stay what they are; the reader is told.
"""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING

from harness.regression.margins import IN_TURN, counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.records.schema import Change

LEAST = 6
"""Metrics below which nothing is said of all of them."""
MOVED = math.log(1.10)
"""Log-ratio from which they have moved."""
NEARLY_ALL = 0.8
"""Share of them that has to lie near the median."""
NEAR = 1 / 3
"""How near: a share of the median log-ratio, at least :data:`LEAST_NEAR`."""
LEAST_NEAR = 0.05


def alike(changes: Sequence[Change]) -> str:
    """Return a sentence where nearly all times and CPU moved by a similar factor, else an empty text.

    Args:
        changes: Every metric that was compared.
    """
    times = [c for c in changes if c.ratio is not None and not counted(c.metric)]
    plain = [c for c in times if c.metric not in IN_TURN]
    found = _common(plain)
    if found is None:
        return ""
    median, count = found
    turned = [math.log(c.ratio) for c in times if c.metric in IN_TURN and c.ratio is not None]
    moved = f"{count} of {len(plain)} times and CPU times by about {math.expm1(median):+.0%}"
    if turned and abs(statistics.median(turned)) < MOVED / 2:
        return f"everything moved alike, {moved}, and nothing that is told by a floor in turn: the machine?"
    return (
        f"everything moved alike, {moved}: the machine? If it was quiet, what all code shares: "
        "the interpreter, the event loop, a library"
    )


def _common(changes: Sequence[Change]) -> tuple[float, int] | None:
    """Return the median log-ratio and how many lie near it; None if they have not moved together."""
    logs = [math.log(change.ratio) for change in changes if change.ratio is not None]
    if len(logs) < LEAST:
        return None
    median = statistics.median(logs)
    near = max(NEAR * abs(median), LEAST_NEAR)
    count = sum(abs(one - median) <= near for one in logs)
    return (median, count) if abs(median) >= MOVED and count >= NEARLY_ALL * len(logs) else None
